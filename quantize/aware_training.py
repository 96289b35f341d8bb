"""Aware training: a tree's nodes trained for the form in which they are stored.

Belongs here: the story from tree to the better of two bundles. Does not belong here: its steps,
each in a file of `aware/`: what is asked (`request.py`), features of deployed nodes
(`features.py`), the loop (`loop.py`), the backends that take a step (`keras3/`, `tfmot/`), and the
verdict (`comparison.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.aware.backend import AwareModel, AwareNode, Build, NodeWeights
from quantize.aware.comparison import Comparison, compare, mean_improvement, rom_bytes
from quantize.aware.copying import copy_tree, finite
from quantize.aware.features import run_prefixes, untrained_prefix
from quantize.aware.loop import DivergedError, TrainingSet, train
from quantize.aware.recipe import Recipe, recipe_of
from quantize.aware.request import Request, build_of, check_request
from quantize.bundle import Bundle, InputNormalization
from quantize.calibration import DEFAULT_SAMPLE_LIMIT, CalibrationError
from quantize.conversion.refusal import check_layers
from quantize.convert import ConversionError
from quantize.post_training import quantize
from quantize.seam import seam_classes
from quantize.strip import Level
from quantize.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from keras_tree import Tree

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Tuned:
    """What aware training gave, and what it is compared with.

    Args:
        tree: A new tree with the weights of `bundle`: the trained ones, or those of the tree given.
        bundle: The better of the two bundles.
        kept: Whether that is the trained one: the mean over the tasks of their improvements is
            above 0.
        post_training: The bundle of the untouched tree, in the same precisions.
        trained: The bundle of the trained tree, or None where training failed.
        tasks: Every task that runs a trained node, before and after.
        failure: Why there is no trained bundle, or None.
    """

    tree: Tree
    bundle: Bundle
    kept: bool
    post_training: Bundle
    trained: Bundle | None
    tasks: dict[str, Comparison]
    failure: str | None = None

    @property
    def improvement(self) -> float:
        """Mean over the tasks of the relative improvements; NaN where training failed."""
        return mean_improvement(self.tasks)

    def summary(self) -> str:
        """Return lines of text: every task before and after, the bytes of both, the verdict."""
        lines = [part.line() for part in self.tasks.values()]
        after = "none" if self.trained is None else f"{rom_bytes(self.trained):,} bytes"
        lines.append(
            f"nodes: post-training {rom_bytes(self.post_training):,} bytes, trained {after}"
        )
        if self.failure:
            lines.append(f"training failed: {self.failure}")
        mean = "" if self.failure else f", mean improvement {self.improvement:+.2%}"
        lines.append(f"kept: {'trained' if self.kept else 'post-training'}{mean}")
        return "\n".join(lines)


def tune(
    tree: Tree,
    data: Mapping[str, tuple[Any, Any]],
    validation: Mapping[str, tuple[Any, Any]],
    recipe: Recipe | str = "qat",
    *,
    nodes: Sequence[str] | None = None,
    base: Bundle | None = None,
    backend: str | Build = "keras",
    precision: str | Mapping[str, str] | None = None,
    samples: Mapping[str, np.ndarray] | None = None,
    strip_level: Level = "deep",
    input_normalization: InputNormalization | None = None,
    name: str = "tree",
    golden_count: int = 4,
    sample_limit: int = DEFAULT_SAMPLE_LIMIT,
    progress: Progress | None = None,
) -> Tuned:
    """Train nodes for the form in which they are stored, and keep that only where it pays.

    The tree is quantized as it is first: that is the yardstick. Then its nodes are trained by the
    recipe and quantized again in the same precisions, and both bundles are scored on `validation`.

    Nodes that are not trained stay byte for byte as in `base`, or as in the yardstick. Those in
    front of the first trained node of a path are run as their int8 flatbuffers, so that a branch is
    trained on exactly what the device feeds it; those behind take part unchanged. Auxiliary tasks
    are left out.

    Args:
        tree: The trained tree; it is only read.
        data: Per task (x, y) to train on: x (n, *trunk input shape) as the network receives it, y
            as the task's loss takes it. Every shipped task that runs a trained node is needed.
            Samples whose label is NaN or the task's `missing_label` are left out.
        validation: Likewise, to compare on; data that the tree was not trained on.
        recipe: A recipe, or a name of `quantize.aware.recipe.RECIPES`.
        nodes: Names of the nodes to train; None for all that are shipped and not frozen.
        base: An earlier bundle of the tree. Its nodes that are not trained stay byte for byte, as
            long as the tree's are what they were made of; a warning names those that are not.
        backend: "keras" for this project's own layers, "tfmot" for tensorflow-model-optimization,
            or a function as `quantize.aware.backend.Build` describes it.
        precision: As for `quantize`; None for the recipe's for the trained nodes and "int8" for the
            others. Untrained nodes of `base` keep theirs unless they are named.
        samples: As for `quantize`; by default inputs of `data`.
        strip_level: As for `quantize`.
        input_normalization: As for `quantize`.
        name: As for `quantize`.
        golden_count: As for `quantize`.
        sample_limit: As for `quantize`.
        progress: Called with a line of text at every step and after every epoch.

    Returns:
        Both bundles, every task before and after, and the better of the two with its tree.

    Raises:
        AwareTrainingError: A layer cannot be trained so, or the backend is not installed.
        ValueError: An argument does not fit the tree; and as `quantize`.

    Example:
        >>> tuned = tune(tree, training_data, validation_data, "int4", nodes=["digit"])
        >>> print(tuned.summary())
        >>> tuned.bundle.save("bundle")
    """
    report = progress or (lambda line: None)
    recipe = recipe_of(recipe)
    build = build_of(backend)
    request = check_request(
        tree, data, validation, recipe, nodes, base, precision, samples, sample_limit
    )

    def bundle_of(source: Tree, kept: Bundle | None) -> Bundle:
        return quantize(
            source,
            request.samples,
            evaluation=request.validation,
            strip_level=strip_level,
            input_normalization=input_normalization,
            name=name,
            golden_count=golden_count,
            sample_limit=sample_limit,
            base=kept and _without(kept, request.trained),
            precision=request.precisions,
            progress=report,
        )

    backend_build = build()
    _refuse_layers(tree, request, recipe, backend_build)
    before = bundle_of(tree, base)
    try:
        model = _model(tree, request, before, recipe, backend_build)
        weights = _trained_weights(model, request, before, recipe, report)
        trained_tree = copy_tree(tree, weights)
        after = bundle_of(trained_tree, before)
    except (DivergedError, CalibrationError, ConversionError) as error:
        # The untouched tree was calibrated and converted, so it is the training that failed.
        tasks = compare(request.tasks, before, None)
        return Tuned(copy_tree(tree), before, False, before, None, tasks, str(error))
    tasks = compare(request.tasks, before, after)
    kept = mean_improvement(tasks) > 0
    better, bundle = (trained_tree, after) if kept else (copy_tree(tree), before)
    return Tuned(better, bundle, kept, before, after, tasks)


def _without(bundle: Bundle, trained: Sequence[str]) -> Bundle:
    """Return a bundle to take as `base`, without the nodes to be made anew and what runs them."""
    return replace(
        bundle,
        nodes={name: node for name, node in bundle.nodes.items() if name not in trained},
        tasks={
            name: task for name, task in bundle.tasks.items() if not set(task.path) & set(trained)
        },
    )


def _refuse_layers(tree: Tree, request: Request, recipe: Recipe, build: Build) -> None:
    """Raise, before any work, where a layer can be neither converted nor trained.

    Raises:
        RefusalError: The converter makes no int8 operators of a layer.
        AwareTrainingError: The backend cannot train it.
    """
    for name in request.precisions:
        check_layers(name, tree.nodes[name])
    _model(tree, request, None, recipe, build)


def _model(
    tree: Tree, request: Request, before: Bundle | None, recipe: Recipe, build: Build
) -> AwareModel:
    """Return what the backend makes of the paths from their first trained nodes on."""
    prefixes = _prefixes(request)
    paths = {task: request.paths[task][len(prefixes[task]) :] for task in request.tasks}
    used = {node for path in paths.values() for node in path}
    nodes = {node: _aware_node(tree, request, before, node) for node in tree.nodes if node in used}
    return build(nodes, paths, {task: tree.tasks[task] for task in request.tasks}, recipe)


def _prefixes(request: Request) -> dict[str, tuple[str, ...]]:
    """Return per task the nodes in front of its first trained one."""
    return {task: untrained_prefix(request.paths[task], request.trained) for task in request.tasks}


def _trained_weights(
    model: AwareModel, request: Request, before: Bundle, recipe: Recipe, report: Progress
) -> dict[str, NodeWeights]:
    """Return the weights that the recipe leads to, by node and layer."""
    prefixes = _prefixes(request)
    report("running the nodes in front of the trained ones")
    features = run_prefixes(
        {task: part.x for task, part in request.data.items()}, prefixes, before.nodes
    )
    sets = {
        task: TrainingSet(features[task], part.rows, part.targets)
        for task, part in request.data.items()
    }
    calibration = run_prefixes(request.samples, prefixes, before.nodes)
    fed = {task: part.at(slice(None)) for task, part in calibration.items()}
    train(model, sets, fed, recipe, report)
    weights = model.weights()
    if not finite(weights):
        raise DivergedError(
            "Trained weights must be finite, received NaN or infinity. Lower the recipe's "
            "`learning_rate`."
        )
    return weights


def _aware_node(tree: Tree, request: Request, before: Bundle | None, name: str) -> AwareNode:
    """Return a node as a backend takes it, with the seams that untrained nodes of a bundle fix."""
    trained = name in request.trained
    fake_quantized = request.precisions[name] != "16x8"
    if before is None:
        return AwareNode(name, tree.nodes[name], trained, fake_quantized=fake_quantized)
    source, target = _fixed_ends(request, before, name)
    return AwareNode(
        name,
        tree.nodes[name],
        trained,
        source if trained else before.nodes[name].input,
        target if trained else before.nodes[name].output,
        fake_quantized,
    )


def _fixed_ends(
    request: Request, before: Bundle, name: str
) -> tuple[TensorSpec | None, TensorSpec | None]:
    """Return what untrained neighbours at a node's seams make of its input and its output."""
    ends: dict[str, TensorSpec | None] = {"input": None, "output": None}
    for seam in seam_classes(request.paths):
        kept = [before.nodes[n].output for n in seam.producers if n not in request.trained]
        kept += [before.nodes[n].input for n in seam.consumers if n not in request.trained]
        if kept and name in seam.consumers:
            ends["input"] = kept[0]
        if kept and name in seam.producers:
            ends["output"] = kept[0]
    return ends["input"], ends["output"]
