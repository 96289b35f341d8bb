"""`keras-tree boards`: which boards are known, which of them a bundle fits, and every source."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.usage import FITS, OVER_BUDGET, UsageError, as_usage_error, near_name

if TYPE_CHECKING:
    from deploy.board import Board

SUMMARY = "list the boards, rank those that a bundle fits, or explain one"
USAGE = "[NAME] [--fits BUNDLE...] [--core CORE] [--min-rom SIZE] [--json] [options]"
DESCRIPTION = """\
List the built-in boards, rank those that a bundle fits, or explain one of them (or a .toml file of
your own) with the source of every figure.

Flash is all that the chip has; the slot is what an application really gets, without bootloader,
second slot and file system. RAM is the main block, because an arena cannot straddle two blocks, and
all blocks together. Budgets are held against the slot and the block.

With --fits, every board is checked as `keras-tree check` does it: the smallest that fits comes
first, and the nearest miss is told. Several bundles or .tflite files are one device's. Ends with 1
where none fits.
"""
EPILOG = """\
examples:
  keras-tree boards --core cortex-m4 --min-ram "128 KiB"
  keras-tree boards --fits build/bundle --reserve-rom "180 KiB"
  keras-tree boards --fits kws.tflite vww.tflite --core cortex-m33
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
_FILTERS = ("core", "min_rom", "min_ram")
_OF_FITS = ("tasks", "kernels", "reserve_rom", "reserve_ram")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a board, or a .toml file")
    parser.add_argument("--core", metavar="CORE", help="only boards with this core")
    parser.add_argument("--min-rom", metavar="SIZE", help="only boards with at least this slot")
    parser.add_argument("--min-ram", metavar="SIZE", help="only boards with at least this block")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    fits = parser.add_argument_group("which boards a bundle fits")
    fits.add_argument(
        "--fits", nargs="+", type=Path, metavar="BUNDLE", help="bundle folders or .tflite files"
    )
    fits.add_argument("--tasks", metavar="A,B", help="only these tasks (default: all)")
    fits.add_argument("--kernels", metavar="SET", help="reference, cmsis-nn or cmsis-nn-int8")
    fits.add_argument("--reserve-rom", metavar="SIZE", help="ROM of the rest of your firmware")
    fits.add_argument("--reserve-ram", metavar="SIZE", help="RAM of the rest of your firmware")


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """List the boards, rank them, or explain one."""
    from deploy.board import BoardError, load_board
    from deploy.report.board_list import explanation, listing

    _refuse_what_does_not_go_together(arguments)
    if arguments.name is not None:
        with as_usage_error(BoardError):
            board = load_board(arguments.name)
        say(json.dumps(asdict(board), indent=2) if arguments.json else explanation(board))
        return FITS
    boards = filtered(arguments.core, arguments.min_rom, arguments.min_ram)
    if arguments.fits is not None:
        return _rank(arguments, boards, say)
    say(
        json.dumps([asdict(board) for board in boards], indent=2)
        if arguments.json
        else listing(boards)
    )
    return FITS


def _refuse_what_does_not_go_together(arguments: argparse.Namespace) -> None:
    given = [name for name in (*_FILTERS, "fits", *_OF_FITS) if getattr(arguments, name)]
    options = [f"--{name.replace('_', '-')}" for name in given]
    if arguments.name is not None and options:
        raise UsageError(
            f"`{options[0]}` is for the list of boards, received a board's name besides: "
            f"'{arguments.name}'. Leave out one of them; `keras-tree check` checks one board."
        )
    alone = [name for name in given if name in _OF_FITS]
    if alone and arguments.fits is None:
        raise UsageError(
            f"`--{alone[0].replace('_', '-')}` says what is checked, received no bundle to check. "
            "Add `--fits BUNDLE`."
        )


def _rank(arguments: argparse.Namespace, boards: list[Board], say: Callable[[str], None]) -> int:
    """Show which boards the bundle fits."""
    from deploy.board_ranking import rank_boards
    from deploy.budget import BudgetError
    from deploy.footprint.cores import CoreError
    from deploy.models import ModelError, load_models
    from deploy.report.board_list import ranking, ranking_json
    from deploy.units import UnitError, parse_bytes

    names = [name.strip() for name in (arguments.tasks or "").split(",") if name.strip()]
    with as_usage_error(BudgetError, CoreError, ModelError, UnitError, OSError):
        found = rank_boards(
            load_models(arguments.fits),
            boards,
            None if arguments.tasks is None else tuple(names),
            arguments.kernels,
            parse_bytes(arguments.reserve_rom or 0, "--reserve-rom"),
            parse_bytes(arguments.reserve_ram or 0, "--reserve-ram"),
        )
    say(json.dumps(ranking_json(found), indent=2) if arguments.json else ranking(found))
    return FITS if found.fitting else OVER_BUDGET


def filtered(core: str | None, min_rom: str | None, min_ram: str | None) -> list[Board]:
    """The built-in boards that pass the filters, by name.

    Raises:
        UsageError: The core is unknown, or a size cannot be read.
    """
    from deploy.board import CORES, board_names, load_board
    from deploy.units import UnitError, parse_bytes

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
