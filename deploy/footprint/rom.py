"""ROM of the runtime: the core of TensorFlow Lite Micro and the kernels that operators link.

Kernels share code: what a set of operators costs is the size of the union of the sections that they
pull in, not a sum over operators (which is 6 to 226 % too high). The union is read from the
measured table `rom_table.json`, whose provenance stands in it and in `docs/footprint.md`. The size
of flatbuffers is not here, it is the length of a file.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from deploy.footprint.cores import MeasuredCore, check_kernels, measured_core
from deploy.footprint.registrations import ANY, INT8, REGISTRATIONS, split_form

_TABLE = Path(__file__).with_name("rom_table.json")
# Rows of one form of an operator; all others hold generic registrations.
_FORM_ROW = re.compile(r"_INT(4|8|16)$")
# Images that were really linked differ from the union by -0.01 to +0.46 %.
_ERROR_PERCENT = (-1.0, 1.0)

# Operators of the runtime that no measured image contains, and a measured one of like code.
_STAND_INS = {
    "ADD_N": "ADD",
    "ARG_MIN": "ARG_MAX",
    "ASSIGN_VARIABLE": "EXPAND_DIMS",
    "BATCH_TO_SPACE_ND": "SPACE_TO_DEPTH",
    "BROADCAST_ARGS": "BROADCAST_TO",
    "CAST": "DEQUANTIZE",
    "CEIL": "NEG",
    "COS": "RSQRT",
    "CUMSUM": "REDUCE_MAX",
    "DIV": "SUB",
    "DYNAMIC_UPDATE_SLICE": "SLICE",
    "ELU": "TANH",
    "EMBEDDING_LOOKUP": "GATHER",
    "EQUAL": "SUB",
    "EXP": "RSQRT",
    "FILL": "EXPAND_DIMS",
    "FLOOR": "NEG",
    "FLOOR_DIV": "SUB",
    "FLOOR_MOD": "SUB",
    "GATHER_ND": "GATHER",
    "GREATER": "SUB",
    "GREATER_EQUAL": "SUB",
    "L2_POOL_2D": "AVERAGE_POOL_2D",
    "LESS": "SUB",
    "LESS_EQUAL": "SUB",
    "LOG": "RSQRT",
    "LOGICAL_AND": "MAXIMUM",
    "LOGICAL_NOT": "ABS",
    "LOGICAL_OR": "MAXIMUM",
    "LOG_SOFTMAX": "SOFTMAX",
    "NOT_EQUAL": "SUB",
    "READ_VARIABLE": "EXPAND_DIMS",
    "REDUCE_ALL": "REDUCE_MAX",
    "REDUCE_MIN": "REDUCE_MAX",
    "REVERSE_V2": "TRANSPOSE",
    "ROUND": "NEG",
    "SELECT_V2": "MAXIMUM",
    "SIN": "RSQRT",
    "SPACE_TO_BATCH_ND": "SPACE_TO_DEPTH",
    "SQRT": "RSQRT",
    "SQUARE": "RSQRT",
    "VAR_HANDLE": "EXPAND_DIMS",
    "ZEROS_LIKE": "NEG",
}
# Own code of a stand-in says this much of the unmeasured operator's: from half to three times it.
_STAND_IN_BAND = (-0.5, 2.0)


class RomError(ValueError):
    """An operator whose code size is not known, not even nearly."""


@dataclass(frozen=True)
class RuntimeRom:
    """Code and constants of the runtime, in bytes of flash.

    Args:
        core_bytes: Start-up, interpreter, allocator, planner and the C library parts they need.
        kernel_bytes: Everything that the operators link on top of it.
        by_operator: `kernel_bytes` split: an operator's own bytes, and an even share of what it
            shares with other operators that are present; they sum to `kernel_bytes`. Where kernels
            are linked by form, each form of an operator by its name: "CONV_2D", "CONV_2D:INT4".
        error_percent: Band (low, high): the linked image lies within it around the estimate.
        basis: The measured build behind the figures, and the stand-in where the core has none.
        notes: Operators without a measured row and what stands for them.
    """

    core_bytes: int
    kernel_bytes: int
    by_operator: dict[str, int]
    error_percent: tuple[float, float]
    basis: str
    notes: tuple[str, ...] = ()

    @property
    def rom_bytes(self) -> int:
        """Core and kernels together."""
        return self.core_bytes + self.kernel_bytes


def runtime_rom(
    operators: Iterable[str], core: str, kernels: str, fpu: str | None = None
) -> RuntimeRom:
    """Return what the runtime costs for a set of operators.

    Args:
        operators: Names as in the flatbuffer schema, such as "CONV_2D", which stands for int8, or
            with a form, such as "CONV_2D:INT4" (`registered_operators` gives those of nodes);
            repetitions do not count.
        core: A core that a board may name.
        kernels: "reference", "cmsis-nn", or "cmsis-nn-int8": the registrations of exactly the forms
            that are there wherever they were measured, generic ones elsewhere. The other two link
            every form with an operator.
        fpu: The core's floating-point unit, None for its usual one.

    Raises:
        CoreError: The core or the kernel set is unknown, or they do not go together.
        RomError: An operator is none that the runtime has.
    """
    check_kernels(kernels, core)
    stand_in = measured_core(core, fpu)
    table = _table()
    names = tuple(sorted({_name(operator, kernels) for operator in operators}))
    rows = {name: _row(name, kernels, table.bits) for name in names}
    build = table.builds[f"{stand_in.name}/{kernels.removesuffix('-int8')}"]
    by_operator = {
        name: round(stand_in.code_factor * size)
        for name, size in _split(rows, build.groups).items()
    }
    core_bytes = round(stand_in.code_factor * build.core_bytes)
    kernel_bytes = sum(by_operator.values())
    unmeasured = [name for name in names if name in _STAND_INS]
    unsure_bytes = sum(_own_bytes(rows[name], build.groups) for name in unmeasured)
    return RuntimeRom(
        core_bytes=core_bytes,
        kernel_bytes=kernel_bytes,
        by_operator=by_operator,
        error_percent=_band(
            stand_in, stand_in.code_factor * unsure_bytes / (core_bytes + kernel_bytes)
        ),
        basis=_basis(stand_in, kernels),
        notes=tuple(
            f"{name} was not measured: the code of {_STAND_INS[name]} stands for it"
            for name in unmeasured
        ),
    )


@dataclass(frozen=True)
class _Build:
    """One measured build: bytes of sections by the bit mask of the operators that pull them in."""

    core_bytes: int
    groups: Mapping[int, int]


@dataclass(frozen=True)
class _Table:
    bits: Mapping[str, int]
    builds: Mapping[str, _Build]


@lru_cache(maxsize=1)
def _table() -> _Table:
    raw = json.loads(_TABLE.read_text(encoding="utf-8"))
    builds = {
        key: _Build(build["core"], {int(mask, 16): size for mask, size in build["groups"].items()})
        for key, build in raw["builds"].items()
    }
    return _Table({name: 1 << i for i, name in enumerate(raw["operators"])}, builds)


def _name(operator: str, kernels: str) -> str:
    """An operator's name without a form that changes nothing of its code."""
    name, form = split_form(operator)
    forms = REGISTRATIONS.get(name, ())
    if not form or (form in (*forms, ANY) and (kernels != "cmsis-nn-int8" or form == INT8)):
        return name
    if form in forms or (form == ANY and forms):
        return operator
    known = ", ".join(f"{name}:{one}" for one in (*forms, ANY)) if forms else f"{name} alone"
    raise RomError(
        f"`operators` must name a form that is measured, {known}; received {operator!r}."
    )


