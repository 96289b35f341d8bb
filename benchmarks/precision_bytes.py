"""What a node takes in each precision, and what it keeps: three convolutions, 15,872 weights.

    python -m benchmarks.precision_bytes

Kernels of 3x3x16x32, 3x3x32x32 and 1x1x32x64 with random weights and biases, as the trunk of a tree
of one task. For each precision prints the bytes of the trunk's `.tflite`, of its weights alone, and
what it keeps of the float node (signal to noise ratio over 40 random samples, on TensorFlow Lite
Micro). Random weights have no few values that a training would give them: read the ratios as what
rounding alone costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantize.flatbuffer import anatomy
from quantize.post_training import quantize
from quantize.precision.choice import PRECISIONS

if TYPE_CHECKING:
    from keras_tree import Tree

SHAPE = (12, 12, 16)
_SAMPLES = 40
_SEED = 1


@dataclass(frozen=True)
class Row:
    """One precision's figures.

    Args:
        precision: Its name.
        file_bytes: Length of the stripped flatbuffer.
        weight_bytes: The part of it that is weights, tables and indices among them.
        sqnr_db: Power of the float node's output over that of the error, in dB.
    """

    precision: str
    file_bytes: int
    weight_bytes: int
    sqnr_db: float


def measure() -> list[Row]:
    """Quantize the tree in each precision."""
    tree = three_convolutions()
    random = np.random.default_rng(_SEED)
    x = random.normal(size=(_SAMPLES, *SHAPE)).astype(np.float32)
    evaluation = {"task": (x, np.zeros((_SAMPLES, 3), np.float32))}
    rows = []
    for precision in PRECISIONS:
        bundle = quantize(tree, {"task": x}, evaluation=evaluation, precision={"trunk": precision})
        trunk, score = bundle.nodes["trunk"], bundle.tasks["task"].score
        kept = score.node_sqnr_db["trunk"] if score else float("nan")
        parts = anatomy(trunk.data)
        weight_bytes = parts["weights"] + parts.get("lookup tables", 0)
        rows.append(Row(precision, trunk.rom_bytes, weight_bytes, kept))
    return rows


def three_convolutions() -> Tree:
    """Return the tree that is measured."""
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    keras.utils.set_random_seed(_SEED)
    x = inputs = keras.Input(SHAPE)
    for channels, kernel, activation in ((32, 3, "relu"), (32, 3, "relu"), (64, 1, None)):
        x = layers.Conv2D(
            channels, kernel, padding="same", activation=activation, bias_initializer="normal"
        )(x)
    trunk = keras.Model(inputs, x)
    features = keras.Input(x.shape[1:])
    pooled = layers.GlobalAveragePooling2D()(features)
    branch = keras.Model(features, layers.Dense(3)(pooled))
    return Tree.from_branches(trunk, {"task": branch}, [Task("task", "mse")])


def main() -> None:
    """Print the table."""
    rows = measure()
    whole = rows[0].file_bytes
    print(f"{'precision':10}{'file':>8}{'':>7}{'weights':>9}{'SQNR':>9}")
    for row in rows:
        change = f"{row.file_bytes / whole - 1:+.0%}" if row.precision != "int8" else ""
        print(
            f"{row.precision:10}{row.file_bytes:>8,}{change:>7}{row.weight_bytes:>9,}"
            f"{row.sqnr_db:>6.1f} dB"
        )


if __name__ == "__main__":
    main()
