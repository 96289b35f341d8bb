"""`keras-tree diff`: what changed between two bundles, .tflite files, reports or baselines."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.usage import FITS, OVER_BUDGET, UsageError, as_usage_error, near_name

if TYPE_CHECKING:
    from deploy.board import Board
    from deploy.comparison.change import Difference
    from deploy.comparison.comparand import Comparand
    from deploy.units import Allowance
    from quantize.bundle import Bundle

SUMMARY = "say what changed between two bundles, models, reports or baselines"
USAGE = "OLD NEW [--board NAME]... [--allow-growth SIZE] [options]"
DESCRIPTION = """\
Compare OLD with NEW. Each is a bundle's folder, a .tflite file, a baseline file or a JSON report of
keras-tree check. Of bundles and models: every node, the operators, the multiply-accumulates, ROM,
RAM and time on boards, the tasks' scores, and the contracts of the seams, a change of which means
that nodes on devices must be replaced together. Of reports and baselines: every check by its name.
Of a bundle and a report: the nodes and operators. Loads neither TensorFlow nor Keras.
"""
EPILOG = """\
examples:
  keras-tree diff build/old build/new --board nano33ble --board bluepill
  keras-tree diff baseline.json report.json --allow-growth "2 KiB"
  keras-tree diff old.tflite new.tflite --format markdown --output comment.md
"""
DEFAULT_BOARD = "nano33ble"
_DEFAULT_BOARD_NOTE = f"no board was named: ROM, RAM and time are those of {DEFAULT_BOARD}"
_FORMATS = ("terminal", "json", "markdown")
_WIDTH_OF_A_LOG = 100
_KINDS = "a bundle's folder, a .tflite file, a baseline file or a JSON report of keras-tree check"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("old", type=Path, metavar="OLD", help="the side before")
    parser.add_argument("new", type=Path, metavar="NEW", help="the side now")
    what = parser.add_argument_group("what is compared")
    what.add_argument(
        "--board",
        action="append",
        default=[],
        metavar="NAME",
        help=f"a board, a .toml file, or all; several times (default: {DEFAULT_BOARD})",
    )
    what.add_argument("--tasks", metavar="A,B", help="only these tasks of bundles (default: all)")
    what.add_argument(
        "--kernels",
        metavar="SET",
        help="reference, cmsis-nn or cmsis-nn-int8 (default: the best measured for the core)",
    )
    what.add_argument(
        "--allow-growth",
        metavar="SIZE",
        help='end with 1 where ROM or RAM grew by more, such as "2 KiB" or "1 %%"',
    )
    how = parser.add_argument_group("how it is shown")
    how.add_argument("--format", choices=_FORMATS, default="terminal", help="default: terminal")
    how.add_argument(
        "--output", type=Path, metavar="FILE", help="write there, and show it on the screen too"
    )


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Compare two sides and show the difference."""
    from deploy.board import BoardError
    from deploy.commands.writing import write_atomically
    from deploy.comparison.difference import DifferenceError, compare
    from deploy.comparison.document import BaselineError
    from deploy.models import ModelError
    from deploy.units import UnitError
    from quantize.bundle import BundleError

    with as_usage_error(
        BaselineError, BoardError, BundleError, DifferenceError, ModelError, UnitError, OSError
    ):  # fmt: skip
        allowance = _allowance(arguments)
        old, new = _sides(arguments)
        difference = compare(old, new, allowance)
    if not (arguments.board or difference.is_none or old.is_report or new.is_report):
        difference = replace(difference, notes=(*difference.notes, _DEFAULT_BOARD_NOTE))
    if arguments.output is not None:
        write_atomically(arguments.output, rendered(difference, arguments.format) + "\n")
    form = "terminal" if arguments.output is not None else arguments.format
    say(rendered(difference, form, on_screen=True))
    return FITS if difference.fits else OVER_BUDGET


def _allowance(arguments: argparse.Namespace) -> Allowance | None:
    from deploy.units import parse_allowance

    if arguments.allow_growth is None:
        return None
    return parse_allowance(arguments.allow_growth, "--allow-growth")


