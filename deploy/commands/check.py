"""`keras-tree check`: what a bundle costs on boards, and whether it fits. The gate of a CI."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.commands.usage import FITS, OVER_BUDGET, UsageError, as_usage_error
from deploy.commands.writing import write_atomically

if TYPE_CHECKING:
    from deploy.budget import BudgetReport, Check
    from deploy.budget_file import BudgetFile

SUMMARY = "say what a bundle costs on boards, and whether it fits"
USAGE = "[BUNDLE] [--board NAME]... [--rom SIZE] [--ram SIZE] [options]"
DESCRIPTION = """\
Hold a bundle against the ROM and RAM of boards. ROM is the node flatbuffers, the runtime's core
and the kernels of all operators together; RAM is the arena for every path, and what else the
runtime needs. Both are estimates with a stated error; what your own firmware takes goes into
--reserve-rom and --reserve-ram. Loads neither TensorFlow nor Keras.

Without --board, boards and limits come from keras-tree.toml (or the table [tool.keras-tree] of
pyproject.toml) in this folder. With --board, that file still supplies the bundle, the reserves and
the limits of a board that it names; what stands on the command line wins.
"""
EPILOG = """\
examples:
  keras-tree check build/bundle --board nano33ble --rom "200 KiB" --ram "64 KiB"
  keras-tree check build/bundle --board all
  keras-tree check --format markdown >> "$GITHUB_STEP_SUMMARY"

a keras-tree.toml:
  [project]
  bundle = "build/bundle"
  reserve_rom = "180 KiB"

  [[board]]
  use = "nano33ble"
  rom = "400 KiB"
  ram = "96 KiB"

  [[check]]
  name = "kws-only"
  board = "nano33ble"
  tasks = ["kws"]
"""
_FORMATS = ("terminal", "json", "markdown")
_WIDTH_OF_A_LOG = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument(
        "bundle", nargs="?", type=Path, metavar="BUNDLE", help="the bundle's folder"
    )
    what = parser.add_argument_group("what is checked")
    what.add_argument(
        "--board",
        action="append",
        default=[],
        metavar="NAME",
        help="a board, a .toml file, or all; may be given several times",
    )
    what.add_argument("--rom", metavar="SIZE", help="ROM limit (default: the application slot)")
    what.add_argument("--ram", metavar="SIZE", help="RAM limit (default: the main block)")
    what.add_argument("--tasks", metavar="A,B", help="only these tasks (default: all)")
    what.add_argument("--kernels", metavar="SET", help=_KERNELS_HELP)
    what.add_argument("--reserve-rom", metavar="SIZE", help="ROM of the rest of your firmware")
    what.add_argument("--reserve-ram", metavar="SIZE", help="RAM of the rest of your firmware")
    what.add_argument("--config", type=Path, metavar="FILE", help="the budget file to read")
    how = parser.add_argument_group("how it is shown")
    how.add_argument("--format", choices=_FORMATS, default="terminal", help="default: terminal")
    how.add_argument(
        "--output", type=Path, metavar="FILE", help="write there, and the report on the screen too"
    )
    how.add_argument("--why", action="store_true", help="split every check into its parts")


_KERNELS_HELP = "reference, cmsis-nn or cmsis-nn-int8 (default: the best measured for the core)"


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Check a bundle and show the report."""
    from deploy.board import BoardError
    from deploy.budget import BudgetError, check
    from deploy.units import UnitError
    from quantize.bundle import Bundle, BundleError

    with as_usage_error(BoardError, BudgetError, BundleError, UnitError, OSError):
        file = budget_file(arguments)
        checks = wanted_checks(arguments, file)
        bundle = Bundle.load(bundle_folder(arguments, file))
        report = check(bundle, checks)
    if arguments.output is not None:
        write_atomically(arguments.output, rendered(report, arguments.format, arguments.why) + "\n")
    if arguments.output is None or arguments.format == "terminal":
        say(rendered(report, arguments.format, arguments.why, on_screen=True))
    else:
        say(rendered(report, "terminal", arguments.why, on_screen=True))
    return FITS if report.fits else OVER_BUDGET


def budget_file(arguments: argparse.Namespace) -> BudgetFile | None:
    """The file that is named, or that stands in the current folder."""
    from deploy.budget_file import find_budget_file, read_budget_file

    path = arguments.config or find_budget_file(Path())
    return read_budget_file(path) if path else None


def bundle_folder(arguments: argparse.Namespace, file: BudgetFile | None) -> Path:
    """The bundle that is named on the command line, or in the file.

    Raises:
        UsageError: There is none.
    """
    if arguments.bundle is not None:
        return Path(arguments.bundle)
    if file is not None and file.bundle is not None:
        return file.bundle
    missing = f"{file.path} has no `bundle` under [project]" if file else "there is no budget file"
    raise UsageError(
        f"a bundle's folder is expected, none was given and {missing}. "
        "Write `keras-tree check BUNDLE --board NAME`."
    )


def wanted_checks(arguments: argparse.Namespace, file: BudgetFile | None) -> list[Check]:
    """The checks of the command line, or else of the file, with the command line's settings on top.

    Raises:
        UsageError: No board is named anywhere.
    """
    from deploy.board import board_names

    names = board_names() if arguments.board == ["all"] else tuple(arguments.board)
    if names:
        checks = [_check_of_board(name, file) for name in dict.fromkeys(names)]
    elif file is not None:
        checks = list(file.checks)
    else:
        checks = []
    if not checks:
        where = f"{file.path} names none" if file else "there is no keras-tree.toml in this folder"
        raise UsageError(
            f"a board is expected, none was given and {where}. Add `--board nano33ble`; "
            "`keras-tree boards` lists them."
        )
    settings = _settings(arguments)
    return [replace(one, **settings) for one in checks]


def _check_of_board(name: str, file: BudgetFile | None) -> Check:
    """The file's limits of a board where it names it; else the board's own."""
    from deploy.board import load_board
    from deploy.budget import Check

    if file is not None:
        return file.check_for(name)
    board = load_board(name)
    return Check(board.name, board)


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line sets in every check, by the names of `Check`."""
    from deploy.units import parse_bytes

    sizes = {
        "rom_limit_bytes": ("--rom", arguments.rom),
        "ram_limit_bytes": ("--ram", arguments.ram),
        "reserve_rom_bytes": ("--reserve-rom", arguments.reserve_rom),
        "reserve_ram_bytes": ("--reserve-ram", arguments.reserve_ram),
    }
    settings: dict[str, Any] = {
        key: parse_bytes(text, option) for key, (option, text) in sizes.items() if text is not None
    }
    if arguments.kernels is not None:
        settings["kernels"] = arguments.kernels
    if arguments.tasks is not None:
        tasks = tuple(name.strip() for name in arguments.tasks.split(",") if name.strip())
        settings["tasks"] = None if tasks == ("*",) else tasks
    return settings


def rendered(report: BudgetReport, form: str, why: bool, on_screen: bool = False) -> str:
    """The report in one of the formats; coloured and as wide as the screen only on a screen."""
    if form == "json":
        from deploy.report import as_json

        return as_json.render(report)
    if form == "markdown":
        from deploy.report import as_markdown

        return as_markdown.render(report)
    from deploy.report import terminal

    is_terminal = on_screen and sys.stdout.isatty()
    width = (
        shutil.get_terminal_size((_WIDTH_OF_A_LOG, 24)).columns if on_screen else _WIDTH_OF_A_LOG
    )
    # https://no-color.org: any value that is not empty switches colour off.
    colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return terminal.render(report, width=width, colour=colour, why=why)
