"""The debugger's end of QEMU's remote port, as far as counting needs it.

Protocol: "GDB Remote Serial Protocol" in the manual of GDB, appendix E.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path

from deploy.emulation.core import EmulationError

__all__ = ["Debugger"]

_CHUNK = 1024  # bytes of memory in one packet
_TIMEOUT_SECONDS = 600
_PC = 15
_THUMB_BREAKPOINT = "2"


class Debugger:
    """A connection to a stopped Cortex-M.

    Args:
        path: QEMU's socket.

    Raises:
        OSError: Nobody listens there.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_TIMEOUT_SECONDS)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._waiting = b""
        self._breakpoints: set[int] = set()
        # Only then QEMU gives single registers.
        self._ask("qXfer:features:read:target.xml:0,ffb")

    def close(self) -> None:
        """Give the connection up."""
        self._socket.close()

    def read(self, address: int, size_bytes: int) -> bytes:
        """Read memory."""
        parts = []
        for at in range(address, address + size_bytes, _CHUNK):
            size = min(_CHUNK, address + size_bytes - at)
            parts.append(bytes.fromhex(self._ask(f"m{at:x},{size:x}")))
        return b"".join(parts)

    def write(self, address: int, data: bytes) -> None:
        """Write memory."""
        for at in range(0, len(data), _CHUNK):
            part = data[at : at + _CHUNK]
            self._ask(f"M{address + at:x},{len(part):x}:{part.hex()}")

    def register(self, number: int) -> int:
        """One of R0 to R15."""
        return int.from_bytes(bytes.fromhex(self._ask(f"p{number:x}"))[:4], "little")

    def set_register(self, number: int, value: int) -> None:
        """Set one of R0 to R15."""
        self._ask(f"P{number:x}={value.to_bytes(4, 'little').hex()}")

    def registers(self) -> str:
        """All registers, to be given back to `set_registers`."""
        return self._ask("g")

    def set_registers(self, registers: str) -> None:
        """Set all registers."""
        self._ask(f"G{registers}")

    def go_on(self, breakpoints: Iterable[int]) -> int:
        """Run until the core is about to execute an instruction at one of `breakpoints`.

        Returns:
            Where the core stopped.
        """
        wanted = set(breakpoints)
        for address in self._breakpoints - wanted:
            self._ask(f"z0,{address:x},{_THUMB_BREAKPOINT}")
        for address in wanted - self._breakpoints:
            self._ask(f"Z0,{address:x},{_THUMB_BREAKPOINT}")
        self._breakpoints = wanted
        told = self._ask("c")
        if not told.startswith(("T05", "S05")):
            raise EmulationError(f"The core must come to a breakpoint, QEMU says '{told}'.")
        return self.register(_PC)

    def _ask(self, request: str) -> str:
        checksum = sum(request.encode()) % 256
        try:
            self._socket.sendall(f"${request}#{checksum:02x}".encode())
            answer = self._answer()
        except OSError as error:
            raise EmulationError(f"QEMU must answer its debugger, it does not: {error}.") from error
        if answer.startswith("E") and len(answer) == 3:
            raise EmulationError(f"QEMU refuses '{request[:40]}' with {answer}.")
        return answer

    def _answer(self) -> str:
        """The next packet; acknowledgements are passed over."""
        while b"#" not in self._waiting or len(self._waiting.split(b"#", 1)[1]) < 2:
            received = self._socket.recv(65536)
            if not received:
                raise OSError("the connection is closed")
            self._waiting += received
        packet, rest = self._waiting.split(b"#", 1)
        self._waiting = rest[2:]
        self._socket.sendall(b"+")
        return packet.split(b"$", 1)[1].decode("ascii")
