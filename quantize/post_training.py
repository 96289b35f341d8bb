"""The main verb: a trained tree becomes a bundle of int8 nodes with exact seams.

Belongs here: the story from tree to bundle, and the check of what is given. Does not belong here:
its steps, each in a file of its own: `refusal.py`, `calibration.py`, `tree_conversion.py`,
`node_conversion.py`, `strip.py`, `fidelity.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.bundle import Bundle, InputNormalization
from quantize.calibration import (
    DEFAULT_SAMPLE_LIMIT,
    CalibrationError,
    check_task_names,
    choose_samples,
)
from quantize.conversion.freezing import freeze
from quantize.conversion.kept_nodes import kept_nodes
from quantize.conversion.refusal import check_layers
from quantize.convert import Converter
from quantize.fidelity import check_data, fidelity
from quantize.precision.choice import node_precisions
from quantize.rom.budget import RomModel, rom_budget
from quantize.rom.meeting import free_nodes, meet_budget
from quantize.rom.search import RomSearch
from quantize.strip import LEVELS, Level
from quantize.tree_conversion import BundleSettings, TreeConversion

if TYPE_CHECKING:
    from keras_tree import Tree

Progress = Callable[[str], None]


def quantize(
    tree: Tree,
    samples: Mapping[str, np.ndarray],
    *,
    evaluation: Mapping[str, tuple[Any, Any]] | None = None,
    strip_level: Level = "deep",
    input_normalization: InputNormalization | None = None,
    name: str = "tree",
    golden_count: int = 4,
    sample_limit: int = DEFAULT_SAMPLE_LIMIT,
    base: Bundle | None = None,
    precision: str | Mapping[str, str] = "int8",
    rom: int | str | None = None,
    rom_model: RomModel | None = None,
    on_rom_search: Callable[[RomSearch], None] | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Turn a trained tree into a bundle: one int8 flatbuffer per node, with exact seams.

    The trunk is calibrated on the samples of all the tasks, every later node on the real int8
    outputs of the flatbuffers before it. For every task the chain of its nodes computes bit for bit
    what one flatbuffer of the whole path would. Auxiliary tasks, and nodes that only they use, are
    left out.

    Args:
        tree: The trained tree; it is only read.
        samples: Per shipped task floats of shape (n, *trunk input shape), n from 100 to 500 being
            plenty, as the network receives them: after the normalization of the raw data.
        evaluation: Per task (x, y) to compare int8 with float on; the scores go into the bundle.
        strip_level: Which bytes that no interpreter reads are left out of the flatbuffers: "deep"
            all of them, "compatible" what LiteRT can do without too, "none" no byte.
        input_normalization: How raw samples become the network's input; recorded for the device.
        name: The bundle's name.
        golden_count: Golden vectors per task, taken from `samples`, at least 1.
        sample_limit: At most this many samples per task calibrate, evenly spaced over those given.
        base: An earlier bundle of the same tree. Its nodes whose weights and layers are unchanged,
            and before which nothing changed, are kept byte for byte, and the new nodes are made to
            fit them: a deployed trunk stays as it is when a branch is added.
        precision: How weights and activations are stored, one name of
            `quantize.precision.choice.PRECISIONS` for all the nodes, or names by node; "int8" where
            a node is left out. Whatever it is, a node's two ends stay int8. A node of `base` in
            another precision is converted anew.
        rom: What the bundle may take: bytes, or text such as "120 KiB". Where int8 takes more,
            precisions are searched that meet it with the least loss, over the nodes that neither
            `precision` names nor `base` keeps; `quantize.rom.search.search` says how. Every bundle
            that it compares is a real one, measured: the nodes behind a trunk in another precision
            are calibrated anew. The loss is that of `evaluation`, without it the squared error
            over `samples`. As `evaluation` then decides, publish scores of other data.
        rom_model: What a bundle takes, in bytes; None for its `.tflite` files together. A board's
            model counts the runtime's code too, and raises `RomModelError` for a form of a node
            that does not run there, which is then left out.
        on_rom_search: Called with what the search found.
        progress: Called with a line of text at every step.

    Returns:
        The bundle.

    Raises:
        CalibrationError: Samples are missing, unusable, or of an unknown task.
        RefusalError: A layer becomes something that TensorFlow Lite Micro lacks.
        ConversionError: The converter refuses a node, or crashes on it.
        PrecisionError: A node cannot be stored in its precision, or not on this system.
        SeamError: Nodes of `base` contradict each other.
        RomBudgetError: No combination of precisions meets `rom`; says what is reachable.
        ValueError: Another argument is out of its range.

    Example:
        >>> bundle = quantize(tree, {"digit": digits[:200], "letter": letters[:200]})
        >>> bundle.save("bundle")
    """
    report = progress or (lambda line: None)
    paths = _shipped_paths(tree)
    chosen = _check_arguments(
        tree, paths, samples, evaluation, strip_level, golden_count, sample_limit
    )
    models = {node: tree.nodes[node] for node in tree.nodes if _is_used(node, paths)}
    precisions = node_precisions(precision, models)
    budget = rom_budget(rom, rom_model)
    free = frozenset() if budget is None else free_nodes(precision, models)
    for node, model in models.items():
        check_layers(node, model)
    settings = BundleSettings(
        name, strip_level, input_normalization or InputNormalization(), golden_count
    )
    with Converter() as converter:
        frozen = {node: freeze(node, model) for node, model in models.items()}
        if base is not None:  # a node that is free to choose stays in the form that it has there
            precisions |= {node: base.nodes[node].precision for node in base.nodes.keys() & free}
        kept = kept_nodes(base, frozen, paths, precisions)
        conversion = TreeConversion(tree, paths, frozen, chosen, converter, settings, base, report)
        if budget is None:
            bundle = conversion.bundle(precisions, kept)
        else:
            bundle = meet_budget(
                conversion, precisions, kept, free, budget, evaluation, on_rom_search
            )
    return _scored(tree, bundle, evaluation, report)


