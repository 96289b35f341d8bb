"""`keras-tree quantize`: a trained tree and samples become a bundle of quantized nodes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deploy.commands import tree_options
from deploy.commands.bundle_summary import screen_width, summary
from deploy.commands.loading import import_modules, load_tensorflow, load_tree
from deploy.commands.usage import FITS, OVER_BUDGET, UsageError, as_usage_error

if TYPE_CHECKING:
    from deploy.board_rom import BoardRom
    from keras_tree import Tree
    from quantize.bundle import Bundle, InputNormalization

SUMMARY = "turn a trained tree into a bundle: one int8 .tflite file per node"
USAGE = "TREE.keras --samples FOLDER --out BUNDLE [--rom SIZE] [options]"
DESCRIPTION = """\
Quantize every node of a trained tree to int8, with exact seams between the nodes, and compare the
bundle with float on test data. A folder is written whole or not at all.

FOLDER holds one file <task>.npz for every shipped task, in the layout of keras.datasets, with the
arrays x_train, y_train, x_test and y_test: x_train calibrates, x_test and y_test measure what the
bundle keeps.

--scale and --offset say how raw samples become the network's input:
    network input = raw * scale + offset
Raw uint8 images of a network that was trained on values of 0 to 1 need --scale 1/255; of one
trained on -1 to 1, --scale 2/255 --offset -1. Arrays of floats are taken as they are where neither
is given. A missing channel axis is added. The bundle records both, so that firmware and
`keras-tree run` do the same.

--precision says how weights are stored, for all nodes or by node; the rest is int8:
    int8   one byte per weight
    int4   convolutions at half a byte per weight, dense layers as int8
    lut4   at most 16 values per channel, stored as 4-bit indices; lut3: 8 values, lut2: 4
    16x8   int16 activations inside the node: more accurate, larger and slower
What is inside a node alone changes: its two ends stay int8, and any two nodes go together.

--rom sets a budget. Where int8 takes more, every node is measured in every smaller form, and the
combination that meets the budget and loses least is made, measured and written; nodes that
--precision names stay as they are given. Labelled training samples decide, up to --test-limit per
task, so the scores on test data stay honest. Without --board the bytes of all .tflite files count;
with it the runtime's code does too, as `keras-tree check` counts it, with the kernels that lookup
tables and int4 need. A budget that cannot be met ends with exit code 1 and says what can.
"""
EPILOG = """\
examples:
  keras-tree quantize tree.keras --samples data/ --out build/bundle --scale 1/255
  keras-tree quantize tree.keras --samples data/ --out build/bundle --import my_layers
  keras-tree quantize grown.keras --samples data/ --out build/v2 --base build/bundle
  keras-tree quantize tree.keras --samples data/ --out build/small --precision trunk=int4,digit=lut3
  keras-tree quantize tree.keras --samples data/ --out build/small --rom "96 KiB"
  keras-tree quantize tree.keras --samples data/ --out build/small --rom "200 KiB" --board nano33ble
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    tree_options.add_arguments(parser)
    parser.add_argument(
        "--rom", metavar="SIZE", help='find the precisions that meet this budget, as "96 KiB"'
    )
    parser.add_argument(
        "--board", metavar="NAME", help="with --rom: count the runtime's code on this board too"
    )


