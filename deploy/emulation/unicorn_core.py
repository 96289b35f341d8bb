"""An emulated Cortex-M or RV32 in this process: exact counts, no installation but pip's.

Unicorn tells each block of instructions that it enters, which run one after the other to the
block's end; how many there are is read from the code. Thumb's instructions whose condition fails
take their cycle and are counted, as QEMU counts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.emulation.core import EmulationError, KernelCall, Run, SelftestResult
from deploy.emulation.elf_sections import LinkedImage
from deploy.emulation.interrupt import stopping_on_interrupt
from deploy.emulation.machine_code import addresses_after_stack_moves, instruction_count
from deploy.emulation.target import Target

__all__ = ["UnicornCore"]

_PAGE = 4096
_STACK_FILL = 0xA5
_WRITE0, _EXIT_EXTENDED = 0x04, 0x20  # semihosting
_MASK = 0xFFFFFFFF


class UnicornCore:
    """An image on a core of Unicorn's.

    Args:
        image: The image.
        target: The core.

    Raises:
        ImportError: unicorn is not installed.
        EmulationError: Unicorn has no model of the core, or the image does not reach `main`.
    """

    def __init__(self, image: LinkedImage, target: Target) -> None:
        import unicorn

        if not target.unicorn:
            raise EmulationError(f"Unicorn must have a model of {target.core}, it has none.")
        self.emulator = f"Unicorn {unicorn.__version__}"
        self._image, self._target = image, target
        self._unicorn = unicorn
        self._names = _Registers(target)
        self._machine = _machine(unicorn, image, target)
        # A function's return is seen by its going here; nothing else does.
        self._return = image.addresses["kt_link_stack_start"]
        self._until = 0
        self._thumb = 1 if target.is_arm else 0  # the bit of an address that marks Thumb
        self._tally = _Tally(self, {})
        self._output: list[str] = []
        self._exit_code: int | None = None
        call = image.addresses["kt_semihosting"]
        self._machine.hook_add(unicorn.UC_HOOK_CODE, self._semihosting, None, call, call)
        self._reset()
        self._go(image.addresses["main"])
        self._stack_top = self._get("sp")
        self._idle = self._machine.context_save()
        self._lowest_sp = self._stack_top
        self._watch_stack()
        self._count_blocks()

    def read(self, address: int, size_bytes: int) -> bytes:
        """Read memory."""
        return bytes(self._machine.mem_read(address, size_bytes))

    def write(self, address: int, data: bytes) -> None:
        """Write memory."""
        self._machine.mem_write(address, data)

    def run(self, function: int, argument: int, kernels: Mapping[int, str] | None = None) -> Run:
        """Call a function; see `EmulatedCore`."""
        self._enter(function, argument)
        self._lowest_sp = self._stack_top
        self._tally = _Tally(self, kernels or {})
        self._go(self._return)
        stack_bytes = self._stack_top - min(self._lowest_sp, self._lowest_written())
        calls = self._tally.ended()
        return Run(self._tally.instructions, stack_bytes, self._get("result"), calls)

    def caller_and_argument(self) -> tuple[int, int]:
        """Where the function that was just entered goes back to, and its first argument."""
        return self._get("back") & ~self._thumb, self._get("argument")

    def selftest(self) -> SelftestResult:
        """Start the image from its reset vector and let it run to its end."""
        self._output.clear()
        self._exit_code = None
        for address, data in self._image.segments:
            self.write(address, data)
        self._reset()
        self._start(self._get("pc"), 0xFFFFFFFE)
        if self._exit_code is None:
            raise EmulationError("The image must end by semihosting, it stopped without an end.")
        return SelftestResult(self._exit_code, "".join(self._output), self.emulator)

    def _reset(self) -> None:
        """What the hardware does after power comes on."""
        flash = self._target.flash_address
        if self._target.is_arm:
            stack, entry = (int.from_bytes(self.read(flash + at, 4), "little") for at in (0, 4))
            self._set("sp", stack)
            self._set("pc", entry)
        else:
            self._set("pc", self._image.addresses["kt_port_reset"])

    def _enter(self, function: int, argument: int) -> None:
        """Set the registers as a caller of `function(argument)` does, and fill the stack."""
        self._machine.context_restore(self._idle)
        stack = self._image.addresses["kt_link_stack_start"]
        self.write(stack, bytes([_STACK_FILL]) * (self._stack_top - stack))
        self._set("argument", argument)
        self._set("back", self._return | self._thumb)
        self._set("pc", function)

    def _go(self, until: int) -> None:
        """Run to an address."""
        self._start(self._get("pc"), until)
        if self._get("pc") != until:
            raise EmulationError(
                f"The core must come to {until:#x}, it stopped at {self._get('pc'):#x}"
                f"{f' and ended with code {self._exit_code}' if self._exit_code else ''}."
            )

    def _start(self, pc: int, until: int) -> None:
        if until != self._until:  # translated code knows where to stop
            self._machine.ctl_flush_tb()
            self._until = until
        try:
            with stopping_on_interrupt(self._machine.emu_stop):
                self._machine.emu_start(pc | self._thumb, until)
        except self._unicorn.UcError as error:
            raise EmulationError(f"The core faults at {self._get('pc'):#x}: {error}.") from error

    def _semihosting(self, machine: Any, address: int, size: int, data: Any) -> None:
        """What a debugger does at the breakpoint: write text, or end."""
        operation, argument = self._get("argument"), self._get("second")
        if operation == _WRITE0:
            self._output.append(self._text(argument))
            self._set("pc", self._get("back"))
            return
        is_exit = operation == _EXIT_EXTENDED
        self._exit_code = int.from_bytes(self.read(argument + 4, 4), "little") if is_exit else 255
        machine.emu_stop()

    def _text(self, address: int) -> str:
        found = bytearray()
        while (byte := self.read(address + len(found), 1)) != b"\0":
            found += byte
        return found.decode("utf-8", "replace")

    def _watch_stack(self) -> None:
        def lower(machine: Any, address: int, size: int, data: Any) -> None:
            self._lowest_sp = min(self._lowest_sp, self._get("sp"))

        for at in addresses_after_stack_moves(self._image.code, self._target.is_arm):
            self._machine.hook_add(self._unicorn.UC_HOOK_CODE, lower, None, at, at)

    def _count_blocks(self) -> None:
        lengths: dict[int, int] = {}

        def enter(machine: Any, address: int, size: int, data: Any) -> None:
            key = address | size << 32
            if key not in lengths:
                lengths[key] = instruction_count(self.read(address, size), self._target.is_arm)
            tally = self._tally
            if address in tally.marks:
                tally.mark(address)
            tally.instructions += lengths[key]

        self._machine.hook_add(self._unicorn.UC_HOOK_BLOCK, enter)

    def _lowest_written(self) -> int:
        """The lowest byte of the stack that is no longer as it was filled."""
        start = self._image.addresses["kt_link_stack_start"]
        held = self.read(start, self._stack_top - start)
        return start + len(held) - len(held.lstrip(bytes([_STACK_FILL])))

    def _get(self, name: str) -> int:
        return self._machine.reg_read(self._names[name]) & _MASK

    def _set(self, name: str, value: int) -> None:
        if name == "pc":
            value |= self._thumb
        self._machine.reg_write(self._names[name], value)


class _Tally:
    """Counts the instructions of a run, and of each kernel that generated code calls in it.

    Args:
        core: The core that runs.
        kernels: By address.
    """

    def __init__(self, core: UnicornCore, kernels: Mapping[int, str]) -> None:
        self.instructions = 0
        self.marks = set(kernels)
        self._core, self._kernels = core, kernels
        self._calls: list[KernelCall] = []
        self._open: tuple[int, int, int, int] | None = None

    def mark(self, address: int) -> None:
        """Note that a kernel is entered, or that one has come back."""
        if self._open and address == self._open[1]:
            self._close()
        if not self._open and address in self._kernels:  # one called by a kernel belongs to it
            back, argument = self._core.caller_and_argument()
            self._open = address, back, argument, self.instructions
            self.marks.add(back)

    def ended(self) -> tuple[KernelCall, ...]:
        """The calls, when the run has ended."""
        if self._open:
            self._close()
        return tuple(self._calls)

    def _close(self) -> None:
        if self._open:
            address, _, argument, start = self._open
            taken = self.instructions - start
            self._calls.append(KernelCall(self._kernels[address], argument, taken))
            self._open = None


class _Registers(dict[str, int]):
    """Unicorn's numbers of the registers of a calling convention."""

    def __init__(self, target: Target) -> None:
        from unicorn import arm_const as arm
        from unicorn import riscv_const as riscv

        if target.is_arm:
            super().__init__(
                pc=arm.UC_ARM_REG_PC,
                sp=arm.UC_ARM_REG_SP,
                back=arm.UC_ARM_REG_LR,
                argument=arm.UC_ARM_REG_R0,
                second=arm.UC_ARM_REG_R1,
                result=arm.UC_ARM_REG_R0,
            )
        else:
            super().__init__(
                pc=riscv.UC_RISCV_REG_PC,
                sp=riscv.UC_RISCV_REG_SP,
                back=riscv.UC_RISCV_REG_RA,
                argument=riscv.UC_RISCV_REG_A0,
                second=riscv.UC_RISCV_REG_A1,
                result=riscv.UC_RISCV_REG_A0,
            )


def _machine(unicorn: Any, image: LinkedImage, target: Target) -> Any:
    """A core with the image in its memory."""
    from unicorn import arm_const, riscv_const

    if target.is_arm:
        machine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        machine.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{target.unicorn}"))
        machine.mem_map(0xE000E000, _PAGE)  # system control space; only CPACR is written
    else:
        machine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        machine.ctl_set_cpu_model(getattr(riscv_const, f"UC_CPU_RISCV32_{target.unicorn}"))
    used = [(one.address, one.size_bytes) for one in image.sections]
    used += [(address, len(data)) for address, data in image.segments]
    pages = {
        page
        for address, size in used
        for page in range(address // _PAGE, (address + size - 1) // _PAGE + 1)
    }
    for first, count in _runs(sorted(pages)):
        machine.mem_map(first * _PAGE, count * _PAGE)
    for address, data in image.segments:
        machine.mem_write(address, data)
    return machine


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers as (first, count)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((number, 1))
    return runs
