"""Boards for people: the list, one board with the source of every figure, and a ranking.

Text only. Which boards there are is in `deploy/board.py`, which of them a bundle fits in
`deploy/board_ranking.py`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deploy.board import Board
from deploy.units import format_bytes, format_microseconds

if TYPE_CHECKING:
    from deploy.board_ranking import Ranking
    from deploy.usage import Timing, Usage
    from deploy.verdict import Verdict


def listing(boards: Sequence[Board]) -> str:
    """One line per board: flash of the chip and slot apart, main block of RAM and total apart."""
    if not boards:
        return (
            "No built-in board passes these filters. A board of your own: keras-tree boards --help"
        )
    rows = [["board", "core", "clock", "flash", "slot", "RAM block", "RAM in all"]]
    for board in boards:
        flash = "none" if board.runs_from_ram else format_bytes(board.rom_chip_bytes)
        sizes = (board.rom_slot_bytes, board.ram_bytes, board.ram_total_bytes)
        rows.append([board.name, board.core, clock(board), flash, *map(format_bytes, sizes)])
    return "\n".join(
        [
            *_aligned(rows, "llrrrrr"),
            "",
            f"{_boards(len(boards))}; budgets are held against the slot and the RAM block",
            f"the sources of one: keras-tree boards {boards[0].name}",
        ]
    )


def explanation(board: Board) -> str:
    """Every figure of one board, and where it is stated."""
    numbers = {text: i + 1 for i, text in enumerate(dict.fromkeys(board.sources.values()))}

    def source(figure: str) -> str:
        return f" [{numbers[board.sources[figure]]}]" if figure in board.sources else ""

    unit = "no FPU" if board.fpu == "none" else f"{board.fpu}-precision FPU"
    flash = (
        "none to run from: the program is copied from storage into RAM, and counts in both"
        if board.runs_from_ram
        else f"{_exact(board.rom_chip_bytes)} in all"
    )
    lines = [
        f"{board.name}: {board.title}",
        "",
        f"  chip   {board.mcu}",
        f"  core   {board.core}{source('core')} at {clock(board)}{source('clock')}, "
        f"{unit}{source('fpu')}",
        f"  flash  {flash}{source('rom_chip')}",
        f"  slot   {_exact(board.rom_slot_bytes)}{source('rom_slot')} for one application: ROM is "
        "held against it",
        f"  RAM    {_exact(board.ram_bytes)}{source('ram')} in the main block: RAM is held against "
        "it",
        f"         {_exact(board.ram_total_bytes)}{source('ram_total')} in all blocks",
    ]
    if board.notes:
        lines += _wrapped("  notes  ", board.notes)
    if numbers:
        lines += ["", "  sources"]
        for text, number in numbers.items():
            lines += _wrapped(f"    [{number}] ", text)
    return "\n".join(lines)


def clock(board: Board) -> str:
    """Such as "64 MHz"."""
    return f"{board.clock_hz / 1e6:g} MHz"


def ranking(found: Ranking) -> str:
    """The boards that a bundle fits, the smallest first, and the nearest that it misses."""
    from deploy.report import phrases  # loads NumPy, which the plain list does without

    if not (found.verdicts or found.left_out):
        return listing(())
    lines = [*_wrapped(f"{found.bundle.name}: ", _what(found), 4), ""]
    if found.fitting:
        rows = [["board", "core", "ROM/slot", "", "RAM/block", "", "time", ""]]
        lines += [*_aligned([*rows, *map(_row, found.fitting)], "llrrrrrl"), ""]
    order = ", the smallest first" if len(found.fitting) > 1 else ""
    lines.append(f"fits {len(found.fitting)} of {_boards(len(found.verdicts))}{order}")
    if found.fitting:
        lines += _wrapped("", phrases.errors(found.fitting), 0)
    if any(verdict.is_close for verdict in found.fitting):
        lines.append("close: fits, but not at the upper end of the estimate's error")
    if found.nearest_miss is not None:
        label = (
            f"misses {len(found.missing)}; the nearest is {found.nearest_miss.check.board.name}: "
        )
        lines += _wrapped(label, "; ".join(usage.message for usage in found.nearest_miss_by), 4)
    if found.left_out:
        left = _boards(len(found.left_out))
        lines.append(f"left out {left}: {found.kernels} kernels are not made for the core")
    return "\n".join(lines)


def ranking_json(found: Ranking) -> dict[str, Any]:
    """The same as a value for JSON: boards in the order of the screen, misses after fits."""
    return {
        "bundle": found.bundle.name,
        "fitting": [_as_value(verdict) for verdict in found.fitting],
        "missing": [_as_value(verdict) for verdict in found.missing],
        "left_out": [board.name for board in found.left_out],
    }


def _what(found: Ranking) -> str:
    """What is checked: nodes, their bytes, the tasks where some are left out, kernels, reserves."""
    kernels = found.kernels or "the best measured for each core"
    if not found.verdicts:
        return f"kernels: {kernels}"
    one = found.verdicts[0]
    count = len(one.footprint.nodes)
    nodes = "1 node" if count == 1 else f"{count} nodes"
    parts = [f"{nodes}, {format_bytes(one.footprint.model_rom_bytes)}"]
    if one.check.tasks is not None:
        parts.append(f"tasks: {', '.join(one.check.tasks)}")
    parts.append(f"kernels: {kernels}")
    for usage in (one.rom, one.ram):
        reserve_bytes = usage.group_bytes("reserve")
        if reserve_bytes:
            parts.append(f"{usage.memory} reserve: {format_bytes(reserve_bytes)}")
    return "; ".join(parts)


def _row(verdict: Verdict) -> list[str]:
    from deploy.report import phrases

    board = verdict.check.board
    cells = [board.name, board.core]
    for usage in (verdict.rom, verdict.ram):
        cells += [_used_of_limit(usage), phrases.percent(usage)]
    return [*cells, _time(verdict.time), "close" if verdict.is_close else ""]


def _used_of_limit(usage: Usage) -> str:
    """Such as "293.6/512 KiB"."""
    limit = f"{usage.limit_bytes / 1024:,.1f}".removesuffix(".0")
    return f"{usage.used_bytes / 1024:,.1f}/{limit} KiB"


def _time(timing: Timing | None) -> str:
    return "-" if timing is None else format_microseconds(timing.used_us)


def _as_value(verdict: Verdict) -> dict[str, Any]:
    board, timing = verdict.check.board, verdict.time
    memories = {
        usage.memory.lower(): {
            "used_bytes": usage.used_bytes,
            "limit_bytes": usage.limit_bytes,
            "over_bytes": usage.over_bytes,
            "percent": round(usage.percent, 1),
            "error_percent": list(usage.error_percent),
        }
        for usage in (verdict.rom, verdict.ram)
    }
    return {
        "board": board.name,
        "title": board.title,
        "core": board.core,
        "kernels": verdict.footprint.kernels,
        "fits": verdict.fits,
        "close": verdict.is_close,
        **memories,
        "time": None
        if timing is None
        else {
            "task": timing.task,
            "used_us": round(timing.used_us, 1),
            "error_percent": list(timing.latency.error_percent),
        },
    }


def _aligned(rows: Sequence[Sequence[str]], align: str) -> Iterator[str]:
    """Columns as wide as their content: names of boards are copied, so none is cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            f"{cell:>{width}}" if side == "r" else f"{cell:{width}}"
            for cell, width, side in zip(row, widths, align, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _boards(count: int) -> str:
    return "1 board" if count == 1 else f"{count} boards"


def _exact(size_bytes: int) -> str:
    return f"{format_bytes(size_bytes)} ({size_bytes:,} B)"


def _wrapped(label: str, text: str, indent: int | None = None, width: int = 96) -> list[str]:
    """The text behind its label, further lines below it or indented by `indent`."""
    return textwrap.wrap(
        text, width, initial_indent=label,
        subsequent_indent=" " * (len(label) if indent is None else indent),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
