"""Rule: output channels of weights that say nothing, and the bytes that they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from deploy.footprint import Footprint
from deploy.lint.channel_range import WEIGHT_PLACES, channel_ranges
from deploy.lint.finding import Finding
from deploy.lint.node_graph import graph_of
from deploy.units import format_bytes
from quantize.bundle import Bundle
from quantize.flatbuffer import Graph

# Operators through which a channel stays a channel, so that it may go on both sides.
_KEEP_CHANNELS = frozenset(
    {
        "AVERAGE_POOL_2D",
        "DEPTHWISE_CONV_2D",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "MAX_POOL_2D",
        "MEAN",
        "PAD",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "TANH",
    }
)
# Operators that sum over their input's channels.
_TAKE_CHANNELS = frozenset(WEIGHT_PLACES) - {"DEPTHWISE_CONV_2D"}


@dataclass(frozen=True)
class DeadChannels:
    """The dead channels of one node.

    Args:
        channels: Output channels of all layers that were judged.
        dead: Those whose output moves by less than one code, and that nothing keeps in place.
        zero: Those of them whose weights are all 0.
        held_bytes: What they hold in their own layers.
    """

    channels: int
    dead: int
    zero: int
    held_bytes: int


def dead_channels(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Channels that are constant, or below one quantum of their output, whatever the input."""
    for name in found.nodes:
        ends_task = any(task.path[-1] == name for task in found.tasks.values())
        counted = count_dead_channels(bundle.nodes[name].data, ends_task)
        if counted.dead:
            yield Finding(
                "dead-channels",
                (name,),
                f"{counted.dead:,} of {counted.channels:,} channels of {name} are dead "
                f"({counted.zero:,} have only zero weights) and hold at least "
                f"{format_bytes(counted.held_bytes)}",
                "remove them before the conversion, their constant output added to the next "
                "layer's bias",
                "ROM",
                counted.held_bytes,
            )


@lru_cache(maxsize=256)
def count_dead_channels(data: bytes, ends_task: bool) -> DeadChannels:
    """Count the dead channels of a flatbuffer.

    Args:
        data: A node's flatbuffer.
        ends_task: Whether its output is a task's: then the channels of that are there to stay.
    """
    graph = graph_of(data)
    channels = dead = zero = held_bytes = 0
    for layer in channel_ranges(graph):
        channels += len(layer.is_dead)
        count = int(layer.is_dead.sum())
        if count and _may_shrink(graph, layer.operator.outputs[0], ends_task):
            dead += count
            zero += int(layer.is_zero.sum())
            held_bytes += count * layer.channel_bytes
    return DeadChannels(channels, dead, zero, held_bytes)


def _may_shrink(graph: Graph, tensor: int, ends_task: bool) -> bool:
    """Whether everything behind a tensor would do with fewer of its channels.

    An addition wants as many channels of its other input, and a task's output is promised.
    """
    waiting, seen = [tensor], {tensor}
    while waiting:
        tensor = waiting.pop()
        if ends_task and tensor in graph.outputs:
            return False
        for operator in (one for one in graph.operators if tensor in one.inputs):
            if operator.name in _TAKE_CHANNELS:
                continue
            if operator.name not in _KEEP_CHANNELS:
                return False
            waiting += [output for output in operator.outputs if output not in seen]
            seen.update(operator.outputs)
    return True
