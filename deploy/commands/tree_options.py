"""What `keras-tree quantize` and `keras-tree tune` share: a tree and samples in, a bundle out.

Here stand the options, the check of paths before TensorFlow is loaded, and the reading of samples.
What is done with them is each command's own.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.usage import UsageError, check_folder, near_name

if TYPE_CHECKING:
    import numpy as np

    from deploy.samples_folder import Pair
    from keras_tree import Tree
    from quantize.bundle import InputNormalization


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shared options to `parser`."""
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
        "--test-limit",
        type=int,
        default=2000,
        metavar="N",
        help="test on N (default: 2000)",
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
    parser.add_argument(
        "--precision",
        metavar="NAME|NODE=NAME,...",
        help="how weights are stored: int8, int4, lut4, lut3, lut2 or 16x8",
    )
    parser.add_argument("--name", metavar="NAME", help="the bundle's name (default: the tree's)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier bundle")


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


def read_folder(
    tree: Tree,
    normalization: InputNormalization | None,
    arguments: argparse.Namespace,
    say: Callable[[str], None],
) -> tuple[dict[str, np.ndarray], dict[str, Pair]]:
    """Samples of the shipped tasks: to calibrate with, and (x, y) to test on where there are some.

    Raises:
        SamplesError: A task has no file, or an array does not fit.
    """
    from deploy.samples_folder import read_samples

    say("Reading samples")
    read = read_samples(
        arguments.samples, *_shipped(tree), normalization,
        arguments.limit, arguments.test_limit, say,
    )  # fmt: skip
    return (
        {task: samples.calibration for task, samples in read.items()},
        {task: s.evaluation for task, s in read.items() if s.evaluation is not None},
    )


def read_training_folder(
    tree: Tree,
    normalization: InputNormalization | None,
    arguments: argparse.Namespace,
    limit: int | None = None,
) -> dict[str, Pair]:
    """Training samples (x, y) of the shipped tasks, at most `limit` of each.

    Raises:
        SamplesError: A task has no file, or an array does not fit.
    """
    from deploy.samples_folder import read_training

    return read_training(arguments.samples, *_shipped(tree), normalization, limit)


def _shipped(tree: Tree) -> tuple[list[str], tuple[int, ...]]:
    """The names of the tasks that are shipped, and the shape of the trunk's input."""
    names = [task.name for task in tree.tasks.values() if not task.auxiliary]
    return names, tuple(tree.nodes[tree.trunk_name].input_shape[1:])


def precision_choice(text: str | None) -> str | dict[str, str] | None:
    """Read `--precision`: one name for all nodes, or `node=NAME` by commas.

    Raises:
        UsageError: A precision is unknown, or the two ways are mixed.
    """
    from quantize.precision.choice import PRECISIONS

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    plain = [part for part in parts if "=" not in part]
    names = [name.strip() for name in (plain or named.values())]
    if not parts or (plain and (named or len(plain) > 1)) or len(named) + len(plain) < len(parts):
        raise UsageError(
            f"`--precision` must be one name, or node=NAME for one node or more, received '{text}'."
            " Write such as `--precision lut4` or `--precision trunk=int4,digit=lut3`."
        )
    for name in names:
        if name not in PRECISIONS:
            raise UsageError(
                f"`--precision` must be one of {', '.join(PRECISIONS)}, received '{name}'. "
                f"{near_name(name, PRECISIONS, 'precisions')}"
            )
    if plain:
        return names[0]
    return {node.strip(): name.strip() for node, name in named.items()}
