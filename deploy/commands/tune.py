"""`keras-tree tune`: nodes trained for the form that they are stored in, kept where that pays."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.commands import tree_options
from deploy.commands.bundle_summary import screen_width, summary
from deploy.commands.loading import import_modules, load_tensorflow, load_tree
from deploy.commands.tuning_summary import tuning_summary
from deploy.commands.usage import FITS, UsageError, as_usage_error, check_folder

if TYPE_CHECKING:
    from deploy.samples_folder import Pair
    from keras_tree import Tree
    from quantize.aware.recipe import Recipe
    from quantize.aware_training import Tuned
    from quantize.bundle import Bundle, InputNormalization, Score

RECIPE_NAMES = ("qat", "int4", "prune", "cluster", "pqat", "cqat", "pcqat")

SUMMARY = "train a tree for the form that it is stored in, and keep what is better"
USAGE = "TREE.keras --samples FOLDER --out BUNDLE [--recipe NAME] [options]"
DESCRIPTION = """\
Train the nodes of a trained tree a little longer, for the form that they are stored in, and
quantize them. Beside it the tree is quantized as it is; the better of both bundles is written.

FOLDER holds one file <task>.npz for every shipped task, as for `keras-tree quantize`. Three sets of
samples, three uses: x_train and y_train train, but for a share of them that is drawn by --seed and
decides which bundle is kept; x_test and y_test give the scores that are told and written. The tree
may have seen the deciding share before: that favours the tree as it is, never the training.

--recipe says what is trained towards:
    qat      int8: forward passes round as int8 does (quantization-aware training)
    int4     int4 convolutions, likewise
    prune    half of the weights become zero; by itself that saves no byte
    cluster  at most 16 values per channel, stored as 4-bit indices (lut4)
    pqat, cqat, pcqat   pruned, clustered, or both, then trained as qat with zeros and clusters kept

Training changes weights only: the result is an ordinary tree (--save-tree). With --nodes all other
nodes stay byte for byte, with --base as they are in an earlier bundle: a deployed trunk stays, and
a branch is trained on the very int8 values that the trunk gives.
"""
EPILOG = """\
examples:
  keras-tree tune tree.keras --samples data/ --out build/tuned --scale 1/255
  keras-tree tune tree.keras --samples data/ --out build/tuned --recipe int4 --epochs 8
  keras-tree tune tree.keras --samples data/ --out build/v2 --nodes digit --base build/bundle
  keras-tree tune tree.keras --samples data/ --out build/small --recipe cqat --bits 3 --seed 1
  keras-tree tune tree.keras --samples data/ --out build/tuned --save-tree tuned.keras
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    tree_options.add_arguments(parser)
    training = parser.add_argument_group("training")
    training.add_argument(
        "--recipe", choices=RECIPE_NAMES, default="qat", help="see above (default: qat)"
    )
    training.add_argument("--nodes", metavar="A,B", help="train these only (default: all)")
    training.add_argument(
        "--backend",
        choices=["keras", "tfmot"],
        default="keras",
        help="this project's own layers, or tensorflow-model-optimization (default: keras)",
    )
    training.add_argument("--epochs", type=int, metavar="N", help="of every stage (default: 4)")
    training.add_argument(
        "--learning-rate", type=float, metavar="X", help="of Adam (default: 1e-4)"
    )
    training.add_argument("--batch-size", type=int, metavar="N", help="default: 32")
    training.add_argument(
        "--sparsity", type=float, metavar="X", help="share of zeros to prune to (default: 0.5)"
    )
    training.add_argument(
        "--bits", type=int, metavar="N", help="cluster to 2**N values: 2, 3 or 4 (default: 4)"
    )
    training.add_argument(
        "--batch-norm",
        choices=["frozen", "live"],
        help="batch normalization as trained, or trained on (default: frozen)",
    )
    training.add_argument(
        "--validation-share",
        type=float,
        default=0.2,
        metavar="X",
        help="share of the training samples that decides what is kept (default: 0.2)",
    )
    training.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of draw, order and dropout (default: 0)"
    )
    training.add_argument(
        "--save-tree", type=Path, metavar="TREE.keras", help="write the tree of the bundle too"
    )


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Tune a tree, and write the better bundle."""
    from quantize.bundle import BundleError

    normalization = tree_options.input_normalization(arguments.scale, arguments.offset)
    tree_options.check_paths(arguments)
    check_training(arguments)
    recipe = wanted_recipe(arguments)
    precision = tree_options.precision_choice(arguments.precision)
    say(f"Reading {arguments.tree}")
    load_tensorflow()
    import_modules(arguments.modules)
    tree = load_tree(arguments.tree)
    tuned, tests = trained(tree, recipe, normalization, precision, arguments, say)
    bundle, before, after = with_test_scores(tree, tuned, tests)
    with as_usage_error(BundleError, OSError, ValueError):
        if arguments.save_tree:
            tuned.tree.save(arguments.save_tree, overwrite=arguments.overwrite)
        folder = bundle.save(arguments.out, overwrite=arguments.overwrite)
    say("\n" + tuning_summary(tuned, before, after, screen_width()))
    say("\n" + summary(bundle, screen_width()))
    if arguments.save_tree:
        say(f"\nWrote {arguments.save_tree}")
    say(f"\nWrote {folder}\nNext: keras-tree check {arguments.out} --board nano33ble")
    return FITS


def check_training(arguments: argparse.Namespace) -> None:
    """Refuse what can be refused before TensorFlow is loaded.

    Raises:
        UsageError: The share is none, or the tree cannot be saved where it shall.
    """
    share, path = arguments.validation_share, arguments.save_tree
    if not 0 < share < 1:
        raise UsageError(
            f"`--validation-share` must lie between 0 and 1, received {share}. Leave it out for "
            "0.2."
        )
    if path is None:
        return
    if path.suffix != ".keras":
        raise UsageError(
            f"`--save-tree` must be a .keras file, received '{path}'. Write such as "
            f"'{path.with_suffix('.keras')}'."
        )
    check_folder(path.parent, "--save-tree")
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(
            f"`--save-tree` must be a file in a folder that is there, '{path}' is not. Make the "
            "folder, or choose another path."
        )
    if path.exists() and not arguments.overwrite:
        raise UsageError(
            f"`--save-tree` must be a new file, '{path}' is there. Add `--overwrite` to replace "
            "it, or choose another name."
        )


def wanted_recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe with what the options change.

    Raises:
        UsageError: A figure is out of its range, or says something of a stage that is not there.
    """
    from quantize.aware.recipe import recipe_of

    plain = recipe_of(arguments.recipe)
    named = ("epochs", "learning_rate", "batch_size", "batch_norm")
    changes: dict[str, Any] = {
        key: getattr(arguments, key) for key in named if getattr(arguments, key) is not None
    }
    with as_usage_error(ValueError):
        for option, stage, field in (
            ("sparsity", "pruning", "final_sparsity"), ("bits", "clustering", "bits")
        ):  # fmt: skip
            value = getattr(arguments, option)
            if value is None:
                continue
            if getattr(plain, stage) is None:
                does = [n for n in RECIPE_NAMES if getattr(recipe_of(n), stage) is not None]
                raise UsageError(
                    f"`--{option}` must go with a recipe of {stage}, received it with "
                    f"'{arguments.recipe}'. Those are: {', '.join(does)}."
                )
            changes[stage] = replace(getattr(plain, stage), **{field: value})
        return recipe_of(plain, seed=arguments.seed, **changes)


