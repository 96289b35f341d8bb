"""The text of a first budget file: limits above what a bundle takes today, examples of all else.

Text only. Which bundle and boards it is for is asked by `commands/init.py`, and what the keys mean
is read in `budget_file.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from deploy.board import Board
from deploy.units import format_bytes, format_microseconds
from deploy.usage import Timing, Usage
from deploy.verdict import Verdict

ABOVE_PERCENT = 25
"""How far above today's figures the limits are."""

_COMMENT_COLUMN = 36
_HEAD = f"""\
# The budget of this project: `keras-tree check` fails where one of its limits is passed.
# Written by `keras-tree init`, with limits {ABOVE_PERCENT} % above what the bundle takes today.
# Sizes are written "200 KiB", "1.5 MiB" or "4096 B", times "120 ms", shares "5 %".
# Lines that are commented out are examples of the other keys.
"""
_PROJECT = (
    ('reserve_rom = "180 KiB"', "what the rest of your firmware takes; it counts as used"),
    ('reserve_ram = "24 KiB"', ""),
    ('kernels = "reference"', "left out: the best that was measured for each board's core"),
    ('margin = "5 %"', "what must stay free below every limit"),
    ('allocate = "one"', "only the path that runs lies in the arena; left out: all"),
    ('baseline = "baseline.json"', "of `keras-tree check --write-baseline baseline.json`"),
    ('allow_growth = "2 KiB"', "against the baseline; a check below shows one for each"),
)
_OWN_BOARD = """
# A board of your own. Here `rom` and `ram` are what it has.
# [[board]]
# name = "gate-sensor"
# core = "cortex-m4"
# clock = "80 MHz"
# rom = "512 KiB"
# ram = "96 KiB"
"""
_BUNDLES = """
# Several bundles, in place of `bundle` above: a check names its `bundle`, or runs for each of them.
# [[bundle]]
# name = "doorbell"
# path = "build/doorbell"
"""


def budget_text(
    bundle: Sequence[str], boards: Sequence[tuple[str, Verdict]], is_chosen: bool = False
) -> str:
    """Write a budget file.

    Args:
        bundle: Paths of the bundle, as they shall stand in the file.
        boards: What to `use`, a board's name or a file, with the verdict of the bundle there; at
            least one.
        is_chosen: Whether the board was chosen for the user, who may have another one.

    Returns:
        TOML that `budget_file_from` reads.
    """
    lines = [_HEAD, "[project]", *_bundle(bundle)]
    lines += [_line(f"# {example}", comment) for example, comment in _PROJECT]
    for number, (use, verdict) in enumerate(boards):
        lines.append("")
        if is_chosen:
            lines.append(
                "# The smallest built-in board that fits: take yours, `keras-tree boards`."
            )
        lines += ["[[board]]", *_board(use, verdict)]
        if number == 0:
            lines += _board_examples(verdict.check.board)
    text = "\n".join(lines) + "\n" + _OWN_BOARD
    return text + "\n".join(_check_examples(*boards[0])) + "\n" + _BUNDLES


def _bundle(paths: Sequence[str]) -> list[str]:
    if len(paths) == 1:
        return [_line(f"bundle = {_quoted(paths[0])}", "relative to this file")]
    first = _line("bundle = [", "relative to this file; several on one device")
    return [first, *(f"  {_quoted(path)}," for path in paths), "]"]


def _board(use: str, verdict: Verdict) -> list[str]:
    """A board's limits, with today's figures beside them."""
    board = verdict.check.board
    lines = [
        _line(f"use = {_quoted(use)}", board.title),
        _limit("rom", verdict.rom, board.rom_slot_bytes),
        _limit("ram", verdict.ram, board.ram_bytes),
    ]
    if verdict.time is not None:
        today = format_microseconds(verdict.time.used_us)
        text = f"latency = {_quoted(latency_limit(verdict.time))}"
        lines.append(_line(text, f"today {today}, the path of {verdict.time.task}"))
    return lines


