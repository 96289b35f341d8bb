"""Hand-made nodes in precisions: lookup tables, int4 weights, int16 activations.

They are written byte by byte from the formats' descriptions, so that they do not rely on what
`quantize` makes of a trained network.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from quantize.bundle import Bundle

PATHS = {
    "compressed": {"digit": ("tables",)},
    "narrow": {"digit": ("four_bits",)},
    "wide": {"digit": ("sixteen_bits",)},
    "precisions": {
        "plain": ("tables", "eight_bits"),
        "narrow": ("tables", "four_bits"),
        "wide": ("tables", "sixteen_bits"),
    },
}
_SHAPE = (1, 6, 6, 8)
_SCALE, _ZERO_POINT = 0.05, -20
_HEADER_BYTES = 16


def bundle(name: str, nodes) -> Bundle:
    """A bundle of `PATHS`.

    Args:
        name: Its name.
        nodes: The module of `tests/quantize/conftest.py`.
    """
    paths = PATHS[name]
    makers = {
        "tables": _tables,
        "eight_bits": _eight_bits,
        "four_bits": _four_bits,
        "sixteen_bits": _sixteen_bits,
    }
    names = dict.fromkeys(node for path in paths.values() for node in path)
    flatbuffers = {node: makers[node](_writer(nodes)) for node in names}
    return replace(nodes.bundle_of(flatbuffers, paths), name=name)


def quantized() -> Bundle:
    """A tree as `quantize` stores it, a node in each precision."""
    import keras

    from keras_tree import Task, Tree
    from quantize.post_training import quantize

    keras.utils.set_random_seed(0)
    names = {"plain": "int8", "narrow": "int4", "wide": "16x8", "tables": "lut3"}
    source = keras.Input((14, 14, 3))
    hidden = keras.layers.Conv2D(16, 3, 2, "same", activation="relu")(source)
    hidden = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(hidden)
    hidden = keras.layers.Conv2D(24, 3, padding="same", activation="relu")(hidden)
    trunk = keras.Model(source, hidden, name="trunk")
    tree = Tree.from_branches(
        trunk, {name: _branch(name) for name in names}, [Task(name, "mse") for name in names]
    )
    samples = np.random.default_rng(0).normal(size=(40, 14, 14, 3)).astype(np.float32)
    precision = {"trunk": "lut4", **names}
    return quantize(tree, dict.fromkeys(names, samples), precision=precision, golden_count=3)


def _branch(name: str):
    import keras

    source = keras.Input((7, 7, 24))
    hidden = keras.layers.Conv2D(24, 3, padding="same", activation="relu")(source)
    left = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(hidden)
    hidden = keras.layers.Add()([hidden, keras.layers.Conv2D(24, 1)(left)])
    hidden = keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D()(hidden))
    hidden = keras.layers.Dense(32, activation="relu")(hidden)
    outputs = keras.layers.Dense(5, activation="softmax")(hidden)
    return keras.Model(source, outputs, name=name)


def _writer(nodes):
    class Writer(nodes.FlatbufferWriter):
        def custom(self, code: bytes, inputs: Iterable[int], outputs: Iterable[int]) -> None:
            self.operator("CUSTOM", list(inputs), list(outputs))
            self.model.operatorCodes[-1].customCode = code

    return Writer()


def _tables(writer) -> bytes:
    """Convolutions whose weights are indices into tables of 16, 8 and 4 values per channel."""
    source = writer.tensor(_SHAPE, "INT8", _SCALE, _ZERO_POINT)
    # 72 codes per channel: groups of 16, and some left over.
    first = _convolution(writer, source, 3, 8, "INT8", (0.06, -5), tables=4)
    second = _convolution(writer, first, 3, 8, "INT8", (0.055, 4), "DEPTHWISE_CONV_2D", tables=3)
    third = _convolution(writer, second, 3, 8, "INT8", (0.045, -9), tables=3)
    last = _convolution(writer, third, 3, 8, "INT8", (_SCALE, _ZERO_POINT), tables=2)
    return writer.bytes([source], [last])


def _eight_bits(writer) -> bytes:
    source = writer.tensor(_SHAPE, "INT8", _SCALE, _ZERO_POINT)
    hidden = _convolution(writer, source, 3, 4, "INT8", (0.05, -3))
    hidden = _convolution(writer, hidden, 3, 4, "INT8", (0.06, -3), "DEPTHWISE_CONV_2D")
    return _classes(writer, source, hidden, 4, "INT8", tables=4)


def _four_bits(writer) -> bytes:
    """Int4 weights in a convolution, a depthwise and a 1 x 1 one; tables in the dense layer."""
    source = writer.tensor(_SHAPE, "INT8", _SCALE, _ZERO_POINT)
    hidden = _convolution(writer, source, 3, 7, "INT8", (0.05, -3), bits=4)
    hidden = _convolution(writer, hidden, 3, 7, "INT8", (0.05, 7), "DEPTHWISE_CONV_2D", bits=4)
    hidden = _convolution(writer, hidden, 1, 6, "INT8", (0.04, -3), bits=4)
    return _classes(writer, source, hidden, 6, "INT8", tables=2)


def _sixteen_bits(writer) -> bytes:
    """Int16 between an int8 input and an int8 output."""
    source = writer.tensor(_SHAPE, "INT8", _SCALE, _ZERO_POINT)
    wide = writer.tensor(_SHAPE, "INT16", 16.0 / 32767, 0)
    writer.operator("QUANTIZE", [source], [wide], writer.schema.QuantizeOptionsT())
    first = _convolution(writer, wide, 3, 6, "INT16", (20.0 / 32767, 0))
    second = _convolution(writer, first, 3, 6, "INT16", (24.0 / 32767, 0), "DEPTHWISE_CONV_2D")
    total = writer.tensor((1, 6, 6, 6), "INT16", 30.0 / 32767, 0)
    options = writer.schema.AddOptionsT()
    options.potScaleInt16 = False
    writer.operator("ADD", [first, second], [total], options)
    largest = _pool(writer, total, 6, 3, 6, "MAX_POOL_2D")
    mean = _pool(writer, largest, 3, 1, 6, "AVERAGE_POOL_2D")
    logits = _dense(writer, _flat(writer, mean, 6, "INT16"), 6, "INT16", (15.0 / 32767, 0))
    classes = writer.tensor((1, 5), "INT16", 1 / 32768, 0)
    options = writer.schema.SoftmaxOptionsT()
    options.beta = 1.0
    writer.operator("SOFTMAX", [logits], [classes], options)
    output = writer.tensor((1, 5), "INT8", 1 / 256, -128)
    writer.operator("QUANTIZE", [classes], [output], writer.schema.QuantizeOptionsT())
    return writer.bytes([source], [output])


def _classes(writer, source: int, hidden: int, channels: int, dtype: str, tables: int) -> bytes:
    """A dense layer of five classes behind a convolution of 6 x 6; the node's bytes."""
    flat = _flat(writer, hidden, 36 * channels, dtype)
    logits = _dense(writer, flat, 36 * channels, dtype, (0.06, 5), tables)
    output = writer.tensor((1, 5), "INT8", 1 / 256, -128)
    options = writer.schema.SoftmaxOptionsT()
    options.beta = 1.0
    writer.operator("SOFTMAX", [logits], [output], options)
    return writer.bytes([source], [output])


