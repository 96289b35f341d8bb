"""Four kinds of pictures, four datasets, one trunk: digits, clothes, sketches, and hand signs.

Reads `mnist_mini.npz`, `fashion_mnist_mini.npz`, `quickdraw3.npz` and `sign_digits_28.npz` (arrays
`x_train`, `y_train`, `x_test`, `y_test`, the layout of `keras.datasets`; 28 x 28, uint8) from a
folder, trains the tree and, on the same step budget, the four separate nets of the same
architecture, and prints what the tree costs and saves:

    python examples/image_family.py --data FOLDER --out image-family
    python examples/image_family.py --data FOLDER --seeds 3      # the table of the README
"""

from pathlib import Path

import family
import keras
import numpy as np
from keras import layers

from keras_tree import Split, load_folder
from quantize import InputNormalization

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


def make_trunk() -> keras.Model:
    image = keras.Input((28, 28, 1), name="image")
    x = family.convolution(image, 24, strides=2)
    x = family.convolution(x, 48, strides=2)
    return keras.Model(image, family.convolution(x, 64), name="trunk")


def make_branch(features_shape: tuple[int, ...], classes: int, name: str) -> keras.Model:
    features = keras.Input(features_shape, name=f"{name}_features")
    x = family.convolution(features, 48, strides=2, separable=True)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    return keras.Model(features, layers.Dense(classes, activation="softmax")(x), name=name)


def load_family(folder: Path) -> family.Family:
    return family.Family(
        load_images(folder),
        LABELS,
        make_trunk,
        make_branch,
        normalization=InputNormalization(scale=1 / 255),
    )


if __name__ == "__main__":
    family.run(__doc__, load_family, "image-family", 10, 187)
