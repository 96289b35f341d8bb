"""`keras-tree quantize`: a trained tree and samples become a bundle of int8 nodes."""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.loading import import_modules, load_tensorflow, load_tree
from deploy.commands.usage import FITS, UsageError, as_usage_error, check_folder

if TYPE_CHECKING:
    from keras_tree import Tree
    from quantize.bundle import Bundle, InputNormalization

SUMMARY = "turn a trained tree into a bundle: one int8 .tflite file per node"
USAGE = "TREE.keras --samples FOLDER --out BUNDLE [--scale S] [options]"
DESCRIPTION = """\
Quantize every node of a trained tree to int8, with exact seams between the nodes, and compare int8
with float on test data. A folder is written whole or not at all.

FOLDER holds one file <task>.npz for every shipped task, in the layout of keras.datasets, with the
arrays x_train, y_train, x_test and y_test: x_train calibrates, x_test and y_test measure what int8
keeps.

--scale and --offset say how raw samples become the network's input:
    network input = raw * scale + offset
Raw uint8 images of a network that was trained on values of 0 to 1 need --scale 1/255; of one
trained on -1 to 1, --scale 2/255 --offset -1. Arrays of floats are taken as they are where neither
is given. A missing channel axis is added. The bundle records both, so that firmware and
`keras-tree run` do the same.
"""
EPILOG = """\
examples:
  keras-tree quantize tree.keras --samples data/ --out build/bundle --scale 1/255
  keras-tree quantize tree.keras --samples data/ --out build/bundle --import my_layers
  keras-tree quantize grown.keras --samples data/ --out build/v2 --base build/bundle
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("tree", metavar="TREE.keras", type=Path, help="a tree that Tree.save wrote")
    parser.add_argument(
        "--samples", required=True, type=Path, metavar="FOLDER", help="one <task>.npz per task"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="BUNDLE", help="the folder to write"
    )
    parser.add_argument("--scale", metavar="S", help="a number or a fraction such as 1/255")
    parser.add_argument("--offset", metavar="O", help="added after --scale (default: 0)")
    parser.add_argument(
        "--limit", type=int, default=200, metavar="N", help="calibrate on N per task (default: 200)"
    )
    parser.add_argument(
        "--test-limit", type=int, default=2000, metavar="N", help="test on N (default: 2000)"
    )
    parser.add_argument(
        "--import", action="append", default=[], dest="modules", metavar="MODULE",
        help="a module to import first, which registers layers of your own",
    )  # fmt: skip
    parser.add_argument(
        "--base",
        type=Path,
        metavar="BUNDLE",
        help="an earlier bundle, whose unchanged nodes are kept byte for byte",
    )
    parser.add_argument(
        "--strip",
        choices=["deep", "compatible", "none"],
        default="deep",
        help="bytes to leave out: all that TFLM never reads, those that LiteRT can miss too, none",
    )
    parser.add_argument("--name", metavar="NAME", help="the bundle's name (default: the tree's)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier bundle")


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Quantize a tree and write the bundle."""
    normalization = input_normalization(arguments.scale, arguments.offset)
    check_paths(arguments)
    say(f"Reading {arguments.tree}")
    load_tensorflow()
    import_modules(arguments.modules)
    tree = load_tree(arguments.tree)
    bundle = quantized(tree, normalization, arguments, say)
    from quantize.bundle import BundleError

    with as_usage_error(BundleError):
        folder = bundle.save(arguments.out, overwrite=arguments.overwrite)
    width = shutil.get_terminal_size((100, 24)).columns
    say("\n" + summary(bundle, min(max(width, 72), 120)))
    say(f"\nWrote {folder}\nNext: keras-tree check {arguments.out} --board nano33ble")
    return FITS


def input_normalization(scale: str | None, offset: str | None) -> InputNormalization | None:
    """The normalization that the options say, or None where neither is given.

    Raises:
        UsageError: One of them is no number.
    """
    from quantize.bundle import InputNormalization

    if scale is None and offset is None:
        return None
    factor = fraction(scale or "1", "--scale")
    if factor == 0:
        raise UsageError("`--scale` must not be 0, received 0. Write such as `--scale 1/255`.")
    return InputNormalization(factor, fraction(offset or "0", "--offset"))


def fraction(text: str, option: str) -> float:
    """Read "0.0039", "-1" or "1/255".

    Raises:
        UsageError: The text is none of them.
    """
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or "1")
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(
            f"`{option}` must be a number or a fraction, received '{text}'. Write such as "
            f"`{option} 1/255` or `{option}=-1`."
        )
    return value


