"""Whole filters removed: the one pruning that makes every flatbuffer smaller and every run faster.

A filter is unimportant whose kernel has a small L1 norm ("Pruning Filters for Efficient ConvNets",
Li et al., arXiv:1608.08710, section 3.1), here times what a batch normalization directly behind
it multiplies that channel with. Channels that an addition or a multiplication joins are removed
together, by the sum of their layers' norms, each layer's as a multiple of its mean.

Belongs here: which filters go. Does not belong here: how channels run through layers
(`channel_tracing.py`), and how a thinner node is built (`thinning.py`).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.aware.channel_rules import FILTER_AXIS
from quantize.aware.channel_tracing import LayerChannels, Tracing
from quantize.aware.channels import Channels
from quantize.aware.copying import copy_node
from quantize.aware.thinning import thinner_node
from quantize.seam import seam_classes

if TYPE_CHECKING:
    import keras

    from keras_tree import Tree


@dataclass(frozen=True)
class FilterGroup:
    """Filters of one layer, or of several layers that go together.

    Args:
        layers: "<node>/<layer>" of every layer.
        filters: Filters that each of them had.
        kept: Filters that each of them still has.
        reason: Why all were kept, or None.
    """

    layers: tuple[str, ...]
    filters: int
    kept: int
    reason: str | None = None


@dataclass(frozen=True)
class ThinTree:
    """A tree without its least important filters.

    Args:
        tree: A new tree; it shares no weight with the one that it was made of.
        groups: What was looked at, in the order of the layers.
    """

    tree: Tree
    groups: tuple[FilterGroup, ...]

    @property
    def left_whole(self) -> tuple[FilterGroup, ...]:
        """The groups of which nothing could be removed."""
        return tuple(group for group in self.groups if group.reason is not None)

    def summary(self) -> str:
        """Return a line of text per group."""
        return "\n".join(
            f"{' + '.join(group.layers)}: {group.kept} of {group.filters} filters kept"
            + (f" ({group.reason})" if group.reason else "")
            for group in self.groups
        )


def remove_filters(
    tree: Tree,
    shares: float | Mapping[str, float],
    *,
    seams: bool = False,
    multiple: int = 4,
) -> ThinTree:
    """Remove the least important filters of convolutions and dense layers, and what read them.

    The tree's outputs change: train it again, with its own `fit` or with `tune`. Filters whose
    channel is 0 throughout go without any change. Layers that are not understood (recurrent ones,
    attention, a softmax over channels, layers of your own) keep all channels that reach them.

    Args:
        tree: The trained tree; it is only read.
        shares: Share of the filters to remove, from 0 to below 1: one for all shipped nodes, or by
            node; nodes that are left out stay as they are.
        seams: Whether channels that cross from node to node are removed too, from all nodes before
            and behind. A deployed trunk then does not fit any more. Where several nodes' filters
            go together, the smallest of their shares holds.
        multiple: The number of filters that stay is a whole multiple of this, at least 1, or all;
            CMSIS-NN's kernels work on 4 channels at a time.

    Returns:
        The new tree, and what was removed of every group of layers or why nothing was.

    Raises:
        ValueError: A node is unknown, or a number is out of its range.

    Example:
        >>> thin = remove_filters(tree, {"trunk": 0.5, "digit": 0.25}, seams=True)
        >>> print(thin.summary())
        >>> tuned = tune(thin.tree, training_data, validation_data)
    """
    wanted = _checked_shares(tree, shares, multiple)
    channels = Channels()
    ends = _seam_channels(tree, channels, seams)
    tracings = {}
    for name, model in tree.nodes.items():
        tracings[name] = Tracing(name, channels)
        source, target = ends[name]
        channels.tie(tracings[name].run(model, source), target)
    layers = [part for tracing in tracings.values() for part in tracing.layers.values()]
    groups, removed = _choose(
        [part for part in layers if part.has_filters], channels, wanted, multiple
    )
    kept = channels.kept(removed)
    nodes = {
        name: _node(model, tracings[name], ends[name][0], kept)
        for name, model in tree.nodes.items()
    }
    return ThinTree(_like(tree, nodes), groups)


def _checked_shares(tree: Tree, shares: Any, multiple: int) -> dict[str, float]:
    if not isinstance(multiple, int) or multiple < 1:
        raise ValueError(
            f"`multiple` must be a whole number of at least 1, received {multiple!r}. Leave it out "
            "for 4."
        )
    if not isinstance(shares, Mapping):
        used = (p for task, p in tree.paths.items() if not tree.tasks[task].auxiliary)
        shares = dict.fromkeys((node for path in used for node in path), shares)
    for name, share in shares.items():
        if name not in tree.nodes:
            near = difflib.get_close_matches(str(name), tree.nodes, n=1)
            advice = f"Did you mean '{near[0]}'?" if near else f"It has {', '.join(tree.nodes)}."
            raise ValueError(f"`shares` must be by node of the tree, received '{name}'. {advice}")
        if not isinstance(share, int | float) or not 0 <= share < 1:
            raise ValueError(
                f"`shares['{name}']` must be from 0 to below 1, received {share!r}. 0.25 removes a "
                "quarter of the filters."
            )
    return dict(shares)


def _seam_channels(
    tree: Tree, channels: Channels, seams: bool
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the channels of every node's input and output; what must not change is held."""
    ends = {}
    for name, model in tree.nodes.items():
        source, target = (channels.new(_width(end)) for end in (model.inputs[0], model.outputs[0]))
        ends[name] = (source, target)
    channels.hold(ends[tree.trunk_name][0], "it is the tree's input")
    for task, path in tree.paths.items():
        channels.hold(ends[path[-1]][1], f"it is the output of task '{task}'")
    for seam in seam_classes(tree.paths):
        sides = [ends[name][1] for name in seam.producers] + [ends[n][0] for n in seam.consumers]
        for side in sides:
            channels.tie(sides[0], side)
        if not seams:
            channels.hold(sides[0], f"it crosses the seam '{seam.name}', and `seams` is False")
    return ends