def _convolution(
    writer, source, side, channels, dtype, quantization, kind="CONV_2D", bits=8, tables=0
) -> int:
    """A padded convolution, its weights plain, of 4 bits, or behind tables of 2**`tables`."""
    schema, random = writer.schema, np.random.default_rng(len(writer.graph.tensors))
    depth = int(writer.graph.tensors[source].shape[-1])
    is_depthwise = kind != "CONV_2D"
    shape = (1, side, side, channels) if is_depthwise else (channels, side, side, depth)
    axis = 3 if is_depthwise else 0
    bound = 7 if bits == 4 else 127
    scales = random.uniform(0.7, 1.3, channels).astype(np.float32)
    scales *= _unit_gain(bound, side * side * (1 if is_depthwise else depth))
    codes = random.integers(-bound, bound + 1, shape).astype(np.int8)
    weights = _weights(writer, codes, scales, axis, bits, tables)
    bias = _bias(writer, source, scales, channels, dtype)
    target = writer.tensor((1, 6, 6, channels), dtype, *quantization)
    options = schema.DepthwiseConv2DOptionsT() if is_depthwise else schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    if is_depthwise:
        options.depthMultiplier = 1
        options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    writer.operator(kind, [source, weights, bias], [target], options, 8)
    return target


def _dense(writer, source, length, dtype, quantization, tables=0) -> int:
    """Five units with one scale."""
    random = np.random.default_rng(length)
    scale = np.array([_unit_gain(127, length)], np.float32)
    codes = random.integers(-127, 128, (5, length)).astype(np.int8)
    weights = _weights(writer, codes, scale, 0, 8, tables)
    bias = _bias(writer, source, scale, 5, dtype)
    target = writer.tensor((1, 5), dtype, *quantization)
    writer.operator(
        "FULLY_CONNECTED", [source, weights, bias], [target], writer.schema.FullyConnectedOptionsT()
    )
    return target


