"""Which measured core and which kernels stand for a board's core.

The tables of `rom.py` and the formulas of `ram.py` were measured on six Cortex-M cores. A core that
was not measured is represented by the nearest one, by name and with a wider band; nothing is
estimated in silence. What the tables say stands in those files.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.board import CORES

KERNEL_SETS = ("reference", "cmsis-nn", "cmsis-nn-int8")
"""Plain C++ kernels; CMSIS-NN with generic registrations; CMSIS-NN with int8-only registrations."""

MEASURED_CORES = (
    "cortex-m0plus",
    "cortex-m3",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
)


class CoreError(ValueError):
    """A core or a kernel set that is unknown, or that do not go together."""


@dataclass(frozen=True)
class MeasuredCore:
    """The measured core that stands for a core.

    Args:
        name: One of `MEASURED_CORES`.
        stands_for: The core asked for; equal to `name` where that was measured itself.
        code_factor: Code on the core asked for, over code on the measured one.
        rom_error_percent: Band (low, high) that standing in adds to the ROM of the runtime.
        reason: Why this one stands in; empty for a measured core.
        short_enums: Whether the target's C compiler stores an enum in the fewest bytes, as for bare
            Arm targets; sizes of some structures in the arena depend on it.
    """

    name: str
    stands_for: str
    code_factor: float = 1.0
    rom_error_percent: tuple[float, float] = (0.0, 0.0)
    reason: str = ""
    short_enums: bool = True

    @property
    def is_exact(self) -> bool:
        """Whether the core itself was measured."""
        return not self.reason

    @property
    def has_dsp(self) -> bool:
        """Whether CMSIS-NN uses the DSP extension on it (and not MVE)."""
        return self.name in ("cortex-m4", "cortex-m7", "cortex-m33")

    @property
    def has_mve(self) -> bool:
        """Whether CMSIS-NN uses the vector extension (Helium) on it."""
        return self.name == "cortex-m55"


# Code of another instruction set is larger than Thumb-2. Text and constants of 16 source files of
# the runtime and its kernels, GCC 12.2 -Os, against a Cortex-M3: rv32imc 1.30 (single files 1.15 to
# 1.57), Xtensa LX106 1.46 (1.17 to 1.68). LX6 and LX7 have register windows, which save code.
_RISC_V = (1.30, (-15.0, 20.0), "Thumb-2 code times 1.30; no RISC-V image was linked")
_XTENSA = (1.45, (-20.0, 20.0), "Thumb-2 code times 1.45; no Xtensa image was linked")

# By core and floating-point unit: measured core, factor of its code, band in percent, reason.
_STAND_INS: dict[tuple[str, str], tuple[str, float, tuple[float, float], str]] = {
    ("cortex-m0", "none"): ("cortex-m0plus", 1, (-1, 1), "the same instruction set, Armv6-M"),
    ("cortex-m1", "none"): ("cortex-m0plus", 1, (-1, 1), "the same instruction set, Armv6-M"),
    ("cortex-m23", "none"): ("cortex-m0plus", 1, (-25, 2), "Armv8-M baseline extends Armv6-M"),
    ("cortex-m4", "none"): ("cortex-m4", 1, (-1, 10), "measured with a single-precision unit"),
    ("cortex-m7", "none"): ("cortex-m4", 1, (-1, 10), "measured with a single-precision unit"),
    ("cortex-m7", "single"): (
        "cortex-m4", 1, (-2, 2), "without double precision it links the same soft-double routines",
    ),
    ("cortex-m33", "none"): ("cortex-m33", 1, (-1, 10), "measured with a single-precision unit"),
    ("cortex-m35p", "single"): ("cortex-m33", 1, (-1, 1), "the same instruction set, Armv8-M"),
    ("cortex-m52", "double"): ("cortex-m55", 1, (-5, 5), "the same instruction set, Armv8.1-M"),
    ("cortex-m85", "double"): ("cortex-m55", 1, (-5, 5), "the same instruction set, Armv8.1-M"),
    ("xtensa-lx6", "single"): ("cortex-m4", *_XTENSA),
    ("xtensa-lx7", "single"): ("cortex-m4", *_XTENSA),
    ("xtensa-lx7", "none"): ("cortex-m3", *_XTENSA),
    ("rv32imc", "none"): ("cortex-m3", *_RISC_V),
    ("rv32imac", "none"): ("cortex-m3", *_RISC_V),
    ("rv32imafc", "single"): ("cortex-m4", *_RISC_V),
    ("rv32gc", "double"): ("cortex-m7", *_RISC_V),
}  # fmt: skip


def measured_core(core: str, fpu: str | None = None) -> MeasuredCore:
    """Return the measured core that stands for `core`.

    Args:
        core: A core that a board may name.
        fpu: Its floating-point unit, "none", "single" or "double"; None for the core's usual one.

    Raises:
        CoreError: The core is unknown, or nothing measured resembles it with such a unit.
    """
    if core not in CORES:
        raise CoreError(f"`core` must be one of {', '.join(CORES)}; received {core!r}.")
    usual = CORES[core]
    fpu = usual if fpu is None else fpu
    if core in MEASURED_CORES and fpu == usual:
        return MeasuredCore(core, core)
    key = (core, fpu) if (core, fpu) in _STAND_INS else (core, usual)
    if key not in _STAND_INS:
        # Such as a Cortex-M33 with double precision: less soft-float code than was measured.
        return MeasuredCore(core, core, 1, (-10.0, 1.0), f"measured with the unit '{usual}'")
    name, code_factor, band, reason = _STAND_INS[key]
    is_arm = core.startswith("cortex-m")
    return MeasuredCore(name, core, code_factor, band, reason, short_enums=is_arm)


def default_kernels(core: str) -> str:
    """Return the best kernel set measured for `core`: CMSIS-NN, int8 only, on Cortex-M."""
    return "cmsis-nn-int8" if core.startswith("cortex-m") else "reference"


def check_kernels(kernels: str, core: str) -> None:
    """Refuse a kernel set that is unknown or not made for `core`.

    Raises:
        CoreError: Says which sets there are.
    """
    if kernels not in KERNEL_SETS:
        raise CoreError(f"`kernels` must be one of {', '.join(KERNEL_SETS)}; received {kernels!r}.")
    if kernels != "reference" and not core.startswith("cortex-m"):
        raise CoreError(
            f"`kernels` must be 'reference' for the core {core!r}, received {kernels!r}: CMSIS-NN "
            "is made for Arm Cortex-M. Leave `kernels` out, or set it to 'reference'."
        )
