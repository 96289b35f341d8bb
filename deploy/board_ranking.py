"""Which boards a bundle fits, the smallest first, and which it misses, the nearest first.

Belongs here: judging one bundle on many boards and putting them in order. Does not belong here: one
check (`budget.py`), or how the order is shown (`report/board_list.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.board import Board
from deploy.budget import judge
from deploy.footprint.cores import KERNEL_SETS, CoreError, check_kernels
from deploy.usage import Usage
from deploy.verdict import Check, Verdict
from quantize.bundle import Bundle


@dataclass(frozen=True)
class Ranking:
    """A bundle on several boards.

    Args:
        bundle: The bundle.
        fitting: Verdicts of the boards that it fits, the smallest slot first, then the smallest
            main block of RAM.
        missing: Verdicts of the others, the one that is passed by the least share first.
        left_out: Boards for whose core the kernels are not made.
        kernels: The kernels that were asked for; None for the best measured for each core.
    """

    bundle: Bundle
    fitting: tuple[Verdict, ...]
    missing: tuple[Verdict, ...]
    left_out: tuple[Board, ...] = ()
    kernels: str | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All of them, in order."""
        return (*self.fitting, *self.missing)

    @property
    def nearest_miss(self) -> Verdict | None:
        """The board that is missed by the least share of its memory; None where all fit."""
        return self.missing[0] if self.missing else None

    @property
    def nearest_miss_by(self) -> tuple[Usage, ...]:
        """The memories of that board that are too small, the one that is passed by most first."""
        if self.nearest_miss is None:
            return ()
        over = (use for use in (self.nearest_miss.rom, self.nearest_miss.ram) if not use.fits)
        return tuple(sorted(over, key=lambda usage: -usage.percent))


def rank_boards(
    bundle: Bundle,
    boards: Sequence[Board],
    tasks: tuple[str, ...] | None = None,
    kernels: str | None = None,
    reserve_rom_bytes: int = 0,
    reserve_ram_bytes: int = 0,
) -> Ranking:
    """Judge a bundle on every board, against its application slot and its main block of RAM.

    Args:
        bundle: The bundle.
        boards: The boards.
        tasks: The tasks that are shipped; None for all.
        kernels: Kernel set, or None for the best that was measured for each core.
        reserve_rom_bytes: Flash that the rest of the firmware takes.
        reserve_ram_bytes: RAM that the rest of the firmware takes.

    Raises:
        BudgetError: The bundle has no such task, or the cost of an operator is not known.
        CoreError: There are no such kernels.
    """
    if kernels is not None and kernels not in KERNEL_SETS:
        raise CoreError(f"`kernels` must be one of {', '.join(KERNEL_SETS)}; received {kernels!r}.")
    possible = [board for board in boards if kernels is None or _is_made_for(kernels, board)]
    verdicts = [
        judge(
            bundle,
            Check(
                board.name,
                board,
                tasks,
                kernels=kernels,
                reserve_rom_bytes=reserve_rom_bytes,
                reserve_ram_bytes=reserve_ram_bytes,
            ),
        )
        for board in possible
    ]
    return Ranking(
        bundle,
        tuple(sorted((one for one in verdicts if one.fits), key=_size)),
        tuple(sorted((one for one in verdicts if not one.fits), key=lambda one: one.percent)),
        tuple(board for board in boards if board not in possible),
        kernels,
    )


def _size(verdict: Verdict) -> tuple[int, int, str]:
    board = verdict.check.board
    return board.rom_slot_bytes, board.ram_bytes, board.name


def _is_made_for(kernels: str, board: Board) -> bool:
    try:
        check_kernels(kernels, board.core)
    except CoreError:
        return False
    return True
