"""`keras-tree boards`: which boards are known, and where every figure of one comes from."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Callable
from dataclasses import asdict

from deploy.board import CORES, Board, BoardError, board_names, load_board
from deploy.commands.usage import FITS, UsageError, as_usage_error, near_name
from deploy.units import UnitError, format_bytes, parse_bytes

SUMMARY = "list the boards, or explain one with the source of every figure"
USAGE = "[NAME] [--core CORE] [--min-rom SIZE] [--min-ram SIZE] [--json]"
DESCRIPTION = """\
List the built-in boards, or explain one of them (or a .toml file of your own).

ROM is the slot that an application really gets, without bootloader, second slot and file system;
RAM is the main block, because an arena cannot straddle two blocks. Budgets are held against both.
"""
EPILOG = """\
examples:
  keras-tree boards --core cortex-m4 --min-ram "128 KiB"
  keras-tree boards nano33ble
  keras-tree boards my-board.toml

a board of your own takes six lines:
  name = "gate-sensor"
  core = "cortex-m4"
  clock = "80 MHz"
  rom_chip = "1 MiB"
  rom_slot = "960 KiB"
  ram = "96 KiB"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a board, or a .toml file")
    parser.add_argument("--core", metavar="CORE", help="only boards with this core")
    parser.add_argument("--min-rom", metavar="SIZE", help="only boards with at least this slot")
    parser.add_argument("--min-ram", metavar="SIZE", help="only boards with at least this RAM")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """List the boards, or explain one."""
    if arguments.name is not None:
        if arguments.core or arguments.min_rom or arguments.min_ram:
            raise UsageError(
                "`--core`, `--min-rom` and `--min-ram` filter the list, received a board's name "
                f"besides: '{arguments.name}'. Leave out one of them."
            )
        with as_usage_error(BoardError):
            board = load_board(arguments.name)
        say(json.dumps(asdict(board), indent=2) if arguments.json else explain(board))
        return FITS
    boards = filtered(arguments.core, arguments.min_rom, arguments.min_ram)
    if arguments.json:
        say(json.dumps([asdict(board) for board in boards], indent=2))
    else:
        say(listing(boards))
    return FITS


def filtered(core: str | None, min_rom: str | None, min_ram: str | None) -> list[Board]:
    """The built-in boards that pass the filters, by name.

    Raises:
        UsageError: The core is unknown, or a size cannot be read.
    """
    if core is not None and core not in CORES:
        raise UsageError(
            f"`--core` must be a known core, received '{core}'. {near_name(core, CORES, 'cores')}"
        )
    with as_usage_error(UnitError):
        rom_bytes = parse_bytes(min_rom or 0, "--min-rom")
        ram_bytes = parse_bytes(min_ram or 0, "--min-ram")
    return [
        board
        for board in map(load_board, board_names())
        if core in (None, board.core)
        and board.rom_slot_bytes >= rom_bytes
        and board.ram_bytes >= ram_bytes
    ]


def listing(boards: list[Board]) -> str:
    """One line per board."""
    if not boards:
        return (
            "No built-in board passes these filters. A board of your own: keras-tree boards --help"
        )
    name_width = max(len(board.name) for board in boards)
    core_width = max(len(board.core) for board in boards)
    heads = f"{'clock':>8}  {'ROM':>11}  {'RAM':>11}  title"
    lines = [f"{'board':{name_width}}  {'core':{core_width}}  {heads}"]
    for board in boards:
        lines.append(
            f"{board.name:{name_width}}  {board.core:{core_width}}  {clock(board):>8}"
            f"  {format_bytes(board.rom_slot_bytes):>11}  {format_bytes(board.ram_bytes):>11}"
            f"  {board.title}"
        )
    count = "1 board" if len(boards) == 1 else f"{len(boards)} boards"
    return "\n".join(
        [*lines, "", f"{count}; the sources of one: keras-tree boards {boards[0].name}"]
    )


def explain(board: Board) -> str:
    """Every figure of one board, and where it is stated."""
    fpu = "no FPU" if board.fpu == "none" else f"{board.fpu}-precision FPU"
    flash = (
        "no flash to run from; the program is copied into RAM"
        if board.runs_from_ram
        else f"of {_exact(board.rom_chip_bytes)} of flash"
    )
    lines = [
        f"{board.name}: {board.title}",
        "",
        f"  chip   {board.mcu}",
        f"  core   {board.core} at {clock(board)}, {fpu}",
        f"  ROM    {_exact(board.rom_slot_bytes)} for an application, {flash}",
        f"  RAM    {_exact(board.ram_bytes)} in the main block,"
        f" {format_bytes(board.ram_total_bytes)} in all",
    ]
    if board.notes:
        lines += _wrapped("  notes  ", board.notes)
    if board.sources:
        lines += ["", "  sources"]
        for source in dict.fromkeys(board.sources.values()):
            figures = [figure for figure, stated in board.sources.items() if stated == source]
            lines += [f"    {', '.join(figures)}", *_wrapped("      ", source)]
    return "\n".join(lines)


def clock(board: Board) -> str:
    """Such as "64 MHz"."""
    return f"{board.clock_hz / 1e6:g} MHz"


def _exact(size_bytes: int) -> str:
    return f"{format_bytes(size_bytes)} ({size_bytes:,} B)"


def _wrapped(label: str, text: str, width: int = 96) -> list[str]:
    """The text behind its label, further lines indented below it."""
    return textwrap.wrap(
        text, width, initial_indent=label, subsequent_indent=" " * len(label),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
