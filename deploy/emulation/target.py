"""The cores that firmware is built for and runs on: compiler flags, memories, emulated models.

Belongs here: what differs between cores. Does not belong here: how a compiler is found
(`toolchain.py`), or how a core is driven (`unicorn_core.py`, `qemu.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TARGETS", "Target"]


@dataclass(frozen=True)
class Target:
    """A core with everything that stands for it.

    Args:
        core: Its name, as boards have it.
        isa: "portable", "dsp" or "mve": the kernels for it.
        gcc: GCC's flags.
        zig: The target and the processor, as `zig cc` names them.
        port: The folder of `firmware_stubs/ports` with its startup code and linker scripts.
        script: The linker script.
        unicorn: The end of Unicorn's name of the model; empty where it has none.
        machine: QEMU's machine; empty where the image boots on none.
        counter: Address of a counter on that machine's board, for exact counts.
        counter_mhz: Its clock.
    """

    core: str
    isa: str
    gcc: tuple[str, ...]
    zig: tuple[str, str]
    port: str = "cortex_m"
    script: str = "mps2.ld"
    unicorn: str = ""
    machine: str = ""
    counter: int = 0x40028018
    counter_mhz: int = 25

    @property
    def is_arm(self) -> bool:
        """Whether it is a Cortex-M."""
        return self.port == "cortex_m"

    @property
    def flash_address(self) -> int:
        """Where the vector table lies; the linker script says the same."""
        return {"mps2_an505.ld": 0x10000000, "virt.ld": 0x80000000}.get(self.script, 0)


def _cortex(name: str, isa: str, fpu: str, **more: object) -> Target:
    """A Cortex-M; `fpu` is GCC's name of the unit, "auto" for the core's own, or empty."""
    flags = ["-mthumb", f"-mcpu=cortex-{name}"]
    flags.append("-mfloat-abi=hard" if fpu else "-mfloat-abi=soft")
    if fpu and fpu != "auto":
        flags.append(f"-mfpu={fpu}")
    # zig 0.17 leaves what these cores may be built without switched off.
    extra = {"m33": "+dsp", "m55": "+mve+mve_fp"}.get(name, "")
    zig = (f"thumb-freestanding-eabi{'hf' if fpu else ''}", f"cortex_{name}{extra}")
    return Target(f"cortex-{name}", isa, tuple(flags), zig, **more)  # type: ignore[arg-type]


# Machines, origins and clocks: QEMU 7.2, docs/system/arm/mps2.rst, hw/arm/mps2.c, mps2-tz.c,
# hw/misc/mps2-fpgaio.c (COUNTER). Code
# for the M0+ runs on the M3 machine. Unicorn 2.1 has no M0+ (its M0 has the same instructions) and
# no M55.
TARGETS = {
    target.core: target
    for target in (
        _cortex("m0plus", "portable", "", unicorn="CORTEX_M0", machine="mps2-an385"),
        _cortex("m3", "portable", "", unicorn="CORTEX_M3", machine="mps2-an385"),
        _cortex("m4", "dsp", "fpv4-sp-d16", unicorn="CORTEX_M4", machine="mps2-an386"),
        _cortex("m7", "dsp", "fpv5-d16", unicorn="CORTEX_M7", machine="mps2-an500"),
        _cortex(
            "m33",
            "dsp",
            "fpv5-sp-d16",
            script="mps2_an505.ld",
            unicorn="CORTEX_M33",
            machine="mps2-an505",
            counter=0x50302018,
            counter_mhz=20,
        ),
        _cortex(
            "m55",
            "mve",
            "auto",
            script="mps3_an547.ld",
            machine="mps3-an547",
            counter=0x59302018,
            counter_mhz=20,
        ),
        Target(
            "rv32imc",
            "portable",
            # Debian's GCC for it has no C library, and then no <stdint.h> unless freestanding.
            ("-march=rv32imc", "-mabi=ilp32", "-mcmodel=medany", "-ffreestanding", "-fbuiltin"),
            ("riscv32-freestanding-none", "generic_rv32+m+c"),
            port="rv32",
            script="virt.ld",
            unicorn="ANY",
        ),
    )
}
"""By core, in the order in which they are offered."""