def check_paths(arguments: argparse.Namespace) -> None:
    """Refuse wrong paths and figures before TensorFlow is loaded.

    Raises:
        UsageError: A path is not what it should be, or a limit is too small.
    """
    if not arguments.tree.is_file():
        raise UsageError(
            f"a tree's .keras file is expected, '{arguments.tree}' is not a file. "
            "Name the file that `tree.save` wrote."
        )
    if not arguments.samples.is_dir():
        raise UsageError(
            f"`--samples` must be a folder of .npz files, '{arguments.samples}' is not a folder. "
            "Check the path."
        )
    out = arguments.out
    check_folder(out, "--out")
    if out.is_dir() and any(out.iterdir()):
        is_bundle = (out / "manifest.json").is_file()
        if not is_bundle or not arguments.overwrite:
            held = "an earlier bundle" if is_bundle else "other files"
            choice = "Add `--overwrite` to replace it, or choose" if is_bundle else "Choose"
            raise UsageError(
                f"`--out` must be a new or empty folder, '{out}' holds {held}. {choice} another "
                "folder."
            )
    for option, value in (("--limit", arguments.limit), ("--test-limit", arguments.test_limit)):
        if value < 2:
            raise UsageError(
                f"`{option}` must be at least 2, received {value}. Leave it out for the default."
            )


def quantized(
    tree: Tree,
    normalization: InputNormalization | None,
    arguments: argparse.Namespace,
    say: Callable[[str], None],
) -> Bundle:
    """Read the samples and quantize; every error that the input causes becomes a `UsageError`."""
    from deploy.samples_folder import read_samples
    from quantize.bundle import Bundle
    from quantize.convert import ConversionError
    from quantize.post_training import quantize

    shipped = [task.name for task in tree.tasks.values() if not task.auxiliary]
    shape = tuple(tree.nodes[tree.trunk_name].input_shape[1:])
    # Every refusal of samples, labels, layers and bundles is a ValueError at a door of `quantize`.
    with as_usage_error(ValueError, ConversionError, OSError):
        base = Bundle.load(arguments.base) if arguments.base else None
        say("Reading samples")
        read = read_samples(
            arguments.samples, shipped, shape, normalization,
            arguments.limit, arguments.test_limit, say,
        )  # fmt: skip
        say("Quantizing")
        return quantize(
            tree,
            {task: samples.calibration for task, samples in read.items()},
            evaluation={t: s.evaluation for t, s in read.items() if s.evaluation is not None},
            strip_level=arguments.strip,
            input_normalization=normalization,
            name=arguments.name or tree.name,
            sample_limit=arguments.limit,
            base=base,
            progress=lambda line: say(f"  {line}"),
        )


def summary(bundle: Bundle, width: int) -> str:
    """The nodes with their bytes, and what int8 keeps of every task."""
    from deploy.report.phrases import agreement, score_cells
    from deploy.report.table import columns

    nodes: list[tuple[str, ...]] = [("node", "bytes", "stripped", "parameters", "operators")]
    for node in bundle.nodes.values():
        stripped = node.unstripped_bytes - node.rom_bytes
        nodes.append(
            (
                node.name,
                f"{node.rom_bytes:,}",
                f"-{stripped:,}",
                f"{node.parameters:,}",
                ", ".join(node.operators),
            )
        )
    nodes.append(_total(bundle))
    tasks = [("task", "metric", "float", "int8", "agreement", "weakest node", "path")]
    for task in bundle.tasks.values():
        weakest = task.score.weakest_node if task.score else None
        tasks.append(
            (
                task.name,
                *score_cells(task.score),
                agreement(task.score),
                weakest or "-",
                " > ".join(task.path),
            )
        )
    return "\n".join(
        [
            *columns(nodes, "lrrrl", width),
            "",
            *columns(tasks, "llrrrll", width),
        ]
    )


def _total(bundle: Bundle) -> tuple[str, ...]:
    """The last row of the table of nodes."""
    nodes = bundle.nodes.values()
    rom_bytes = sum(node.rom_bytes for node in nodes)
    stripped = sum(node.unstripped_bytes for node in nodes) - rom_bytes
    parameters = sum(node.parameters for node in nodes)
    return "total", f"{rom_bytes:,}", f"-{stripped:,}", f"{parameters:,}", ""
