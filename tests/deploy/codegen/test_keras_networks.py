"""Networks as Keras and the converter make them, and the demo's tree, against TFLM bit for bit."""

import numpy as np
import pytest

from deploy.codegen import CodegenError, compile_bundle
from quantize.flatbuffer import read_graph

pytestmark = pytest.mark.slow

SHAPE = (12, 12, 4)


def mobile(layers, x):
    y = layers.Conv2D(12, 1, use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, padding="same")(y)
    y = layers.Conv2D(4, 1)(layers.ReLU(6.0)(y))
    return layers.Dense(5, activation="softmax")(
        layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    )


def squeezing(layers, x):
    y = layers.Conv2D(8, 3, activation="swish", padding="same")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(2, 1, activation="relu")(gate))
    return layers.Flatten()(layers.MaxPooling2D(3, 2, padding="same")(layers.Multiply()([y, gate])))


def several_widths(layers, x):
    one = layers.Conv2D(3, 1, activation="relu")(x)
    three = layers.Conv2D(4, 3, padding="same", activation="tanh")(x)
    pooled = layers.AveragePooling2D(3, 1, padding="same")(x)
    y = layers.Concatenate()([one, three, pooled])
    return layers.Dense(3)(layers.GlobalMaxPooling2D()(y))


def segmentation(layers, x):
    small = layers.Conv2D(6, 3, 2, padding="same", activation="relu")(x)
    large = layers.Conv2DTranspose(4, 3, 2, padding="same")(small)
    y = layers.Concatenate()([large, layers.UpSampling2D(2, interpolation="bilinear")(small)])
    return layers.Conv2D(2, 1, activation="sigmoid")(y)


def slopes(layers, x):
    y = layers.PReLU(alpha_initializer="uniform", shared_axes=[1, 2])(layers.Conv2D(5, 3)(x))
    y = layers.LeakyReLU(0.2)(layers.Conv2D(5, 3, dilation_rate=2)(y))
    return layers.Dense(4, activation="hard_swish")(layers.Flatten()(y))


def one_dimension(layers, x):
    y = layers.Reshape((36, 16))(x)
    y = layers.Conv1D(8, 5, padding="causal", dilation_rate=2, activation="relu")(y)
    y = layers.SeparableConv1D(6, 3, strides=2)(y)
    return layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.MaxPooling1D(2)(y)))


def cuts(layers, x):
    y = layers.ZeroPadding2D(((1, 2), (0, 3)))(layers.Cropping2D(((1, 0), (2, 1)))(x))
    y = layers.Permute((3, 1, 2))(layers.Conv2D(4, 3, groups=2, activation="relu6")(y))
    return layers.Reshape((-1,))(y)


def arithmetic(layers, x):
    a = layers.Conv2D(4, 3, padding="same")(x)
    b = layers.Conv2D(4, 3, padding="same", activation="hard_sigmoid")(x)
    y = layers.Subtract()([layers.Maximum()([a, b]), layers.Minimum()([a, x])])
    return layers.Average()([y, layers.BatchNormalization()(layers.ReLU()(a))])


def dense_rows(layers, x):
    y = layers.Dense(6, activation="relu")(x)
    return layers.Softmax()(layers.Dense(4)(layers.Add()([y, layers.Dense(6)(x)])))


def pyramid(layers, x):
    y = layers.DepthwiseConv2D(5, 2, padding="same", depth_multiplier=2)(x)
    y = layers.Conv2D(9, 3, 2, padding="same", activation="relu")(y)
    return layers.Dense(1)(layers.Flatten()(layers.AveragePooling2D(3)(y)))


NETWORKS = (
    mobile, squeezing, several_widths, segmentation, slopes, one_dimension, cuts, arithmetic,
    dense_rows, pyramid,
)  # fmt: skip


@pytest.fixture(scope="module")
def converter():
    from quantize.convert import Converter

    with Converter() as opened:
        yield opened


@pytest.mark.parametrize("network", NETWORKS)
def test_equal_to_tflm(network, converter, lone_bundle, assert_equal_to_tflm):
    import keras

    from quantize.conversion.freezing import freeze

    keras.utils.set_random_seed(7)
    source = keras.Input(SHAPE)
    node = freeze("net", keras.Model(source, network(keras.layers, source)))
    samples = np.random.default_rng(0).normal(size=(20, *SHAPE)).astype(np.float32)
    data = converter.quantize(node, converter.calibrate(node, samples))
    assert len(read_graph(data).operators) > 2
    assert_equal_to_tflm(lone_bundle(data), count=50)


def test_the_demos_tree(assert_equal_to_tflm):
    import quantize
    from deploy.demo import demo_datasets, demo_tree

    tree = demo_tree()
    tasks = demo_datasets()
    samples = {name: split.x_train[:40] for name, split in tasks.items()}
    bundle = quantize.quantize(tree, samples)
    assert len(bundle.tasks) == 3
    assert_equal_to_tflm(bundle, count=1000)
    assert_equal_to_tflm(bundle, count=20, keep_seams=False)


@pytest.mark.parametrize("precision", ["lut2", "int4"])
def test_the_demos_tree_with_few_valued_weights(precision, assert_equal_to_tflm):
    bundle = demo_bundle(precision)
    packed, plain = (compile_bundle(bundle, pack_weights=one) for one in ("auto", "never"))
    assert packed.packs_weights
    assert packed.stored_bytes < plain.stored_bytes
    assert_equal_to_tflm(bundle, count=100)
    assert_equal_to_tflm(bundle, count=20, pack_weights="never")


def test_a_tree_with_int16_activations_is_refused():
    with pytest.raises(CodegenError, match=r"node 'trunk', operator 0, QUANTIZE: .*INT16.*16 act"):
        compile_bundle(demo_bundle("16x8"))


def demo_bundle(precision: str):
    """The demo's tree, untrained, in one precision."""
    import quantize
    from deploy.demo import demo_datasets, demo_tree

    samples = {name: split.x_train[:40] for name, split in demo_datasets().items()}
    return quantize.quantize(demo_tree(), samples, precision=precision)
