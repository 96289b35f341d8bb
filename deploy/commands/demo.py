"""`keras-tree demo`: the main job from data to report, on data that comes with scikit-learn."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path

from deploy.commands.loading import load_tensorflow
from deploy.commands.usage import UsageError, as_usage_error, check_folder

SUMMARY = "train a small tree on three datasets, quantize it, and check it against boards"
USAGE = "[--out DIR] [--quick] [--seed N] [--epochs N]"
DESCRIPTION = """\
The main job in about a minute, on data that comes with scikit-learn: train a tree of three tasks
whose datasets share no sample, quantize every node to int8, and check the bundle against boards.
Ends with the report and the paths of the .tflite files.
Needs the extra "demo": pip install "keras-tree[demo]".
"""
EPILOG = """\
examples:
  keras-tree demo
  keras-tree demo --out my-demo --quick
"""
_NEEDED = {"sklearn": "scikit-learn", "PIL": "Pillow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="where the tree and the bundle are written (default: demo-output)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one epoch: shows the stages, not the accuracy"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")
    parser.add_argument(
        "--epochs", type=int, default=20, metavar="N", help="passes over the data (default: 20)"
    )


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the demo and return its verdict."""
    if arguments.epochs < 1:
        raise UsageError(f"`--epochs` must be at least 1, received {arguments.epochs}.")
    missing = [package for module, package in _NEEDED.items() if not _is_installed(module)]
    if missing:
        raise UsageError(
            f"the demo needs {' and '.join(missing)}, which cannot be found. "
            'Run `pip install "keras-tree[demo]"`.'
        )
    check_folder(arguments.out, "--out")
    check_folder(arguments.out / "bundle", "--out")
    load_tensorflow()
    from deploy.demo import run_demo
    from quantize.bundle import BundleError

    with as_usage_error(BundleError, OSError):
        return run_demo(arguments.out, arguments.seed, arguments.epochs, arguments.quick, say)


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