def _sides(arguments: argparse.Namespace) -> tuple[Comparand, Comparand]:
    """Both sides, bundles narrowed to the tasks and counted on the boards.

    Raises:
        UsageError: A side is none of what can be compared, or an option is for bundles only.
    """
    from deploy.comparison.comparand import comparand_of_report
    from deploy.comparison.document import read_document
    from deploy.models import load_models

    paths = {"OLD": arguments.old, "NEW": arguments.new}
    for option, path in paths.items():
        if not path.exists():
            raise UsageError(
                f"{option} must be {_KINDS}, there is nothing at '{path}'. Check the path."
            )
    bundles = {key: load_models([path]) for key, path in paths.items() if is_model(path)}
    boards = _boards(arguments, len(bundles) == len(paths))
    _refuse_unknown_tasks(arguments.tasks, bundles)
    found = [
        _of_bundle(bundles[key], path, boards, arguments)
        if key in bundles
        else comparand_of_report(read_document(path), path)
        for key, path in paths.items()
    ]
    return found[0], found[1]


def is_model(path: Path) -> bool:
    """Whether a path is a bundle's folder or a .tflite file, by its name or content."""
    if path.is_dir() or path.suffix == ".tflite":
        return True
    if not path.is_file():  # a pipe is read only once
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3"


def _boards(arguments: argparse.Namespace, are_bundles: bool) -> list[Board]:
    """The boards of two bundles; none where a report is compared.

    Raises:
        UsageError: An option for two bundles is given, and a side is a report.
    """
    from deploy.board import board_names, load_board

    if not are_bundles:
        given = {"--board": arguments.board, "--kernels": arguments.kernels}
        for option, value in given.items():
            if value:
                raise UsageError(
                    f"`{option}` needs two bundles or models, received a report or baseline, whose "
                    "figures are those of its checks. Leave it out, or compare two bundles."
                )
        return []
    wanted = arguments.board or [DEFAULT_BOARD]
    names = board_names() if wanted == ["all"] else tuple(dict.fromkeys(wanted))
    return [load_board(name) for name in names]


def _refuse_unknown_tasks(tasks: str | None, bundles: Mapping[str, Bundle]) -> None:
    """A task may be new or gone, but one of the bundles must have it."""
    if tasks is None:
        return
    known = dict.fromkeys(name for bundle in bundles.values() for name in bundle.tasks)
    if not known:
        raise UsageError(
            "`--tasks` needs a bundle or model, received two reports or baselines, whose tasks are "
            "those of their checks. Leave it out."
        )
    names = _split(tasks)
    if not names:
        raise UsageError(
            f"`--tasks` must name a task, received none. The tasks are: {', '.join(known)}."
        )
    for name in names:
        if name not in known:
            raise UsageError(
                f"`--tasks` must be tasks of OLD or NEW, received '{name}'. "
                f"{near_name(name, known, 'tasks')}"
            )
    for option, bundle in bundles.items():
        if not set(names) & set(bundle.tasks):
            raise UsageError(
                f"`--tasks` must name a task that each bundle has, received none of "
                f"'{bundle.name}' ({option}). It has: {', '.join(bundle.tasks)}."
            )


def _split(tasks: str) -> list[str]:
    return [name.strip() for name in tasks.split(",") if name.strip()]


def _of_bundle(
    bundle: Bundle, path: Path, boards: Sequence[Board], arguments: argparse.Namespace
) -> Comparand:
    from deploy.comparison.comparand import BUNDLE, MODEL, comparand_of_bundle
    from deploy.footprint.cores import CoreError
    from deploy.footprint.ram import RamError
    from deploy.footprint.rom import RomError

    if arguments.tasks is not None:
        bundle = bundle.select([name for name in _split(arguments.tasks) if name in bundle.tasks])
    kind = BUNDLE if path.is_dir() else MODEL
    try:
        return comparand_of_bundle(bundle, str(path), boards, arguments.kernels, kind)
    except (CoreError, RamError, RomError) as error:
        raise UsageError(f"{path}: {error}") from error


def rendered(difference: Difference, form: str, on_screen: bool = False) -> str:
    """The difference in one of the formats; coloured and as wide as the screen only on a screen."""
    if form == "json":
        from deploy.report.difference import as_json

        return as_json.render(difference)
    if form == "markdown":
        from deploy.report.difference import as_markdown

        return as_markdown.render(difference)
    from deploy.commands.rendering import screen
    from deploy.report.difference import terminal

    width, colour = screen() if on_screen else (_WIDTH_OF_A_LOG, False)
    return terminal.render(difference, width=width, colour=colour)
