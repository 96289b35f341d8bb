"""16x8: int16 inside a node, its ends as they are in int8, and what it keeps of the float node."""

import numpy as np
import pytest

from quantize.conversion.pinning import node_specs
from quantize.conversion.refusal import RefusalError, check_flatbuffer
from quantize.flatbuffer import read_graph, unpack
from quantize.interpreter import open_interpreter
from quantize.macs import macs
from quantize.precision.stored_form import quantize_step
from quantize.strip import strip


@pytest.fixture(scope="module")
def wide(converter):
    """Brings a calibrated node to 16x8."""

    def make(node):
        return quantize_step(converter, node.frozen, "16x8")(node.calibrated)

    return make


def test_16x8_keeps_more_of_the_float_node_than_int8(random_nodes, wide, kept_db):
    gains = []
    for node in random_nodes[:5]:
        data = wide(node)
        check_flatbuffer(node.frozen, data)
        assert node_specs(data) == node_specs(node.quantized)
        stripped = strip(data)
        outputs = open_interpreter(stripped).run(node.codes)
        litert = open_interpreter(data, "litert").run(node.codes)
        assert np.abs(outputs.astype(int) - litert).max() <= 1
        assert macs(data) == macs(node.quantized)
        gains.append(kept_db(node, stripped) - kept_db(node, node.quantized))
    assert min(gains) > -0.5
    assert np.mean(gains) > 0.5


def test_inside_activations_are_int16_and_weights_int8(random_nodes, wide):
    graph = read_graph(wide(random_nodes[0]))
    first, last = graph.operators[0], graph.operators[-1]
    assert (first.name, last.name) == ("QUANTIZE", "QUANTIZE")
    for operator in graph.operators[1:-1]:
        assert graph.tensors[operator.outputs[0]].dtype == "INT16"
        assert graph.tensors[operator.outputs[0]].quantization.zero_points == (0,)
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            assert graph.tensors[operator.inputs[1]].dtype == "INT8"
            assert graph.tensors[operator.inputs[2]].dtype == "INT64"


def test_the_scales_are_those_of_the_calibrated_ranges(random_nodes, wide):
    node = random_nodes[1]
    floats = unpack(node.calibrated).subgraphs[0]
    graph = read_graph(wide(node))
    assert len(floats.operators) == len(graph.operators) - 2
    for before, after in zip(floats.operators, graph.operators[1:-1], strict=True):
        seen = floats.tensors[before.outputs[0]].quantization
        largest = max(abs(seen.min[0]), abs(seen.max[0]))
        (scale,) = graph.tensors[after.outputs[0]].quantization.scales
        assert scale == pytest.approx(largest / 32767, rel=1e-6)


def test_layers_with_equal_biases_keep_each_its_own(quantized_node, wide, kept_db):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    inputs = keras.Input((9, 9, 8))
    first, second = (layers.Conv2D(8, 3, padding="same", activation="relu") for _ in range(2))
    model = keras.Model(inputs, layers.DepthwiseConv2D(3)(second(first(inputs))))
    random = np.random.default_rng(0)
    bias = random.normal(0, 0.3, 8)
    for layer, size in ((first, 0.05), (second, 0.3)):
        layer.set_weights([random.normal(0, size, (3, 3, 8, 8)), bias])
    model.layers[-1].set_weights([random.normal(0, 0.3, (3, 3, 8, 1)), bias])
    node = quantized_node("shared", model)
    graph = read_graph(node.calibrated)
    biases = [op.inputs[2] for op in graph.operators]
    assert len(set(biases)) < len(biases)
    assert kept_db(node, wide(node)) > kept_db(node, node.quantized) - 0.5


def test_a_dead_layer(quantized_node, wide, kept_db):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    inputs = keras.Input((7, 7, 3))
    dead = layers.Conv2D(4, 3, activation="relu")
    outputs = layers.Add()([layers.Conv2D(5, 3)(dead(inputs)), layers.Conv2D(5, 5)(inputs)])
    model = keras.Model(inputs, outputs)
    dead.set_weights([dead.get_weights()[0], np.full(4, -99)])
    node = quantized_node("dead", model)
    assert kept_db(node, wide(node)) > kept_db(node, node.quantized) - 0.5


def test_a_layer_that_runs_twice(quantized_node, wide, kept_db):
    import keras

    keras.utils.set_random_seed(1)
    layer = keras.layers.Conv2D(6, 3, padding="same", activation="tanh")
    inputs = keras.Input((7, 7, 6))
    node = quantized_node("twice", keras.Model(inputs, layer(3 * layer(inputs))))
    assert kept_db(node, wide(node)) > kept_db(node, node.quantized) - 0.5


@pytest.mark.parametrize(
    ("layer", "operator"), [("prelu", "PRELU"), ("largest", "REDUCE_MAX"), ("swish", "HARD_SWISH")]
)
def test_a_layer_without_int16_is_refused_by_name(quantized_node, wide, layer, operator):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    made = {
        "prelu": lambda: layers.PReLU(name="prelu"),
        "largest": lambda: layers.GlobalMaxPooling2D(name="largest"),
        "swish": lambda: layers.Activation("hard_silu", name="swish"),
    }
    inputs = keras.Input((6, 6, 2))
    model = keras.Model(inputs, made[layer]()(layers.Conv2D(3, 3, name="convolution")(inputs)))
    node = quantized_node("refused", model)
    message = f"Node 'refused', layer '{layer}' must become int16 .* becomes {operator}, .*another"
    with pytest.raises(RefusalError, match=message):
        wide(node)


def test_a_fixed_output_scale_stays_that_of_int8(quantized_node, wide, kept_db):
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    inputs = keras.Input((12,))
    x = layers.Dense(16, activation="tanh")(inputs)
    node = quantized_node("scores", keras.Model(inputs, layers.Dense(4, activation="softmax")(x)))
    data = wide(node)
    target = node_specs(data)[1]
    assert (target.scale, target.zero_point) == (1 / 256, -128)
    assert kept_db(node, data) > kept_db(node, node.quantized)
