"""What a command is asked to check: bundles, boards and limits, from its options and the file.

What stands on the command line wins over the budget file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.commands.usage import UsageError

if TYPE_CHECKING:
    from deploy.budget_file import BudgetFile
    from deploy.comparison.baseline import Baseline
    from deploy.verdict import Check
    from quantize.bundle import Bundle

_KERNELS_HELP = "reference, cmsis-nn or cmsis-nn-int8 (default: the best measured for the core)"
_GROWTH_HELP = "most that ROM and RAM may grow against the baseline: 2 KiB, or 1 %%"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is checked."""
    parser.add_argument(
        "bundle",
        nargs="*",
        type=Path,
        metavar="BUNDLE",
        help="a bundle's folder or a .tflite file; several are on one device together",
    )
    what = parser.add_argument_group("what is checked")
    what.add_argument(
        "--board",
        action="append",
        default=[],
        metavar="NAME",
        help="a board, a .toml file, or all; may be given several times",
    )
    what.add_argument("--tasks", metavar="A,B", help="only these tasks (default: all)")
    what.add_argument("--rom", metavar="SIZE", help="ROM limit (default: the application slot)")
    what.add_argument("--ram", metavar="SIZE", help="RAM limit (default: the main block)")
    what.add_argument("--latency", metavar="TIME", help="limit for one task, such as 120ms")
    what.add_argument("--margin", metavar="SIZE", help="must stay free below each limit; or 5 %%")
    what.add_argument("--reserve-rom", metavar="SIZE", help="ROM of the rest of your firmware")
    what.add_argument("--reserve-ram", metavar="SIZE", help="RAM of the rest of your firmware")
    what.add_argument("--kernels", metavar="SET", help=_KERNELS_HELP)
    what.add_argument(
        "--allocate",
        choices=("all", "one"),
        help="every task's path in the arena at once, or only the one that runs (default: all)",
    )
    what.add_argument(
        "--image", type=Path, metavar="ELF", help="a linked firmware, whose ROM counts instead"
    )
    what.add_argument(
        "--measured",
        type=Path,
        metavar="PATH",
        help="what `keras-tree measure --output` found of the plain-C runtime counts instead; of a "
        "folder the file of the board's core, where there is one",
    )
    what.add_argument("--config", type=Path, metavar="FILE", help="the budget file to read")
    what.add_argument("--baseline", type=Path, metavar="FILE", help="compare with earlier figures")
    what.add_argument("--allow-growth", metavar="SIZE", help=_GROWTH_HELP)


def budget_file(arguments: argparse.Namespace) -> BudgetFile | None:
    """The file that is named, or that stands in the current folder."""
    from deploy.budget_file import find_budget_file, read_budget_file

    path = arguments.config or find_budget_file(Path())
    return read_budget_file(path) if path else None


def loaded_bundles(arguments: argparse.Namespace, file: BudgetFile | None) -> dict[str, Bundle]:
    """The bundles on the command line, as one device's, or those of the file by name.

    Raises:
        UsageError: There is none.
        ModelError: One cannot be used.
    """
    from deploy.models import load_models

    if arguments.bundle:
        return {"": load_models(arguments.bundle)}
    if file is not None and file.bundles:
        loaded = {name: load_models(paths) for name, paths in file.bundles.items()}
        # The report tells bundles apart by their names, the file by those that it gives.
        return {name: replace(one, name=name or one.name) for name, one in loaded.items()}
    missing = f"{file.path} has no `bundle` under [project]" if file else "there is no budget file"
    raise UsageError(
        f"a bundle's folder or a .tflite file is expected, none was given and {missing}. "
        "Write `keras-tree check BUNDLE --board NAME`."
    )