@dataclass(frozen=True)
class RomWish:
    """What `--rom` and `--board` say.

    Args:
        limit_bytes: The budget.
        model: What a bundle takes on the board; None to count the .tflite files.
    """

    limit_bytes: int
    model: BoardRom | None


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Quantize a tree and write the bundle."""
    from quantize.bundle import BundleError
    from quantize.rom.budget import RomBudgetError

    normalization = tree_options.input_normalization(arguments.scale, arguments.offset)
    tree_options.check_paths(arguments)
    precision = tree_options.precision_choice(arguments.precision)
    wish = rom_wish(arguments.rom, arguments.board)
    say(f"Reading {arguments.tree}")
    load_tensorflow()
    import_modules(arguments.modules)
    tree = load_tree(arguments.tree)
    try:
        bundle = quantized(tree, normalization, precision or "int8", wish, arguments, say)
    except RomBudgetError as error:
        say(f"\nOver budget, and nothing was written: {error}")
        return OVER_BUDGET
    with as_usage_error(BundleError):
        folder = bundle.save(arguments.out, overwrite=arguments.overwrite)
    say("\n" + summary(bundle, screen_width()))
    if wish is not None:
        say("\n" + rom_line(bundle, wish))
    board = arguments.board or "nano33ble"
    say(f"\nWrote {folder}\nNext: keras-tree check {arguments.out} --board {board}")
    return FITS


def rom_wish(rom: str | None, board: str | None) -> RomWish | None:
    """Read `--rom` and `--board`; None where no budget is given.

    Raises:
        UsageError: The size or the board is none, or a board is given alone.
    """
    if rom is None:
        if board is not None:
            raise UsageError(
                f"`--board` must go with `--rom`, received '{board}' alone. Add such as "
                f'`--rom "200 KiB"`, or check the bundle afterwards: `keras-tree check`.'
            )
        return None
    from deploy.board import BoardError, load_board
    from deploy.board_rom import BoardRom
    from deploy.units import UnitError, parse_bytes

    with as_usage_error(BoardError, UnitError):
        limit_bytes = parse_bytes(rom, "--rom")
        model = None if board is None else BoardRom(load_board(board))
    if not limit_bytes:
        raise UsageError(f"`--rom` must be above 0, received '{rom}'. Write such as \"96 KiB\".")
    return RomWish(limit_bytes, model)


def quantized(
    tree: Tree,
    normalization: InputNormalization | None,
    precision: str | dict[str, str],
    wish: RomWish | None,
    arguments: argparse.Namespace,
    say: Callable[[str], None],
) -> Bundle:
    """Read the samples and quantize; every error that the input causes becomes a `UsageError`.

    Raises:
        RomBudgetError: The budget cannot be met.
    """
    from quantize.bundle import Bundle
    from quantize.fidelity import check_data
    from quantize.post_training import quantize
    from quantize.rom.budget import RomBudgetError

    # Every refusal of samples, labels, layers and bundles is a ValueError at a door of `quantize`.
    with as_usage_error(ValueError, OSError, but=RomBudgetError):
        base = Bundle.load(arguments.base) if arguments.base else None
        calibration, tests = tree_options.read_folder(tree, normalization, arguments, say)
        decide = tests
        if wish is not None:
            check_data(tree, tests)
            decide = tree_options.read_training_folder(
                tree, normalization, arguments, arguments.test_limit
            )
        say("Quantizing")
        bundle = quantize(
            tree,
            calibration,
            evaluation=decide,
            strip_level=arguments.strip,
            input_normalization=normalization,
            name=arguments.name or tree.name,
            sample_limit=arguments.limit,
            base=base,
            precision=precision,
            rom=None if wish is None else wish.limit_bytes,
            rom_model=None if wish is None else wish.model,
            progress=lambda line: say(f"  {line}"),
        )
        return bundle if wish is None else with_scores(tree, bundle, tests)


def with_scores(tree: Tree, bundle: Bundle, tests: Mapping[str, Any]) -> Bundle:
    """The bundle with scores on test data instead of those of the data that decided."""
    from quantize.fidelity import fidelity

    scores = fidelity(tree, bundle, tests) if tests else {}
    tasks = {name: replace(task, score=scores.get(name)) for name, task in bundle.tasks.items()}
    return replace(bundle, tasks=tasks)


def rom_line(bundle: Bundle, wish: RomWish) -> str:
    """What the bundle takes of its budget; on a board what it takes of the RAM too."""
    from deploy.units import format_bytes
    from quantize.rom.budget import stored_bytes

    node_bytes, limit = stored_bytes(bundle), format_bytes(wish.limit_bytes)
    files = f"the .tflite files {format_bytes(node_bytes)}"
    if wish.model is None:
        return f"ROM: {format_bytes(node_bytes)} of {limit} ({files})"
    found, board = wish.model.footprint(bundle), wish.model.board
    lines = [
        f"ROM on {board.name}: {format_bytes(found.rom_bytes)} of {limit} ({files}, the runtime "
        f"{format_bytes(found.runtime.rom_bytes)}, {found.kernels} kernels)"
    ]
    if any("TFLM_DECODE" in node.operators for node in bundle.nodes.values()):
        lines.append(
            f"RAM on {board.name}: {format_bytes(found.ram_bytes)} of "
            f"{format_bytes(board.ram_bytes)}; weights of lookup tables are decoded into it"
        )
    return "\n".join(lines)
