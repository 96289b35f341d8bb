"""What `tune` is asked to do, checked before any work.

Belongs here: which nodes are trained, which tasks that changes, and that data, labels and names
fit the tree. Does not belong here: any training, or the conversion.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.aware.backend import AwareTrainingError, Build
from quantize.aware.recipe import Recipe
from quantize.calibration import choose_samples
from quantize.precision.choice import node_precisions

if TYPE_CHECKING:
    from keras_tree import Tree
    from quantize.bundle import Bundle

BACKENDS = ("keras", "tfmot")
_NEEDED = {"tfmot": ("tensorflow_model_optimization", "tf_keras")}


@dataclass(frozen=True)
class LabelledData:
    """Checked samples of one task.

    Args:
        x: Inputs (n, *trunk input shape), of the data's own dtype.
        y: Labels as given, (n, ...).
        rows: Indices (m,) of the samples with a label.
        targets: float32 (m, ...): the labels of `rows`, NaN where a part of one is missing.
    """

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Request:
    """What is to be trained, on what.

    Args:
        paths: The shipped tasks' paths.
        trained: Nodes whose weights are trained, in the order of the tree.
        tasks: Shipped tasks that run a trained node.
        data: Training data of those tasks.
        validation: Data to compare on: (x, y) by shipped task, of at least those tasks.
        samples: float32 samples to calibrate with, of every shipped task.
        precisions: Precision by shipped node.
    """

    paths: dict[str, tuple[str, ...]]
    trained: tuple[str, ...]
    tasks: tuple[str, ...]
    data: dict[str, LabelledData]
    validation: dict[str, tuple[np.ndarray, np.ndarray]]
    samples: dict[str, np.ndarray]
    precisions: dict[str, str]


def check_request(
    tree: Tree,
    data: Mapping[str, Any],
    validation: Mapping[str, Any],
    recipe: Recipe,
    nodes: Sequence[str] | None,
    base: Bundle | None,
    precision: str | Mapping[str, str] | None,
    samples: Mapping[str, Any] | None,
    sample_limit: int,
) -> Request:
    """Return the arguments of `tune`, checked; see there what they are.

    Raises:
        ValueError: Something is unknown, missing, empty, or does not fit the tree.
    """
    paths = _shipped_paths(tree)
    if base is not None and not hasattr(base, "nodes"):
        raise ValueError(
            f"`base` must be a Bundle, received {type(base).__name__}. Read one with "
            "`Bundle.load(folder)`."
        )
    trained = _trained_nodes(tree, paths, nodes)
    tasks = tuple(task for task, path in paths.items() if set(path) & set(trained))
    training = _labelled(tree, "data", data, paths, tasks)
    held_out = _labelled(tree, "validation", validation, paths, tasks)
    shape = tuple(tree.nodes[tree.trunk_name].inputs[0].shape[1:])
    return Request(
        paths,
        trained,
        tasks,
        {task: training[task] for task in tasks},
        {task: (part.x, part.y) for task, part in held_out.items()},
        choose_samples(_samples(tree, training, samples), list(paths), shape, sample_limit),
        _precisions(paths, trained, recipe, base, precision),
    )


def build_of(backend: str | Build) -> Callable[[], Build]:
    """Return how a backend's `build` is imported, once its distributions are known to be there.

    Raises:
        ValueError: There is no such backend.
        AwareTrainingError: What it needs is not installed.
    """
    if callable(backend):
        return lambda: backend
    if backend not in BACKENDS:
        raise ValueError(
            f"`backend` must be one of {', '.join(BACKENDS)}, received {backend!r}. "
            f"{_near(str(backend), BACKENDS, 'They are')}"
        )
    needed = _NEEDED.get(backend, ())
    missing = [name for name in needed if not importlib.util.find_spec(name)]
    if missing:
        raise AwareTrainingError(
            f"`backend` '{backend}' must find {' and '.join(needed)}, received no {missing[0]}. "
            "Run `pip install 'keras-tree[tfmot]'`, or take 'keras'."
        )
    return _import_tfmot if backend == "tfmot" else _import_keras3


def _import_keras3() -> Build:
    from quantize.aware.keras3 import build

    return build


def _import_tfmot() -> Build:
    from quantize.aware.tfmot import build

    return build


def _shipped_paths(tree: Any) -> dict[str, tuple[str, ...]]:
    """Return the paths of the tasks that are not auxiliary."""
    if not (hasattr(tree, "paths") and hasattr(tree, "tasks")):
        raise ValueError(
            f"`tree` must be a keras_tree.Tree, received {type(tree).__name__}. Cut a model into "
            "one with `keras_tree.cut_at_outputs` or `keras_tree.cut_at_layer`."
        )
    paths = {task: tuple(p) for task, p in tree.paths.items() if not tree.tasks[task].auxiliary}
    if not paths:
        raise ValueError(
            "`tree` must have a task that is shipped, received auxiliary tasks only. Set "
            "`auxiliary=False` for one."
        )
    return paths


def _trained_nodes(
    tree: Tree, paths: Mapping[str, Sequence[str]], nodes: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the nodes to train in the order of the tree: those named, or all that can be."""
    from keras_tree.nodes import is_frozen

    shipped = [node for node in tree.nodes if any(node in path for path in paths.values())]
    can = [n for n in shipped if tree.nodes[n].weights and not is_frozen(tree.nodes[n])]
    if isinstance(nodes, str):
        nodes = (nodes,)
    for node in nodes or ():
        if node not in shipped:
            raise ValueError(
                f"`nodes` must name nodes that the tree ships, received '{node}'. "
                f"{_near(str(node), shipped, 'It ships')}"
            )
        if node not in can:
            raise ValueError(
                f"`nodes` must name nodes with weights to train, received '{node}', which "
                f"{'is frozen' if tree.nodes[node].weights else 'has none'}. "
                "Set `trainable = True` on a frozen one, or leave it out."
            )
    wanted = can if nodes is None else list(nodes)
    if not wanted:
        raise ValueError(
            "`nodes` must name at least one node, received none that can be trained. The tree "
            f"ships {', '.join(shipped)}; set `trainable = True` on those that are frozen."
        )
    return tuple(node for node in shipped if node in wanted)


