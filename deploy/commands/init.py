"""`keras-tree init`: write a first budget file, with limits above what a bundle takes today."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.usage import FITS, UsageError, as_usage_error
from deploy.commands.writing import write_atomically

if TYPE_CHECKING:
    from deploy.board import Board
    from deploy.verdict import Verdict
    from quantize.bundle import Bundle

SUMMARY = "write a keras-tree.toml with limits above today's figures"
USAGE = "[BUNDLE]... [--board NAME]... [--output FILE] [--force]"
DESCRIPTION = """\
Write a budget file for a bundle, or for .tflite files that stand on one device together: limits on
ROM, RAM and latency 25 % above what it takes today on each board, never above what the board has,
and an example of every other key in a comment. `keras-tree check` then holds the bundle against it.

Without --board it is written for the smallest built-in board that the bundle fits. Without a bundle
it takes the only one in this folder or up to two folders below it.
"""
EPILOG = """\
examples:
  keras-tree init build/bundle --board nano33ble
  keras-tree init kws.tflite vww.tflite --board nano33ble --board pico2
  keras-tree init --force
"""
_DEFAULT_OUTPUT = Path("keras-tree.toml")
_PYPROJECT = "pyproject.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument(
        "bundle",
        nargs="*",
        type=Path,
        metavar="BUNDLE",
        help="a bundle's folder, or a .tflite file; several stand on one device together",
    )
    parser.add_argument(
        "--board",
        action="append",
        default=[],
        metavar="NAME",
        help="a board, or a .toml file; may be given several times",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=_DEFAULT_OUTPUT,
        metavar="FILE",
        help=f"the file to write (default: {_DEFAULT_OUTPUT})",
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Write the budget file and say what stands in it."""
    from deploy.board import BoardError
    from deploy.budget import BudgetError
    from deploy.budget_file import budget_file_from
    from deploy.budget_file.template import budget_text
    from deploy.models import ModelError, load_models

    output: Path = arguments.output
    check_output(output, arguments.force)
    paths = arguments.bundle or [only_bundle(Path())]
    with as_usage_error(BoardError, BudgetError, ModelError, OSError):
        bundle = load_models(paths)
        verdicts = judged(bundle, arguments.board)
        uses = [_from(output, name) if name.endswith(".toml") else name for name in verdicts]
        text = budget_text(
            [_from(output, str(path)) for path in paths],
            list(zip(uses, verdicts.values(), strict=True)),
            is_chosen=not arguments.board,
        )
        budget_file_from(text, output)  # a name or path that a budget file cannot hold ends here
    write_atomically(output, text)
    for line in summary(output, paths, verdicts, is_chosen=not arguments.board):
        say(line)
    if output.name == _DEFAULT_OUTPUT.name and _has_our_table(output.with_name(_PYPROJECT)):
        say(f"{_PYPROJECT} has a [tool.keras-tree] too: {output.name} is read in its place")
    say(f"next: keras-tree check{_config(output)}")
    return FITS


def _has_our_table(pyproject: Path) -> bool:
    from deploy.budget import BudgetError
    from deploy.budget_file.tables import our_table, parsed, text_of

    try:
        return our_table(pyproject, parsed(pyproject, text_of(pyproject))) is not None
    except BudgetError:  # there is none, or it is broken: no matter here
        return False


def _config(output: Path) -> str:
    """The option that `check` needs to find the file."""
    is_found = output.absolute() == Path.cwd() / _DEFAULT_OUTPUT
    return "" if is_found else f" --config {shlex.quote(str(output))}"


def check_output(output: Path, force: bool) -> None:
    """Refuse to replace a file that the user did not mean.

    Raises:
        UsageError: It is there without `--force`, or belongs to more than this command.
    """
    if output.name == _PYPROJECT:
        raise UsageError(
            f"`--output` must be a file of its own, received '{output}', which holds more than a "
            f"budget. Write `{_DEFAULT_OUTPUT}`, and copy its tables as [tool.keras-tree.project] "
            "and [[tool.keras-tree.board]]."
        )
    if os.path.lexists(output) and not force:
        raise UsageError(
            f"`--output` must be a new file, '{output}' is there already. Add --force to replace "
            "it, or name another one."
        )


