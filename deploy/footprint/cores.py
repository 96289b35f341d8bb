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
        rom_error_percent: Band (low, high) that standing in adds to the ROM of the runtime.
        reason: Why this one stands in; empty for a measured core.
        short_enums: Whether the target's C compiler stores an enum in the fewest bytes, as for bare
            Arm targets; sizes of some structures in the arena depend on it.
    """

    name: str
    stands_for: str
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


# (measured core, band in percent, reason). The bands for another instruction set are assumptions,
# wide on purpose: RISC-V and Xtensa code of one source is up to half again as large as Thumb-2.
_STAND_INS: dict[tuple[str, str], tuple[str, tuple[float, float], str]] = {
    ("cortex-m0", "none"): ("cortex-m0plus", (-1, 1), "the same instruction set, Armv6-M"),
    ("cortex-m1", "none"): ("cortex-m0plus", (-1, 1), "the same instruction set, Armv6-M"),
    ("cortex-m23", "none"): ("cortex-m0plus", (-25, 2), "Armv8-M baseline extends Armv6-M"),
    ("cortex-m4", "none"): ("cortex-m4", (-1, 10), "measured with a single-precision unit"),
    ("cortex-m7", "none"): ("cortex-m4", (-1, 10), "measured with a single-precision unit"),
    ("cortex-m7", "single"): (
        "cortex-m4", (-2, 2), "without double precision it links the same soft-double routines",
    ),
    ("cortex-m33", "none"): ("cortex-m33", (-1, 10), "measured with a single-precision unit"),
    ("cortex-m35p", "single"): ("cortex-m33", (-1, 1), "the same instruction set, Armv8-M"),
    ("cortex-m52", "double"): ("cortex-m55", (-5, 5), "the same instruction set, Armv8.1-M"),
    ("cortex-m85", "double"): ("cortex-m55", (-5, 5), "the same instruction set, Armv8.1-M"),
    ("xtensa-lx6", "single"): ("cortex-m4", (-10, 60), "no Xtensa build was measured"),
    ("xtensa-lx7", "single"): ("cortex-m4", (-10, 60), "no Xtensa build was measured"),
    ("xtensa-lx7", "none"): ("cortex-m3", (-10, 60), "no Xtensa build was measured"),
    ("rv32imc", "none"): ("cortex-m3", (-10, 60), "no RISC-V build was measured"),
    ("rv32imac", "none"): ("cortex-m3", (-10, 60), "no RISC-V build was measured"),
    ("rv32imafc", "single"): ("cortex-m4", (-10, 60), "no RISC-V build was measured"),
    ("rv32gc", "double"): ("cortex-m7", (-10, 60), "no RISC-V build was measured"),
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
        return MeasuredCore(core, core, (-10.0, 1.0), f"measured with the unit '{usual}'")
    name, band, reason = _STAND_INS[key]
    return MeasuredCore(name, core, band, reason, short_enums=core.startswith("cortex-m"))


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