def _shipped_paths(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Return the paths of the tasks that are not auxiliary."""
    if not (hasattr(tree, "paths") and hasattr(tree, "tasks")):
        raise ValueError(
            f"`tree` must be a keras_tree.Tree, received {type(tree).__name__}. Cut a model into "
            "one with `keras_tree.cut_at_outputs` or `keras_tree.cut_at_layer`."
        )
    paths = {
        name: tuple(path) for name, path in tree.paths.items() if not tree.tasks[name].auxiliary
    }
    if not paths:
        raise ValueError(
            "`tree` must have a task that is shipped, received auxiliary tasks only. Set "
            "`auxiliary=False` for one."
        )
    return paths


def _is_used(node: str, paths: Mapping[str, Sequence[str]]) -> bool:
    return any(node in path for path in paths.values())


def _check_arguments(
    tree: Tree,
    paths: Mapping[str, Sequence[str]],
    samples: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    strip_level: Level,
    golden_count: int,
    sample_limit: int,
) -> dict[str, np.ndarray]:
    """Check what can be checked before any work, and return the chosen samples."""
    if golden_count < 1:
        raise ValueError(
            f"`golden_count` must be at least 1, received {golden_count}. Leave it out for 4."
        )
    if strip_level not in LEVELS:
        raise ValueError(
            f"`strip_level` must be one of {', '.join(LEVELS)}, received {strip_level!r}. Leave it "
            "out for 'deep'."
        )
    for argument, given in (("samples", samples), ("evaluation", evaluation or {})):
        if not isinstance(given, Mapping):
            raise CalibrationError(
                f"`{argument}` must be a mapping by task, received {type(given).__name__}. Write "
                f"{{'{next(iter(paths))}': ...}}."
            )
        check_task_names(given, tree.tasks, argument)
    check_data(tree, evaluation or {})
    shape = tree.nodes[tree.trunk_name].inputs[0].shape[1:]
    return choose_samples(samples, list(paths), shape, sample_limit)


def _scored(
    tree: Tree, bundle: Bundle, evaluation: Mapping[str, tuple[Any, Any]] | None, report: Progress
) -> Bundle:
    """Return the bundle with what int8 keeps of each evaluated task."""
    if not evaluation:
        return bundle
    report("comparing int8 with float")
    scores = fidelity(tree, bundle, evaluation)
    tasks = {
        name: replace(task, score=scores.get(name, task.score))
        for name, task in bundle.tasks.items()
    }
    return replace(bundle, tasks=tasks)
