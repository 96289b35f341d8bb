"""The fields of a board as they are written in TOML: which there are, and what each value means.

Names and quantities only, one field at a time. The board that they make up is in `board.py`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from deploy.units import UnitError, parse_bytes

# The floating-point unit decides whether soft-float routines are linked, so it is part of the ROM.
CORES: dict[str, str] = {
    "cortex-m0": "none",
    "cortex-m0plus": "none",
    "cortex-m1": "none",
    "cortex-m23": "none",
    "cortex-m3": "none",
    "cortex-m4": "single",
    "cortex-m7": "double",
    "cortex-m33": "single",
    "cortex-m35p": "single",
    "cortex-m52": "double",
    "cortex-m55": "double",
    "cortex-m85": "double",
    "xtensa-lx6": "single",
    "xtensa-lx7": "single",
    "rv32imc": "none",
    "rv32imac": "none",
    "rv32imafc": "single",
    "rv32gc": "double",
}
"""Every core that a board may name, with the floating-point unit it has by default."""

_TEXTS = ("name", "title", "mcu", "core", "fpu", "clock", "notes")
_SIZES = ("rom_chip", "rom_slot", "ram", "ram_total")
FIELDS = ("base", *_TEXTS, *_SIZES, "rom", "sources")
"""Every field that a board's table may have; `rom` stands for `rom_chip` and `rom_slot`."""

_FPUS = ("none", "single", "double")
_HERTZ = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}


class BoardError(ValueError):
    """A board that is unknown, or whose description cannot be used; says what to write instead."""


def read_fields(table: Mapping[str, Any]) -> dict[str, Any]:
    """Check the fields of a table and read their values.

    Args:
        table: Fields by their names in the file; `base` is not looked at.

    Returns:
        Texts, sizes in bytes and the clock in hertz, by the names of `Board`; only what is given,
        without `sources`.

    Raises:
        BoardError: A field is unknown, or has a value that is no such quantity.
    """
    _check_fields(table)
    fields = dict(table)
    if "rom" in fields:
        both = fields.pop("rom")
        fields |= {"rom_chip": both, "rom_slot": both}
    values = {**_texts(fields), **_sizes(fields)}
    if "clock" in fields:
        values["clock_hz"] = _hertz(fields["clock"])
    return values


def _check_fields(table: Mapping[str, Any]) -> None:
    """Refuse unknown fields, fields of another type, and two ways of saying one thing."""
    for key, value in table.items():
        if key not in FIELDS:
            raise BoardError(
                f"A board has no field `{key}`. {near(key, FIELDS)} "
                f"The fields are {', '.join(FIELDS)}."
            )
        if key == "sources" and not isinstance(value, Mapping):
            raise BoardError(f"`sources` must be a table of texts, received {value!r}.")
        if key in ("base", *_TEXTS) and not (isinstance(value, str) and value.strip()):
            if key == "notes" and value == "":
                continue
            raise BoardError(f"`{key}` must be a text, received {value!r}. Write it in quotes.")
        if key in ("name", "title", "mcu") and not value.isprintable():
            raise BoardError(
                f"`{key}` must be a text in one line, received {value!r}. Leave out line breaks "
                "and control characters."
            )
    doubled = sorted({"rom_chip", "rom_slot"} & set(table)) if "rom" in table else []
    if doubled:
        raise BoardError(
            f"`rom` stands for `rom_chip` and `rom_slot` together, and `{doubled[0]}` is given "
            "too. Give `rom` alone, or both of the others."
        )


def _texts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The checked texts among `fields`."""
    for key, choices in (("core", tuple(CORES)), ("fpu", _FPUS)):
        if key in fields and fields[key] not in choices:
            raise BoardError(
                f"`{key}` must be one of {', '.join(choices)}; received {fields[key]!r}. "
                f"{near(fields[key], choices)}"
            )
    return {key: fields[key] for key in _TEXTS if key in fields and key != "clock"}


def _sizes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The checked sizes among `fields`, in bytes, by the names of `Board`."""
    sizes = {}
    for key in _SIZES:
        if key not in fields:
            continue
        try:
            size = parse_bytes(fields[key], key)
        except UnitError as error:
            raise BoardError(str(error)) from error
        if size == 0 and key != "rom_chip":
            raise BoardError(
                f"`{key}` must be larger than zero, received {fields[key]!r}. Only `rom_chip` may "
                "be 0: no flash to execute from; `rom_slot` is then the storage."
            )
        sizes[f"{key}_bytes"] = size
    return sizes


def _hertz(value: str) -> int:
    """A clock such as "64 MHz" in hertz."""
    match = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", value)
    units = {unit.lower(): factor for unit, factor in _HERTZ.items()}
    factor = units.get(match[2].lower()) if match else None
    number = float(re.sub("[_,]", "", match[1])) if match else 0.0
    if factor is None or not 0 < number < math.inf:
        raise BoardError(
            f"`clock` must be a frequency above zero in {', '.join(_HERTZ)}; received {value!r}. "
            'Write for example "64 MHz".'
        )
    return round(number * factor)


def near(name: object, choices: Iterable[str]) -> str:
    """A sentence that offers the choice nearest to an unknown name; empty where none is near."""
    found = difflib.get_close_matches(str(name).lower(), list(choices), n=1, cutoff=0.5)
    return f"Did you mean '{found[0]}'?" if found else ""
