"""How training is compiled: what "auto" means for `steps_per_execution` and `jit_compile`.

Measured with `benchmarks/training.py` and variants of its net on two CPU cores, rates against the
same steps without XLA:

* Several steps per call save the cost of the call: 20 are as good as 50. More than half a second of
  work per call would only delay the progress bar, callbacks and Ctrl-C; so would more than 5 steps
  of data that is read batch by batch, however slowly.
* XLA makes a tiny step faster: one of 6 million multiplications 1.3 to 1.7 times. Its
  convolutions are slower on a CPU, so one of 23 million is 0.7 times as fast, and one of 89 million
  half as fast. Compiling takes 1 second more where nothing else runs and up to 10 on a busy
  machine, which 600 to 3500 steps of that net regain.
  So it is used for tiny steps, and many of them.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_tree.loop.sources import Source, StreamSource
from keras_tree.nodes import inner_layers
from keras_tree.schedules import Kind

MOST_STEPS = 20
MOST_STREAM_STEPS = 5
BLOCK_BYTES = 32 * 2**20
MACS_PER_CALL = 2 * 10**9
TINY_STEP_MACS = 10 * 10**6
STEPS_WORTH_COMPILING = 2000


@dataclasses.dataclass(frozen=True)
class Compilation:
    """How the steps of one training are compiled.

    Attributes:
        steps_per_execution: Steps per call of the compiled function, at least 1.
        jit: Whether XLA compiles what a step computes.
    """

    steps_per_execution: int
    jit: bool


def choose(
    tree: Any,
    kind: Kind,
    sources: Mapping[str, Source],
    total_steps: int,
    callbacks: Iterable[keras.callbacks.Callback],
) -> Compilation:
    """Return how to compile the training of a tree: as it was told to, or as is best.

    Args:
        tree: The tree.
        kind: How the schedule takes the tasks of a step.
        sources: Per task where its samples come from.
        total_steps: Steps in all epochs to be trained.
        callbacks: The user's callbacks.
    """
    batch_rows = {task: source.batch_rows for task, source in sources.items()}
    macs = sum(rows * path_macs(tree, task) for task, rows in batch_rows.items())
    executions: int | str = tree.steps_per_execution_setting
    if executions == "auto":
        sample_bytes = 4 * int(np.prod(tree.nodes[tree.trunk_name].inputs[0].shape[1:]))
        block_steps = BLOCK_BYTES // max(1, sample_bytes * sum(batch_rows.values()))
        streams = any(isinstance(source, StreamSource) for source in sources.values())
        most = MOST_STREAM_STEPS if streams else MOST_STEPS
        most = min(most, block_steps, MACS_PER_CALL // max(1, macs))
        executions = 1 if any(map(watches_batches, callbacks)) else max(1, most)
    jit: bool | str = tree.jit_compile_setting
    if jit == "auto":
        jit = (
            macs <= TINY_STEP_MACS
            and total_steps >= STEPS_WORTH_COMPILING
            and all(
                layer.supports_jit for node in tree.nodes.values() for layer in inner_layers(node)
            )
        )
    # The batches of one mixed step differ in size from the next, and XLA compiles for one size.
    return Compilation(int(executions), bool(jit) and kind != "mixed")


def watches_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback of the user's own is to be called at every batch.

    Keras's callbacks can do with every so many; what a user's own does is not known.
    """
    if type(callback).__module__.startswith("keras.") and not isinstance(
        callback, keras.callbacks.LambdaCallback
    ):
        return False
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(
        getattr(getattr(callback, hook), "__func__", None)
        is not getattr(keras.callbacks.Callback, hook)
        for hook in hooks
    )


def path_macs(tree: Any, task: str) -> int:
    """Return about how many multiplications one sample of a task needs."""
    return sum(
        layer_macs(layer) for node in tree.paths[task] for layer in inner_layers(tree.nodes[node])
    )


def layer_macs(layer: keras.layers.Layer) -> int:
    """Return the positions of a layer's output times the sizes of its kernels."""
    if isinstance(layer, keras.Model):
        return 0  # The layers inside are counted one by one.
    kernels = sum(int(np.prod(v.shape)) for v in layer.weights if len(v.shape) > 1)
    try:
        positions = layer.output.shape[1:-1]
    except (AttributeError, ValueError):  # A layer that is called more than once has no one output.
        positions = ()
    return kernels * int(np.prod([extent or 1 for extent in positions]))