def _limit(key: str, usage: Usage, whole_bytes: int) -> str:
    today, limit_bytes = format_bytes(usage.used_bytes), raised(usage.used_bytes, whole_bytes)
    comment = f"today {today}, the board has {format_bytes(whole_bytes)}"
    if limit_bytes == whole_bytes:
        comment = f"all that the board has; today {today}"
        if usage.used_bytes > whole_bytes:
            comment += ", which is more"
    return _line(f"{key} = {_quoted(exact(limit_bytes))}", comment)


def raised(used_bytes: int, whole_bytes: int) -> int:
    """A limit above today's use, in whole KiB, and never above what the board has, in bytes."""
    limit_kib = math.ceil(used_bytes * (100 + ABOVE_PERCENT) / 100 / 1024)
    return min(limit_kib * 1024, whole_bytes)


def latency_limit(time: Timing) -> str:
    """A limit above today's time, rounded up to two or three digits."""
    limit_us = time.used_us * (100 + ABOVE_PERCENT) / 100
    unit, factor = next(
        ((unit, factor) for unit, factor in (("s", 1e6), ("ms", 1e3)) if limit_us >= factor),
        ("us", 1.0),
    )
    number = limit_us / factor
    step = 0.1 if number < 10 else 1
    # A limit of less than 0.1 us is none that anyone sets; it must still be above zero.
    rounded = f"{max(step, math.ceil(number / step) * step):.1f}"
    return f"{rounded.removesuffix('.0')} {unit}"


def exact(size_bytes: int) -> str:
    """A size that reads back to the same number of bytes."""
    for unit, factor in (("MiB", 1024**2), ("KiB", 1024)):
        if size_bytes >= factor and size_bytes % factor == 0:
            return f"{size_bytes // factor} {unit}"
    return f"{size_bytes} B"


def _board_examples(board: Board) -> list[str]:
    """The other keys of a board that is used, with its own values."""
    fields = (
        ("title", board.title),
        ("mcu", board.mcu),
        ("core", board.core),
        ("fpu", board.fpu),
        ("clock", f"{board.clock_hz / 1e6:g} MHz"),
        ("rom_chip", exact(board.rom_chip_bytes)),
        ("rom_slot", exact(board.rom_slot_bytes)),
        ("ram_total", exact(board.ram_total_bytes)),
        ("notes", "the radio is off"),
    )
    return [
        _line('# name = "release"', "to use one board twice"),
        _line('# kernels = "reference"', "for this board alone"),
        "# Any field of the board may be overridden. It has:",
        *(f"# {key} = {_quoted(value)}" for key, value in fields),
        '# sources = { clock = "our schematic" }',
    ]


def _check_examples(use: str, verdict: Verdict) -> list[str]:
    """Every key of a check."""
    task = next(iter(verdict.bundle.tasks))
    return [
        "",
        "# Without any check, every board is checked with all tasks; with one, only what it says.",
        "# [[check]]",
        f"# name = {_quoted(f'{task} only')}",
        f"# board = {_quoted(use)}",
        f"# tasks = [{_quoted(task)}]",
        _line('# image = "build/firmware.elf"', "ROM is read from the image that the linker wrote"),
        _line('# measured = "measured.json"', "or ROM and RAM from `keras-tree measure`"),
        _line('# rom = "64 KiB"', "what stands here wins over the board and the project"),
        '# ram = "32 KiB"',
        '# latency = "120 ms"',
        '# kernels = "reference"',
        '# margin = "2 KiB"',
        '# allocate = "all"',
        '# allow_growth = { rom = "2 KiB", ram = "1 %", latency = "5 %" }',
    ]


def _line(text: str, comment: str) -> str:
    return f"{text:<{_COMMENT_COLUMN - 1}} # {comment}" if comment else text


def _quoted(text: str) -> str:
    """A TOML string; its escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)
