"""Four kinds of pictures, four datasets, one trunk: digits, clothes, sketches, and hand signs.

Reads `mnist_mini.npz`, `fashion_mnist_mini.npz`, `quickdraw3.npz` and `sign_digits_28.npz` (arrays
`x_train`, `y_train`, `x_test`, `y_test`, the layout of `keras.datasets`; 28 x 28, uint8) from a
folder, trains the tree and, on the same step budget, the four separate nets of the same
architecture, and prints what the tree costs and saves:

    python examples/image_family.py --data FOLDER --out image-family
    python examples/image_family.py --data FOLDER --seeds 3      # the table of the README
"""

import argparse
from pathlib import Path

import family
import keras
import numpy as np
from keras import layers

from keras_tree import Split, load_folder

LABELS = {
    "mnist_mini": tuple("0123456789"),
    "fashion_mnist_mini": (
        "t-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "boot",
    ),
    "quickdraw3": ("cat", "rainbow", "train"),
    "sign_digits_28": tuple("0123456789"),
}


def load_images(folder: Path) -> dict[str, Split]:
    """Float32 images of shape `(n, 28, 28, 1)` in 0..1 and integer labels of shape `(n,)`."""

    def prepare(x: np.ndarray) -> np.ndarray:
        return x.reshape(-1, 28, 28, 1).astype("float32") / 255.0

    splits = load_folder(folder, names=list(LABELS))
    return {
        name: Split(prepare(s.x_train), s.y_train, prepare(s.x_test), s.y_test)
        for name, s in splits.items()
    }


def convolution(x, filters: int, strides: int = 1, separable: bool = False):
    kind = layers.SeparableConv2D if separable else layers.Conv2D
    x = kind(filters, 3, strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))


def make_trunk() -> keras.Model:
    image = keras.Input((28, 28, 1), name="image")
    x = convolution(image, 24, strides=2)
    x = convolution(x, 48, strides=2)
    return keras.Model(image, convolution(x, 64), name="trunk")


def make_branch(features_shape: tuple[int, ...], classes: int, name: str) -> keras.Model:
    features = keras.Input(features_shape, name=f"{name}_features")
    x = convolution(features, 48, strides=2, separable=True)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return keras.Model(features, layers.Dense(classes, activation="softmax")(x), name=name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the four .npz files")
    parser.add_argument(
        "--out", type=Path, default=Path("image-family"), help="folder for the bundle"
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to average over")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=187, help="batches of 64 per epoch")
    options = parser.parse_args()
    images = family.Family(load_images(options.data), LABELS, make_trunk, make_branch)
    budget = family.Budget(options.epochs, options.steps)
    outcomes, bundle = family.compare(images, budget, range(options.seeds), options.out)
    print("\n" + family.render(outcomes, bundle))
    print(f"\nThe bundle is in {options.out / 'bundle'}")


if __name__ == "__main__":
    main()