def trained(
    tree: Tree,
    recipe: Recipe,
    normalization: InputNormalization | None,
    precision: str | dict[str, str] | None,
    arguments: argparse.Namespace,
    say: Callable[[str], None],
) -> tuple[Tuned, dict[str, Any]]:
    """Read the samples and tune; every error that the input causes becomes a `UsageError`.

    Returns:
        What `tune` returned, and the test data by task.
    """
    from quantize.aware_training import tune
    from quantize.bundle import Bundle
    from quantize.fidelity import check_data

    with as_usage_error(ValueError, OSError):
        base = Bundle.load(arguments.base) if arguments.base else None
        calibration, tests = tree_options.read_folder(tree, normalization, arguments, say)
        check_data(tree, tests)
        training, validation = divided(tree, normalization, arguments, say)
        say(f"Tuning by the recipe '{arguments.recipe}'")
        tuned = tune(
            tree,
            training,
            validation,
            recipe,
            nodes=named_nodes(arguments.nodes),
            base=base,
            backend=arguments.backend,
            precision=precision,
            samples=calibration,
            strip_level=arguments.strip,
            input_normalization=normalization,
            name=arguments.name or tree.name,
            sample_limit=arguments.limit,
            progress=lambda line: say(f"  {line}"),
        )
    return tuned, tests


def divided(
    tree: Tree,
    normalization: InputNormalization | None,
    arguments: argparse.Namespace,
    say: Callable[[str], None],
) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """The training samples, divided into those that train and those that decide what is kept."""
    from deploy.samples_folder import held_out

    training, validation = {}, {}
    whole = tree_options.read_training_folder(tree, normalization, arguments)
    for task, (x, y) in whole.items():
        parts = held_out(x, y, arguments.validation_share, arguments.seed)
        training[task], validation[task] = parts
        say(f"  {task}: {len(parts[0][0])} train, {len(parts[1][0])} decide what is kept")
    return training, validation


def named_nodes(text: str | None) -> list[str] | None:
    """Read `--nodes`; None for all.

    Raises:
        UsageError: It names none.
    """
    if text is None:
        return None
    nodes = [name.strip() for name in text.split(",") if name.strip()]
    if not nodes:
        raise UsageError(f"`--nodes` must name a node, received '{text}'. Leave it out for all.")
    return nodes


def with_test_scores(
    tree: Tree, tuned: Tuned, tests: Mapping[str, Any]
) -> tuple[Bundle, dict[str, Score], dict[str, Score]]:
    """Score on test data, which took no part in the decision.

    Returns:
        The kept bundle with these scores, and the scores by task before and after the training,
        the latter empty where it failed.
    """
    from quantize.fidelity import fidelity

    before: dict[str, Score] = {}
    after: dict[str, Score] = {}
    if tests:
        before = fidelity(tree, tuned.post_training, tests)
        if tuned.trained is not None:
            after = fidelity(tuned.tree if tuned.kept else tree, tuned.trained, tests)
    scores = after if tuned.kept else before
    tasks = {
        name: replace(task, score=scores.get(name)) for name, task in tuned.bundle.tasks.items()
    }
    return replace(tuned.bundle, tasks=tasks), before, after