def _labelled(
    tree: Tree,
    argument: str,
    given: Any,
    paths: Mapping[str, Sequence[str]],
    needed: Sequence[str],
) -> dict[str, LabelledData]:
    """Return the checked data of the shipped tasks, in their order."""
    if not isinstance(given, Mapping):
        raise ValueError(
            f"`{argument}` must be a mapping by task, received {type(given).__name__}. Write "
            f"{{'{needed[0]}': (x, y)}}."
        )
    for task in given:
        if task not in tree.tasks:
            raise ValueError(
                f"`{argument}` must be by task of the tree, received '{task}'. "
                f"{_near(str(task), tree.tasks, 'The tree has')}"
            )
    missing = [task for task in needed if task not in given]
    if missing:
        raise ValueError(
            f"`{argument}` must hold every shipped task that runs a trained node; received none "
            f"for {_quoted(missing)}. Add it, or leave the nodes that it runs out of `nodes`."
        )
    return {
        task: _checked(tree, argument, task, given[task], task in needed)
        for task in paths
        if task in given
    }


def _checked(tree: Tree, argument: str, task: str, given: Any, is_needed: bool) -> LabelledData:
    """Return one task's data, checked as the trainer checks it."""
    from keras_tree.loop.contract import DataError, broadcast, contract

    if not isinstance(given, tuple | list) or len(given) != 2:
        what = f"{len(given)} parts" if isinstance(given, tuple | list) else type(given).__name__
        raise ValueError(
            f"`{argument}['{task}']` must be a pair of arrays (x, y), received {what}. Read a "
            "dataset or a generator into two arrays."
        )
    try:
        batch = contract(tree, task).check(*given)
    except DataError as error:
        raise ValueError(f"`{argument}['{task}']` must fit its task. {error}") from error
    rows = np.flatnonzero(batch.valid.any(axis=tuple(range(1, batch.valid.ndim))))
    if is_needed and not len(rows):
        raise ValueError(
            f"`{argument}['{task}']` must hold samples with a label; received {len(batch)} "
            "samples and no label. Check how they are selected."
        )
    y = np.where(broadcast(batch.valid, batch.y) > 0, batch.y, np.float32(np.nan))
    return LabelledData(batch.x, np.asarray(given[1]), rows, y[rows])


def _samples(
    tree: Tree, training: Mapping[str, LabelledData], samples: Any
) -> dict[str, np.ndarray]:
    """Return what calibrates: the samples given, and training inputs for tasks without."""
    given = dict(samples or {})
    for task in given:
        if task not in tree.tasks:
            raise ValueError(
                f"`samples` must be by task of the tree, received '{task}'. "
                f"{_near(str(task), tree.tasks, 'The tree has')}"
            )
    own = {task: part.x for task, part in training.items() if task not in given}
    return {**given, **{task: np.asarray(x, np.float32) for task, x in own.items()}}


def _precisions(
    paths: Mapping[str, Sequence[str]],
    trained: Sequence[str],
    recipe: Recipe,
    base: Bundle | None,
    precision: str | Mapping[str, str] | None,
) -> dict[str, str]:
    """Return the precision of every shipped node.

    An untrained node of `base` keeps the one it has there, unless it is named.
    """
    shipped = list(dict.fromkeys(node for path in paths.values() for node in path))
    kept = {
        node: base.nodes[node].precision
        for node in shipped
        if base is not None and node in base.nodes and node not in trained
    }
    if precision is None:
        return node_precisions({**dict.fromkeys(trained, recipe.precision), **kept}, shipped)
    return {
        **node_precisions(precision, shipped),
        **{n: p for n, p in kept.items() if isinstance(precision, str) or n not in precision},
    }


def _near(name: str, known: Iterable[str], otherwise: str) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"{otherwise} {', '.join(known)}."


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
