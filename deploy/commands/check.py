"""`keras-tree check`: what a bundle costs on boards, and whether it fits. The gate of a CI."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from deploy.commands import rendering, wanted_checks
from deploy.commands.usage import FITS, OVER_BUDGET, as_usage_error
from deploy.commands.writing import write_atomically

SUMMARY = "say what a bundle costs on boards, and whether it fits"
USAGE = "[BUNDLE]... [--board NAME]... [--rom SIZE] [--ram SIZE] [options]"
DESCRIPTION = """\
Hold a bundle, or any .tflite file, against the ROM and RAM of boards. ROM is the node flatbuffers,
the runtime's core and the kernels of all operators together; RAM is the arena for every path, and
what else the runtime needs; time is given where something was published for the core and kernels.
All are estimates with a stated error; what your own firmware takes goes into --reserve-rom and
--reserve-ram. Several bundles or files are taken as one device's. Loads neither TensorFlow nor
Keras.

Without --board, boards and limits come from keras-tree.toml (or the table [tool.keras-tree] of
pyproject.toml) in this folder. With --board, that file still supplies the bundle, the reserves and
the limits of a board that it names; what stands on the command line wins.
"""
EPILOG = """\
examples:
  keras-tree check build/bundle --board nano33ble --rom "200 KiB" --ram "64 KiB"
  keras-tree check build/bundle --board all
  keras-tree check model.tflite other.tflite --board pico --why
  keras-tree check --baseline baseline.json --allow-growth "2 KiB" --report sarif=out.sarif
  keras-tree check --write-baseline baseline.json

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    wanted_checks.add_arguments(parser)
    rendering.add_arguments(parser)
    parser.add_argument(
        "--write-baseline", type=Path, metavar="FILE", help="keep these figures for later checks"
    )
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of `--format json` and exit"
    )


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Check bundles and show the report."""
    from deploy.board import BoardError
    from deploy.budget import BudgetError, check
    from deploy.comparison.baseline_file import BaselineError, baseline_text
    from deploy.models import ModelError
    from deploy.units import UnitError
    from quantize.bundle import BundleError

    if arguments.schema:
        from deploy.report.as_json import schema_text

        say(schema_text())
        return FITS
    rendering.files_wanted(arguments)
    with as_usage_error(
        BaselineError, BoardError, BudgetError, BundleError, ModelError, UnitError, OSError
    ):
        file = wanted_checks.budget_file(arguments)
        checks = wanted_checks.wanted_checks(arguments, file)
        bundles = wanted_checks.loaded_bundles(arguments, file)
        report = check(bundles, checks, wanted_checks.wanted_baseline(arguments, file))
    if arguments.write_baseline is not None:
        write_atomically(arguments.write_baseline, baseline_text(report), "--write-baseline")
    rendering.show(report, arguments, say)
    return FITS if report.fits else OVER_BUDGET
