"""QEMU: an image from its own reset vector on a machine, and exact counts on every Cortex-M.

Counting needs no instrumentation: with `-icount` every instruction takes the same virtual time, and
a counter of the board, read through the debugger's port while the core is stopped, tells it. One
instruction takes 128 ns here, more than two ticks of the counter, so that counts are exact.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from deploy.emulation.core import EmulationError, KernelCall, Run, SelftestResult
from deploy.emulation.debugger import Debugger
from deploy.emulation.elf_sections import LinkedImage
from deploy.emulation.target import Target

__all__ = ["QemuCore", "boot", "find_qemu"]

_SHIFT = 7  # an instruction takes 2^7 ns
_START_SECONDS = 20.0
_BOOT_SECONDS = 600
_R0, _SP, _LR, _PC = 0, 13, 14, 15
_FILL = 0xA5
_MOST_RUNS_TO_SETTLE = 10


def find_qemu() -> str:
    """The path of QEMU for Arm.

    Raises:
        EmulationError: It is not installed.
    """
    path = shutil.which("qemu-system-arm")
    if path is None:
        raise EmulationError(
            "QEMU must be installed, `qemu-system-arm` is not on the PATH. On Debian and Ubuntu "
            "run `apt install qemu-system-arm`."
        )
    return path


def boot(image: Path, target: Target) -> SelftestResult:
    """Start an image from its reset vector on its machine, and let it run to its end.

    Raises:
        EmulationError: There is no QEMU, no such machine, or no end.
    """
    command = [*_command(image, target), "-icount", "shift=0"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_BOOT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"The image must end within {_BOOT_SECONDS} s on QEMU.") from error
    return SelftestResult(done.returncode, done.stdout + done.stderr, _version())


def _version() -> str:
    told = subprocess.run([find_qemu(), "--version"], capture_output=True, text=True).stdout
    return " ".join(told.split()[:4:3]) or "QEMU"


def _command(image: Path, target: Target) -> list[str]:
    if not target.machine:
        raise EmulationError(f"QEMU must have a machine for {target.core}, none is known here.")
    return [
        find_qemu(), "-M", target.machine, "-display", "none", "-monitor", "none", "-serial",
        "none", "-semihosting-config", "enable=on,target=native", "-kernel", str(image),
    ]  # fmt: skip


class QemuCore:
    """An image on a machine of QEMU's; a context manager that ends QEMU.

    Args:
        path: The image.
        image: The same, read.
        target: The core.

    Raises:
        EmulationError: There is no QEMU, or it does not start.
    """

    def __init__(self, path: Path, image: LinkedImage, target: Target) -> None:
        self.emulator = _version()
        self._path, self._image, self._target = path, image, target
        command = _command(path, target)
        self._folder = tempfile.TemporaryDirectory(prefix="keras-tree-")
        socket = Path(self._folder.name, "debugger")
        icount = ["-icount", f"shift={_SHIFT},sleep=off", "-S", "-gdb", f"unix:{socket},server=on"]
        self._connection: Debugger | None = None
        self._process = subprocess.Popen(
            [*command, *icount],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            self._connection = self._debugger = self._connect(socket)
            self._go_to(image.addresses["main"])
        except BaseException:
            self.close()
            raise
        self._stack_top = self._debugger.register(_SP)
        self._idle = self._debugger.registers()
        self._return = self._debugger.register(_LR) & ~1
        self._settle()

    def __enter__(self) -> QemuCore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End QEMU."""
        if self._connection is not None:
            self._connection.close()
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def read(self, address: int, size_bytes: int) -> bytes:
        """Read memory."""
        return self._debugger.read(address, size_bytes)

    def write(self, address: int, data: bytes) -> None:
        """Write memory."""
        self._debugger.write(address, data)

    def run(self, function: int, argument: int, kernels: Mapping[int, str] | None = None) -> Run:
        """Call a function; see `EmulatedCore`."""
        kernels = kernels or {}
        stack = self._image.addresses["kt_link_stack_start"]
        self.write(stack, bytes([_FILL]) * (self._stack_top - stack))
        self._debugger.set_registers(self._idle)
        for register, value in ((_R0, argument), (_LR, self._return | 1), (_PC, function)):
            self._debugger.set_register(register, value)
        start = self._ticks()
        calls = self._calls(kernels)
        instructions = self._instructions(start, self._ticks())
        held = self.read(stack, self._stack_top - stack)
        return Run(
            instructions,
            len(held.lstrip(bytes([_FILL]))),
            self._debugger.register(_R0),
            tuple(calls),
        )

    def selftest(self) -> SelftestResult:
        """Start the image anew and let it run to its end."""
        return boot(self._path, self._target)

    def _calls(self, kernels: Mapping[int, str]) -> list[KernelCall]:
        """Run to the return, through every kernel."""
        calls: list[KernelCall] = []
        while (at := self._debugger.go_on({*kernels, self._return})) != self._return:
            parameters, back = self._debugger.register(_R0), self._debugger.register(_LR) & ~1
            start = self._ticks()
            self._go_to(back)  # past the kernels that it calls itself
            taken = self._instructions(start, self._ticks())
            calls.append(KernelCall(kernels[at], parameters, taken))
            if back == self._return:
                break
        return calls

    def _connect(self, socket: Path) -> Debugger:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            # The socket is there a moment before QEMU listens on it.
            with suppress(ConnectionRefusedError, FileNotFoundError):
                return Debugger(socket)
            time.sleep(0.01)
        told = b""
        if self._process.poll() is not None and self._process.stderr:
            told = self._process.stderr.read()
        raise EmulationError(
            f"QEMU must start, it says: {told.decode(errors='replace').strip() or 'nothing'}."
        )

    def _go_to(self, address: int) -> None:
        if (stopped := self._debugger.go_on({address})) != address:
            raise EmulationError(f"The core must come to {address:#x}, it came to {stopped:#x}.")

    def _settle(self) -> None:
        """Run something harmless until it takes the same time twice.

        Virtual time jumps once, some time after the start, to the first event of a device.
        """
        harmless = self._image.addresses["kt_port_stack_fill"]
        counts = [self.run(harmless, 0).instructions]
        for _ in range(_MOST_RUNS_TO_SETTLE):
            counts.append(self.run(harmless, 0).instructions)
            if counts[-1] == counts[-2]:
                return
        raise EmulationError(f"QEMU must count the same twice, it counts {counts}.")

    def _ticks(self) -> int:
        return int.from_bytes(self._debugger.read(self._target.counter, 4), "little")

    def _instructions(self, start: int, end: int) -> int:
        """Instructions between two values of the counter."""
        ticks = (end - start) & 0xFFFFFFFF
        return round(ticks * 1000 / self._target.counter_mhz / (1 << _SHIFT))