def wanted_checks(arguments: argparse.Namespace, file: BudgetFile | None) -> list[Check]:
    """The checks of the command line, or else of the file, with the command line's settings on top.

    Raises:
        UsageError: No board is named anywhere, or the file's checks are about several bundles.
    """
    from deploy.board import board_names

    names = board_names() if arguments.board == ["all"] else tuple(arguments.board)
    if names:
        checks = [one for name in dict.fromkeys(names) for one in _of_board(name, file, arguments)]
    else:
        checks = _of_file(file, arguments)
    if not checks:
        where = f"{file.path} names none" if file else "there is no keras-tree.toml in this folder"
        raise UsageError(
            f"a board is expected, none was given and {where}. Add `--board nano33ble`; "
            "`keras-tree boards` lists them."
        )
    settings = _settings(arguments)
    return [replace(one, **settings) for one in checks]


def _of_file(file: BudgetFile | None, arguments: argparse.Namespace) -> list[Check]:
    """The file's checks; of the command line's bundle where one is given."""
    if file is None:
        return []
    if not arguments.bundle:
        return list(file.checks)
    if len(file.bundles) > 1:
        raise UsageError(
            f"{file.path} has several bundles of its own ({', '.join(file.bundles)}), received "
            f"'{arguments.bundle[0]}' besides. Leave it out, or name a board with `--board`."
        )
    return [replace(one, bundle="") for one in file.checks]


def _of_board(name: str, file: BudgetFile | None, arguments: argparse.Namespace) -> list[Check]:
    """The file's limits of a board where it names it; else the board's own."""
    from deploy.board import load_board
    from deploy.verdict import Check

    if file is None:
        board = load_board(name)
        return [Check(board.name, board)]
    one = file.check_for(name)
    if not arguments.bundle:
        return list(file.for_bundles([one]))
    return [replace(one, bundle="")]


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line sets in every check, by the names of `Check`."""
    from deploy.units import parse_allowance, parse_bytes, parse_microseconds

    sizes = {
        "rom_limit_bytes": ("--rom", arguments.rom),
        "ram_limit_bytes": ("--ram", arguments.ram),
        "reserve_rom_bytes": ("--reserve-rom", arguments.reserve_rom),
        "reserve_ram_bytes": ("--reserve-ram", arguments.reserve_ram),
    }
    settings: dict[str, Any] = {
        key: parse_bytes(text, option) for key, (option, text) in sizes.items() if text is not None
    }
    for key in ("kernels", "allocate", "image", "measured"):
        if getattr(arguments, key) is not None:
            settings[key] = getattr(arguments, key)
    if arguments.latency is not None:
        settings["latency_limit_us"] = parse_microseconds(arguments.latency, "--latency")
    if arguments.margin is not None:
        settings["margin"] = parse_allowance(arguments.margin, "--margin")
    if arguments.allow_growth is not None:
        growth = parse_allowance(arguments.allow_growth, "--allow-growth")
        settings["allow_growth"] = {"rom": growth, "ram": growth}
    if arguments.tasks is not None:
        tasks = tuple(name.strip() for name in arguments.tasks.split(",") if name.strip())
        settings["tasks"] = None if tasks == ("*",) else tasks
    return settings


def wanted_baseline(arguments: argparse.Namespace, file: BudgetFile | None) -> Baseline | None:
    """The earlier figures that are named on the command line, or else in the file.

    A file that does not exist yet is no error where this run is going to write it.

    Raises:
        UsageError: There is none, and `--allow-growth` needs one.
        BaselineError: It cannot be used.
    """
    from deploy.comparison.baseline_file import read_baseline

    path = arguments.baseline or (file.baseline if file else None)
    if path is None and arguments.allow_growth is not None:
        raise UsageError(
            "`--allow-growth` needs earlier figures to hold today's against, received no baseline. "
            "Add `--baseline FILE`; `keras-tree check --write-baseline FILE` writes one."
        )
    if path is None:
        return None
    written = getattr(arguments, "write_baseline", None)
    if written is not None and not path.exists() and written.resolve() == path.resolve():
        return None
    return read_baseline(path)