def _width(tensor: Any) -> int:
    return int(tensor.shape[-1] or 1) if len(tensor.shape) > 1 else 1


def _choose(
    layers: list[LayerChannels], channels: Channels, shares: Mapping[str, float], multiple: int
) -> tuple[tuple[FilterGroup, ...], set[int]]:
    """Return what is removed of every group of layers, and the removed channels' roots.

    Filters are chosen among those that tie the very same layers: so every layer keeps a whole
    multiple.
    """
    members: dict[int, list[tuple[int, int]]] = {}  # root to (layer, filter)
    for number, part in enumerate(layers):
        for place, channel in enumerate(part.output.tolist()):
            members.setdefault(channels.root(channel), []).append((number, place))
    cells: dict[tuple[Any, ...], list[int]] = {}
    for root, filters in members.items():
        key = (tuple(sorted({number for number, _ in filters})), channels.reason(root))
        cells.setdefault(key, []).append(root)
    importance = [_importance(part) for part in layers]
    groups, removed = [], set()
    for (numbers, reason), roots in cells.items():
        share = min(shares.get(layers[number].name.split("/")[0], 0.0) for number in numbers)
        if not share:
            continue
        count = len(roots)
        kept = count if reason else _kept_count(count, share, multiple)
        if kept == count and not reason:
            reason = f"there is no whole multiple of {multiple} to keep"
        order = sorted(roots, key=lambda r: sum(importance[n][p] for n, p in members[r]))
        removed.update(order[: count - kept])
        groups.append(FilterGroup(tuple(layers[n].name for n in numbers), count, kept, reason))
    return tuple(groups), removed


def _kept_count(count: int, share: float, multiple: int) -> int:
    """Return how many filters stay: what the share leaves, rounded up to a whole multiple."""
    return min(count, multiple * max(1, math.ceil(count * (1 - share) / multiple - 1e-9)))


def _importance(part: LayerChannels) -> np.ndarray:
    """Return the filters' L1 norms as multiples of their mean: float64 (filters,)."""
    kind = type(part.layer).__name__
    kernels = [w for w in part.layer.get_weights() if w.ndim > 1]
    kernel = np.moveaxis(np.abs(kernels[-1].astype(np.float64)), FILTER_AXIS[kind], -1)
    norms = kernel.reshape(-1, kernel.shape[-1]).sum(axis=0)
    if part.batch_norm is not None:
        norms = norms * _factors(part.batch_norm)
    return norms / norms.mean() if norms.any() else norms


def _factors(layer: keras.Layer) -> np.ndarray:
    """Return what a batch normalization multiplies every channel with: float64 (channels,)."""
    variance = np.asarray(layer.moving_variance, np.float64)
    gamma = np.abs(np.asarray(layer.gamma, np.float64)) if layer.scale else 1.0
    return gamma / np.sqrt(variance + layer.epsilon)


def _node(
    model: keras.Model, tracing: Tracing, source: np.ndarray, kept: np.ndarray
) -> keras.Model:
    """Return a node without what goes; a copy where nothing does."""
    parts = tracing.layers.values()
    if kept[source].all() and all(kept[p.input].all() and kept[p.output].all() for p in parts):
        return copy_node(model)
    return thinner_node(model, int(kept[source].sum()), tracing, kept)


def _like(tree: Tree, nodes: Mapping[str, keras.Model]) -> Tree:
    from keras_tree import Tree

    return Tree(nodes, tree.paths, list(tree.tasks.values()), name=tree.name)
