"""Which rendering a command was asked for, and where it goes: screen, files, a CI's summary."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.usage import UsageError, near_name
from deploy.commands.writing import append, write_atomically

if TYPE_CHECKING:
    from deploy.verdict import BudgetReport

FORMATS = ("terminal", "json", "markdown", "junit", "sarif", "html")
_WIDTH_OF_A_LOG = 100
_SUMMARY = "GITHUB_STEP_SUMMARY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that renders a report."""
    how = parser.add_argument_group("how it is shown")
    how.add_argument("--format", choices=FORMATS, default="terminal", help="default: terminal")
    how.add_argument(
        "--output", type=Path, metavar="FILE", help="write there, and the report on the screen too"
    )
    how.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="FORMAT=FILE",
        help="write one more rendering in the same run; may be given several times",
    )
    how.add_argument("--why", action="store_true", help="split every check into all its parts")
    how.add_argument(
        "--no-summary",
        action="store_true",
        help=f"do not append the Markdown to ${_SUMMARY} where that is set",
    )


def files_wanted(arguments: argparse.Namespace) -> list[tuple[str, Path]]:
    """The renderings to write, by format and file; checked before any work.

    Raises:
        UsageError: A `--report` is not FORMAT=FILE, or names an unknown format; a file is named
            twice.
    """
    wanted = []
    for text in arguments.report:
        form, found, path = text.partition("=")
        if not found or not path:
            raise UsageError(
                f"`--report` must be FORMAT=FILE, received '{text}'. Write for example "
                "`--report sarif=keras-tree.sarif`."
            )
        if form not in FORMATS:
            raise UsageError(
                f"`--report` must name a known format, received '{form}'. "
                f"{near_name(form, FORMATS, 'formats')}"
            )
        wanted.append((form, Path(path)))
    _refuse_one_file_twice(arguments, [path for _, path in wanted])
    return wanted


def _refuse_one_file_twice(arguments: argparse.Namespace, paths: list[Path]) -> None:
    """Two texts for one file are a mistake, of which only the last would be seen."""
    paths = [*paths, *filter(None, (arguments.output, getattr(arguments, "write_baseline", None)))]
    targets = [path.resolve() for path in paths if not path.exists() or path.is_file()]
    for path in paths:
        if targets.count(path.resolve()) > 1:
            raise UsageError(
                f"every file must be written once, received '{path}' twice. Give each report a "
                "file of its own."
            )


def show(report: BudgetReport, arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Write the files that were asked for, then the screen.

    Raises:
        UsageError: A file cannot be written.
    """
    for form, path in files_wanted(arguments):
        write_atomically(path, rendered(report, form, arguments.why) + "\n", "--report")
    if arguments.output is not None:
        text = rendered(report, arguments.format, arguments.why) + "\n"
        write_atomically(arguments.output, text)
    summary = os.environ.get(_SUMMARY)
    if summary and not arguments.no_summary:
        append(Path(summary), rendered(report, "markdown", arguments.why) + "\n", _SUMMARY)
    form = "terminal" if arguments.output is not None else arguments.format
    say(rendered(report, form, arguments.why, on_screen=True))


def rendered(report: BudgetReport, form: str, why: bool, on_screen: bool = False) -> str:
    """The report in one of the formats; coloured and as wide as the screen only on a screen."""
    if form != "terminal":
        rendering = importlib.import_module(f"deploy.report.as_{form}")
        return str(rendering.render(report))
    from deploy.report import terminal

    width, colour = screen() if on_screen else (_WIDTH_OF_A_LOG, False)
    return terminal.render(report, width=width, colour=colour, why=why)


def screen() -> tuple[int, bool]:
    """Columns of the screen, and whether to colour."""
    width = shutil.get_terminal_size((_WIDTH_OF_A_LOG, 24)).columns
    # https://no-color.org: any value that is not empty switches colour off.
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return width, sys.stdout.isatty() and not plain
