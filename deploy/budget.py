"""Budget: limits held against a footprint, and the verdict. Arithmetic only.

The values it works with are in `verdict.py`, reading limits from a file in `budget_file.py`, what
to do when a limit is passed in `next_steps.py`, rendering in `report/`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from deploy.footprint import Footprint, footprint
from deploy.footprint.cores import CoreError
from deploy.footprint.ram import RamError
from deploy.footprint.rom import RomError
from deploy.next_steps import next_steps
from deploy.units import format_bytes
from deploy.verdict import BudgetReport, Check, Part, Usage, Verdict
from quantize.bundle import Bundle

__all__ = ["BudgetError", "BudgetReport", "Check", "Part", "Usage", "Verdict", "check", "judge"]


class BudgetError(ValueError):
    """A check that cannot be held against a bundle, or a budget file that cannot be used."""


def check(bundle: Bundle, checks: Sequence[Check]) -> BudgetReport:
    """Hold a bundle against every check.

    Args:
        bundle: The bundle.
        checks: At least one.

    Returns:
        The report; over budget is an answer in it, not an exception.

    Raises:
        BudgetError: There is no check, or one names an unknown task or an impossible limit.
    """
    if not checks:
        raise BudgetError("`checks` must hold at least one check, received none. Name a board.")
    verdicts = [judge(bundle, one) for one in checks]
    ordered = sorted(verdicts, key=lambda verdict: (verdict.fits, -verdict.percent))
    return BudgetReport(bundle, tuple(ordered))


def judge(bundle: Bundle, one: Check) -> Verdict:
    """Hold a bundle against one check.

    Raises:
        BudgetError: The check names an unknown task or an impossible limit, its kernels are not for
            the board's core, or the cost of an operator is not known.
    """
    _refuse_unknown_tasks(bundle, one)
    _refuse_impossible_limits(one)
    try:
        found = footprint(bundle, one.board, one.tasks, one.kernels)
    except (CoreError, RomError, RamError) as error:
        raise BudgetError(f"Check '{one.name}': {error}") from error
    rom, ram = _rom_usage(one, found), _ram_usage(one, found)
    steps = () if rom.fits and ram.fits else next_steps(bundle, one, found, rom, ram)
    return Verdict(one, found, rom, ram, steps, (*_limit_notes(one), *found.notes))


def _rom_usage(one: Check, found: Footprint) -> Usage:
    """Flash: every node, the runtime's core, the kernels, and the reserve."""
    parts = [Part(node.name, "nodes", node.rom_bytes) for node in found.nodes.values()]
    parts.append(Part("runtime core", "runtime", found.runtime.core_bytes))
    parts.append(Part("kernels", "runtime", found.runtime.kernel_bytes))
    limit = one.rom_limit_bytes
    return Usage(
        "ROM",
        one.board.rom_slot_bytes if limit is None else limit,
        limit is not None,
        (*parts, *_reserve(one.reserve_rom_bytes)),
        found.rom_error_percent,
    )


def _ram_usage(one: Check, found: Footprint) -> Usage:
    """RAM: every cause of the footprint, and the reserve."""
    parts = [Part(name, "arena", size) for name, size in found.ram_parts.items()]
    limit = one.ram_limit_bytes
    return Usage(
        "RAM",
        one.board.ram_bytes if limit is None else limit,
        limit is not None,
        (*parts, *_reserve(one.reserve_ram_bytes)),
        found.ram_error_percent,
    )


def _reserve(size_bytes: int) -> tuple[Part, ...]:
    return (Part("the reserve", "reserve", size_bytes),) if size_bytes else ()


def _refuse_unknown_tasks(bundle: Bundle, one: Check) -> None:
    if one.tasks is not None and not one.tasks:
        raise BudgetError(
            f"`tasks` of check '{one.name}' must name a task, received none. "
            f"The bundle has: {', '.join(bundle.tasks)}."
        )
    for name in one.tasks or ():
        if name not in bundle.tasks:
            near = difflib.get_close_matches(name, bundle.tasks, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"It has: {', '.join(bundle.tasks)}."
            raise BudgetError(
                f"`tasks` of check '{one.name}' must be tasks of bundle '{bundle.name}', received "
                f"'{name}'. {advice}"
            )


def _refuse_impossible_limits(one: Check) -> None:
    """A limit of nothing, or above what the chip has, is a mistake and no budget."""
    board = one.board
    chip_bytes = max(board.rom_chip_bytes, board.rom_slot_bytes)
    for key, limit, whole, what in (
        ("rom", one.rom_limit_bytes, chip_bytes, "flash"),
        ("ram", one.ram_limit_bytes, board.ram_total_bytes, "RAM"),
    ):
        if limit is not None and not 0 < limit <= whole:
            raise BudgetError(
                f"`{key}` of check '{one.name}' must be above 0 and at most the "
                f"{format_bytes(whole)} of {what} on {board.name}, received {format_bytes(limit)}. "
                f"Leave it out for the board's own limit."
            )


def _limit_notes(one: Check) -> tuple[str, ...]:
    """Say when a limit is above what an application gets by default."""
    notes, board = [], one.board
    if one.rom_limit_bytes is not None and one.rom_limit_bytes > board.rom_slot_bytes:
        notes.append(
            f"the ROM limit of {format_bytes(one.rom_limit_bytes)} is above the application slot "
            f"of {board.name}, {format_bytes(board.rom_slot_bytes)}: it needs a partition table or "
            "linker script of your own"
        )
    if one.ram_limit_bytes is not None and one.ram_limit_bytes > board.ram_bytes:
        notes.append(
            f"the RAM limit of {format_bytes(one.ram_limit_bytes)} is above the main block of "
            f"{board.name}, {format_bytes(board.ram_bytes)}: an arena cannot straddle two blocks"
        )
    return tuple(notes)