def _row(operator: str, kernels: str, bits: Mapping[str, int]) -> int:
    """The bit of the table's row that holds an operator's code."""
    name, form = split_form(operator)
    row = _STAND_INS.get(name, name)
    if row not in bits or _FORM_ROW.search(name):
        known = [*(known for known in bits if not _FORM_ROW.search(known)), *_STAND_INS]
        near = difflib.get_close_matches(name.upper(), known, n=1)
        raise RomError(
            f"`operators` must be operators of TensorFlow Lite Micro whose code was measured; "
            f"received {name!r}. "
            + (f"Did you mean '{near[0]}'? " if near else "")
            + "For an operator of your own, leave it out here and reserve its bytes in the budget."
        )
    form_row = f"{row}_{form or INT8}"
    return bits[form_row if kernels == "cmsis-nn-int8" and form_row in bits else row]


def _split(rows: Mapping[str, int], groups: Mapping[int, int]) -> dict[str, int]:
    """Bytes by operator: own code whole, shared code evenly, nothing lost to rounding."""
    split = dict.fromkeys(rows, 0)
    for mask, size in groups.items():
        users = [name for name, bit in rows.items() if mask & bit]
        if not users:
            continue
        if not _is_own(mask, rows[users[0]]):
            _share(size, users, split)
            continue
        # A measured operator and one it stands for do not share their own code; its forms do.
        for operator in dict.fromkeys(split_form(name)[0] for name in users):
            _share(size, [name for name in users if split_form(name)[0] == operator], split)
    return split


def _share(size: int, users: Sequence[str], split: dict[str, int]) -> None:
    for i, name in enumerate(users):
        split[name] += size // len(users) + (i < size % len(users))


def _own_bytes(bit: int, groups: Mapping[int, int]) -> int:
    return sum(size for mask, size in groups.items() if mask & bit and _is_own(mask, bit))


def _is_own(mask: int, bit: int) -> bool:
    """Whether only one operator, by whichever of its registrations, pulls the group in."""
    return mask & ~_kin()[bit] == 0


@lru_cache(maxsize=1)
def _kin() -> dict[int, int]:
    """By the bit of a row, the bits of all rows of its operator."""
    by_operator: dict[str, int] = {}
    for name, bit in _table().bits.items():
        operator = _FORM_ROW.sub("", name)
        by_operator[operator] = by_operator.get(operator, 0) | bit
    return {bit: by_operator[_FORM_ROW.sub("", name)] for name, bit in _table().bits.items()}


def _band(stand_in: MeasuredCore, unsure_share: float) -> tuple[float, float]:
    """The model's own error, what standing in adds, and what unmeasured operators add."""
    low, high = (
        own + core + 100 * unsure_share * factor
        for own, core, factor in zip(
            _ERROR_PERCENT, stand_in.rom_error_percent, _STAND_IN_BAND, strict=True
        )
    )
    return round(low, 1), round(high, 1)


def _basis(stand_in: MeasuredCore, kernels: str) -> str:
    build = f"{stand_in.name}, {kernels} kernels, GCC 12.2 -Os, newlib-nano, no error strings"
    if stand_in.is_exact:
        return build
    return f"{build}; stands for {stand_in.stands_for}: {stand_in.reason}"