def only_bundle(folder: Path) -> Path:
    """The bundle in a folder or up to two folders below it.

    Raises:
        UsageError: There is none, or there are several.
    """
    manifests = (
        found for depth in ("", "*/", "*/*/") for found in folder.glob(f"{depth}manifest.json")
    )
    bundles = sorted(found.parent for found in manifests if (found.parent / "nodes").is_dir())
    if len(bundles) == 1:
        return bundles[0]
    told = "there is none in this folder or two folders below it"
    if bundles:
        told = f"there are several: {', '.join(map(str, bundles[:5]))}"
    raise UsageError(
        f"a bundle's folder or a .tflite file is expected, none was given and {told}. "
        "Write `keras-tree init BUNDLE`."
    )


def judged(bundle: Bundle, names: Sequence[str]) -> dict[str, Verdict]:
    """The bundle on each board that is named; on the smallest that it fits when none is.

    Raises:
        UsageError: None is named, and it fits no built-in board.
    """
    from deploy.board import board_names, load_board
    from deploy.budget import judge
    from deploy.verdict import Check

    if names:
        boards = {name: load_board(name) for name in names}
        return {name: judge(bundle, Check(one.name, one)) for name, one in boards.items()}
    for board in sorted(map(load_board, board_names()), key=_size):
        if _may_fit(bundle, board):
            verdict = judge(bundle, Check(board.name, board))
            if verdict.fits and not verdict.is_close:
                return {board.name: verdict}
    raise UsageError(
        f"a board that '{bundle.name}' fits is expected, and it fits none of the "
        f"{len(board_names())} built-in ones. Name yours with `--board`; it may be a .toml file."
    )


def _size(board: Board) -> tuple[int, int]:
    return board.rom_slot_bytes, board.ram_bytes


def _may_fit(bundle: Bundle, board: Board) -> bool:
    """Whether the flatbuffers alone are below the slot: what is not needs no closer look."""
    return sum(node.rom_bytes for node in bundle.nodes.values()) < board.rom_slot_bytes


def _from(output: Path, path: str) -> str:
    """A path as it stands in the file: relative to the file, but absolute where it was given so."""
    if os.path.isabs(path):
        below = Path(path).is_relative_to(output.absolute().parent)
        if not below:
            return Path(path).as_posix()
    return Path(os.path.relpath(path, output.parent)).as_posix()


def summary(
    output: Path, paths: Sequence[Path], verdicts: dict[str, Verdict], is_chosen: bool
) -> list[str]:
    """What was written, and where it is over already."""
    from deploy.budget_file.template import ABOVE_PERCENT, exact, latency_limit, raised
    from deploy.report.phrases import errors
    from deploy.units import format_bytes, format_microseconds

    named = str(paths[0]) if len(paths) == 1 else f"the {len(paths)} models together"
    lines = [f"wrote {output}: limits {ABOVE_PERCENT} % above today's figures of {named}"]
    for name, verdict in verdicts.items():
        board = verdict.check.board
        figures = [
            f"{usage.memory} {exact(raised(usage.used_bytes, whole_bytes))} "
            f"(today {format_bytes(usage.used_bytes)})"
            for usage, whole_bytes in (
                (verdict.rom, board.rom_slot_bytes),
                (verdict.ram, board.ram_bytes),
            )
        ]
        if verdict.time is not None:
            today = format_microseconds(verdict.time.used_us)
            figures.append(f"latency {latency_limit(verdict.time)} (today {today})")
        lines.append(f"  {name}: {', '.join(figures)}")
        lines += [f"    {message}" for message in verdict.messages]
    lines.append(errors(verdicts.values()))
    if is_chosen:
        lines.append(
            "no board was named: this is the smallest built-in one that the bundle fits. Name "
            "yours with --board; `keras-tree boards` lists them"
        )
    return lines
