"""The main job on data that comes with scikit-learn: train, quantize, check, show the files.

What belongs here: the three small datasets, the tree, and the order of the stages. All that a
user's own script would call stands in `keras_tree`, `quantize` and `deploy`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deploy.board import load_board
from deploy.budget import Check, check
from deploy.report import terminal

if TYPE_CHECKING:
    from keras_tree import Split, Tree
    from quantize.bundle import Bundle

BOARDS = ("nucleo-g071rb", "bluepill", "nano33ble", "pico2", "nucleo-h743zi", "esp32-s3")
TASK_LABELS = {
    "digit": tuple(str(digit) for digit in range(10)),
    "orientation": ("upright", "90 degrees", "180 degrees", "270 degrees"),
    "texture": ("temple", "flower"),
}
SIDE = 16  # every task's images are SIDE x SIDE x 1, float32 in 0..1


def run_demo(
    output: Path,
    seed: int = 0,
    epochs: int = 20,
    quick: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Train a three-branch tree, quantize it and check it against boards.

    Args:
        output: Folder for `tree.keras` and the bundle; made if it is not there.
        seed: Seed of the weights, the shuffling and the split of the data.
        epochs: Passes over the longest dataset.
        quick: One epoch only, to see the stages; accuracies are then poor.
        say: Takes each paragraph of the report.

    Returns:
        0 when the bundle fits every board, 1 when it is over budget on one.
    """
    import keras

    from quantize import InputNormalization, quantize

    started = time.perf_counter()
    keras.utils.set_random_seed(seed)
    data = demo_datasets(seed)
    tree = demo_tree()
    say(describe_data(data))
    say("")
    tree.summary(print_fn=say)
    train = {name: (split.x_train, split.y_train) for name, split in data.items()}
    test = {name: (split.x_test, split.y_test) for name, split in data.items()}
    tree.compile(keras.optimizers.Adam(2e-3), schedule="joint")
    say("\nTraining: every step takes one batch of every task, the trunk runs once on all of them")
    tree.fit(train, epochs=1 if quick else epochs, batch_size=64, verbose=2 if quick else 1)

    output.mkdir(parents=True, exist_ok=True)
    tree.save(output / "tree.keras")
    say("\nQuantizing: every node becomes its own int8 .tflite file")
    samples = {name: x for name, (x, _) in train.items()}
    bundle = quantize(
        tree,
        samples,
        evaluation=test,
        input_normalization=InputNormalization(scale=1 / 255),  # of a camera's grey values
        name="demo",
        progress=lambda line: say(f"  {line}"),
    )
    folder = output / "bundle"
    bundle.save(folder, overwrite=True)

    report = check(bundle, [Check(name=name, board=load_board(name)) for name in BOARDS])
    say("\n" + terminal.render(report))
    say("\n" + closing(bundle, folder, time.perf_counter() - started))
    return 0 if report.fits else 1


def demo_datasets(seed: int = 0) -> dict[str, Split]:
    """Three datasets that share no sample.

    Returns:
        `digit`: half of scikit-learn's handwritten digits; `orientation`: the other half, each
        turned by 0, 90, 180 or 270 degrees; `texture`: patches of its two photographs. Images are
        float32 of shape `(n, 16, 16, 1)` in 0..1, labels int64 of shape `(n,)`; a quarter is for
        testing.
    """
    from sklearn.datasets import load_digits, load_sample_images

    generator = np.random.default_rng(seed)
    digits, numbers = load_digits(return_X_y=True)
    images = np.kron(digits.reshape(-1, 8, 8), np.ones((2, 2))) / 16.0
    turns = generator.integers(0, 4, len(images[1::2]))
    turned = np.stack([np.rot90(image, k) for image, k in zip(images[1::2], turns, strict=True)])
    patches = [photo_patches(photo) for photo in load_sample_images().images]
    photo_labels = np.repeat(np.arange(len(patches)), [len(part) for part in patches])
    return {
        "digit": split_dataset(images[0::2], numbers[0::2], generator),
        "orientation": split_dataset(turned, turns, generator),
        "texture": split_dataset(np.concatenate(patches), photo_labels, generator),
    }


def photo_patches(photo: np.ndarray) -> np.ndarray:
    """Cut a photograph, uint8 of shape `(height, width, 3)`, into grey patches that do not overlap.

    Returns:
        Float array of shape `(n, 16, 16)` in 0..1.
    """
    grey = photo.mean(axis=2) / 255.0
    rows, columns = grey.shape[0] // SIDE, grey.shape[1] // SIDE
    grid = grey[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
    return grid.swapaxes(1, 2).reshape(-1, SIDE, SIDE)


def split_dataset(images: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> Split:
    """Shuffle and split into three quarters for training and one for testing."""
    from keras_tree import Split

    order = generator.permutation(len(images))
    x, y = images[order, :, :, None].astype("float32"), labels[order].astype("int64")
    cut = 3 * len(x) // 4
    return Split(x[:cut], y[:cut], x[cut:], y[cut:])


def demo_tree() -> Tree:
    """A convolutional trunk and three small branches, about 13,000 parameters."""
    import keras
    from keras import layers

    from keras_tree import Task, Tree

    def convolution(x, filters: int, strides: int):  # type: ignore[no-untyped-def]
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = convolution(image, 8, 1)
    x = convolution(x, 16, 2)
    trunk = keras.Model(image, convolution(x, 32, 2), name="trunk")

    def branch(name: str, classes: int) -> keras.Model:
        features = keras.Input(trunk.output_shape[1:], name=f"{name}_features")
        x = layers.SeparableConv2D(24, 3, padding="same", activation="relu")(features)
        x = layers.Dropout(0.4)(layers.Flatten()(layers.MaxPooling2D()(x)))
        return keras.Model(features, layers.Dense(classes, activation="softmax")(x), name=name)

    return Tree.from_branches(
        trunk,
        {name: branch(name, len(labels)) for name, labels in TASK_LABELS.items()},
        [
            Task(name, "sparse_categorical_crossentropy", metrics=("accuracy",), labels=labels)
            for name, labels in TASK_LABELS.items()
        ],
    )


def describe_data(data: dict[str, Split]) -> str:
    """One line per dataset: samples and classes."""
    lines = ["Three datasets that share no sample:"]
    for name, split in data.items():
        lines.append(
            f"  {name:12} {len(split.x_train):5} train {len(split.x_test):5} test   "
            + ", ".join(TASK_LABELS[name])
        )
    return "\n".join(lines)


def closing(bundle: Bundle, folder: Path, seconds: float) -> str:
    """The picture of the tree with the bytes and the file of every node, and what to type next."""
    from keras_tree.drawing import outline

    labels = outline({name: task.path for name, task in bundle.tasks.items()}) or []
    width = max(len(label) for _, label in labels)
    lines = [f"Finished in {seconds:.0f} s. The tree, and its files for the firmware:\n"]
    for name, label in labels:
        size = bundle.nodes[name].rom_bytes
        lines.append(f"  {label:{width}}  {size:6,} bytes  {folder / 'nodes' / name}.tflite")
    lines.append(
        f'\nNext: keras-tree check {folder} --board nano33ble --rom "96 KiB" --ram "32 KiB"'
    )
    return "\n".join(lines)
