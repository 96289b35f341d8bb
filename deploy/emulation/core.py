"""What an emulated core offers, whichever emulator stands behind it, and what a run of it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["EmulationError", "EmulatedCore", "KernelCall", "Run", "SelftestResult"]


class EmulationError(RuntimeError):
    """An emulated core that cannot be started, or that stops where it should not."""


@dataclass(frozen=True)
class KernelCall:
    """One call of a kernel from generated code.

    Args:
        kernel: The kernel's name.
        argument: Its first argument: the address of the parameters, for most kernels.
        instructions: From its first instruction up to its return.
    """

    kernel: str
    argument: int
    instructions: int


@dataclass(frozen=True)
class Run:
    """One call of a function.

    Args:
        instructions: All that were executed, in the function and in what it called.
        stack_bytes: The deepest stack below the caller's.
        result: What it returned.
        calls: The kernels, in order; empty where they were not asked for.
    """

    instructions: int
    stack_bytes: int
    result: int
    calls: tuple[KernelCall, ...] = ()


@dataclass(frozen=True)
class SelftestResult:
    """What an image said when it was started from its own reset vector.

    Args:
        exit_code: What it ended with; 0: every golden vector is equal.
        text: What it wrote.
        emulator: What ran it, with its version.
    """

    exit_code: int
    text: str
    emulator: str

    @property
    def passed(self) -> bool:
        """Whether every golden vector was equal."""
        return self.exit_code == 0


class EmulatedCore(Protocol):
    """A core with an image that has been started up to `main`."""

    emulator: str

    def read(self, address: int, size_bytes: int) -> bytes:
        """Read memory."""

    def write(self, address: int, data: bytes) -> None:
        """Write memory."""

    def run(self, function: int, argument: int, kernels: Mapping[int, str] | None = None) -> Run:
        """Call a function as `main` would.

        Args:
            function: Its address.
            argument: Its one argument.
            kernels: Names of the kernels by address: their calls are counted apart.

        Raises:
            EmulationError: It does not come back.
        """