def _unit_gain(bound: int, inputs: int) -> np.float32:
    """The scale of uniform codes up to `bound` that keeps the spread of what they multiply."""
    return np.float32(np.sqrt(3 / inputs) / bound)


def _weights(writer, codes, scales, axis, bits, tables) -> int:
    if bits == 4:
        return writer.tensor(codes.shape, "INT4", scales, 0, _nibbles(codes), axis)
    if not tables:
        return writer.tensor(codes.shape, "INT8", scales, 0, codes, axis)
    packed, values = _indices_and_values(codes, axis if len(scales) > 1 else None, tables)
    axis_and_bits = (axis if len(scales) > 1 else 15) << 4 | tables
    header = bytes([0, 1, 0, 0, 1, axis_and_bits, 2**tables]).ljust(_HEADER_BYTES, b"\0")
    ancillary = np.frombuffer(header + values.tobytes(), np.uint8)
    inputs = [
        writer.tensor((len(packed),), "UINT8", data=packed),
        writer.tensor((len(ancillary),), "UINT8", data=ancillary),
    ]
    decoded = writer.tensor(codes.shape, "INT8", scales, 0, None, axis)
    writer.custom(b"TFLM_DECODE", inputs, [decoded])
    return decoded


def _indices_and_values(codes, axis, bits) -> tuple[np.ndarray, np.ndarray]:
    """Random values per channel, and the packed indices of as many codes as there were."""
    random = np.random.default_rng(codes.size)
    channels = 1 if axis is None else codes.shape[axis]
    half = random.integers(1, 128, (channels, 2 ** (bits - 1))).astype(np.int8)
    values = np.concatenate([half, -half], axis=1)
    indices = random.integers(0, 2**bits, codes.size).astype(np.uint8)
    stream = np.unpackbits(indices[:, np.newaxis], axis=1)[:, -bits:]
    return np.packbits(stream.reshape(-1)), values


def _nibbles(codes: np.ndarray) -> np.ndarray:
    """Two codes in a byte, the first one low."""
    flat = codes.reshape(-1).view(np.uint8) & 0x0F
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    return flat[::2] | flat[1::2] << 4


def _bias(writer, source: int, scales, channels: int, dtype: str) -> int:
    """Int64 beside int16: what the kernels read without a look at the type."""
    random = np.random.default_rng(channels)
    scale = scales * writer.graph.tensors[source].quantization.scale[0]
    spread = 500 if dtype == "INT8" else 500_000
    wide = np.int32 if dtype == "INT8" else np.int64
    codes = random.integers(-spread, spread, channels).astype(wide)
    return writer.tensor((channels,), wide.__name__.upper(), scale, 0, codes)


def _pool(writer, source: int, side: int, target_side: int, channels: int, kind: str) -> int:
    quantized = writer.graph.tensors[source].quantization
    target = writer.tensor((1, target_side, target_side, channels), "INT16", quantized.scale[0], 0)
    options = writer.schema.Pool2DOptionsT()
    options.strideW = options.strideH = options.filterWidth = side // target_side
    options.filterHeight = side // target_side
    options.padding = writer.schema.Padding.VALID
    writer.operator(kind, [source], [target], options)
    return target


def _flat(writer, source: int, length: int, dtype: str) -> int:
    quantized = writer.graph.tensors[source].quantization
    shape = writer.tensor((2,), "INT32", data=np.array([-1, length], np.int32))
    flat = writer.tensor((1, length), dtype, quantized.scale[0], int(quantized.zeroPoint[0]))
    writer.operator("RESHAPE", [source, shape], [flat], writer.schema.ReshapeOptionsT())
    return flat
