"""What several test files use: small flatbuffers written through the schema, and one converter.

The flatbuffers are fast and need no TensorFlow. The converter's process takes seconds to start, so
that the session has one.
"""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest


class FlatbufferWriter:
    """Writes a .tflite as the converter does: names, description, min/max, a buffer per tensor."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = b"MLIR Converted."
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.name = b"main"
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, dtype="INT8", scale=None, zero_point=0, data=None, axis=0) -> int:
        schema = self.schema
        tensor, buffer = schema.TensorT(), schema.BufferT()
        index = len(self.graph.tensors)
        tensor.name = f"model/layer_{index}/value".encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.shapeSignature = np.array(shape, np.int32)
        tensor.type = getattr(schema.TensorType, dtype)
        tensor.quantization = schema.QuantizationParametersT()
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(scales.shape, zero_point, np.int64)
            tensor.quantization.quantizedDimension = axis
            tensor.quantization.min = scales * np.float32(-128 - zero_point)
            tensor.quantization.max = scales * np.float32(127 - zero_point)
        if data is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        tensor.buffer = len(self.model.buffers)
        self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return index

    def operator(self, name, inputs, outputs, options=None, version=1) -> None:
        schema = self.schema
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        if options is not None:
            operator.builtinOptions = options
            kind = type(options).__name__[:-1]
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        self.model.operatorCodes.append(code)
        self.graph.operators.append(operator)

    def metadata(self, name: bytes, content: bytes) -> None:
        entry, buffer = self.schema.MetadataT(), self.schema.BufferT()
        entry.name = name
        entry.buffer = len(self.model.buffers)
        buffer.data = np.frombuffer(content, np.uint8)
        self.model.buffers.append(buffer)
        self.model.metadata = [*(self.model.metadata or []), entry]

    def bytes(self, inputs, outputs) -> bytes:
        import flatbuffers

        self.graph.inputs = np.array(inputs, np.int32)
        self.graph.outputs = np.array(outputs, np.int32)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


@pytest.fixture
def writer() -> FlatbufferWriter:
    """An empty flatbuffer to fill."""
    return FlatbufferWriter()


@pytest.fixture
def new_writer() -> Callable[[], FlatbufferWriter]:
    """Makes empty flatbuffers to fill."""
    return FlatbufferWriter


def convolution(writer, source, shape, channels, scale, seed, kind="CONV_2D", stride=1) -> int:
    """Adds a 3x3 convolution per channel, relu folded in; returns its output tensor."""
    schema, random = writer.schema, np.random.default_rng(seed)
    depth = shape[-1]
    weights_shape = (channels, 3, 3, depth) if kind == "CONV_2D" else (1, 3, 3, channels)
    scales = random.uniform(0.005, 0.02, channels).astype(np.float32)
    source_scale = writer.graph.tensors[source].quantization.scale[0]
    codes = random.integers(-127, 128, weights_shape).astype(np.int8)
    axis = 0 if kind == "CONV_2D" else 3
    weights = writer.tensor(weights_shape, "INT8", scales, 0, codes, axis)
    bias_codes = random.integers(-500, 500, channels).astype(np.int32)
    bias = writer.tensor((channels,), "INT32", scales * source_scale, 0, bias_codes)
    side = -(-shape[1] // stride)
    target = writer.tensor((1, side, side, channels), "INT8", scale, -128)
    options = schema.Conv2DOptionsT() if kind == "CONV_2D" else schema.DepthwiseConv2DOptionsT()
    options.strideW = options.strideH = stride
    options.dilationWFactor = options.dilationHFactor = 1
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    if kind != "CONV_2D":
        options.depthMultiplier = 1
    writer.operator(kind, [source, weights, bias], [target], options, 3)
    return target


def dense(writer, source, length, units, scale, zero_point, seed) -> int:
    """Adds a fully connected layer over `length` inputs; returns its output tensor."""
    random = np.random.default_rng(seed)
    source_scale = writer.graph.tensors[source].quantization.scale[0]
    codes = random.integers(-127, 128, (units, length)).astype(np.int8)
    weights = writer.tensor((units, length), "INT8", 0.01, 0, codes)
    bias_codes = random.integers(-500, 500, units).astype(np.int32)
    bias = writer.tensor((units,), "INT32", np.float32(0.01) * source_scale, 0, bias_codes)
    target = writer.tensor((1, units), "INT8", scale, zero_point)
    options = writer.schema.FullyConnectedOptionsT()
    writer.operator("FULLY_CONNECTED", [source, weights, bias], [target], options, 4)
    return target


@pytest.fixture(scope="session")
def trunk_bytes() -> bytes:
    """A trunk: (1, 8, 8, 1) -> conv 8 -> depthwise -> (1, 4, 4, 8), scale 0.05, zero point -128."""
    writer = FlatbufferWriter()
    source = writer.tensor((1, 8, 8, 1), "INT8", 0.02, -5)
    first = convolution(writer, source, (1, 8, 8, 1), 8, 0.04, seed=1)
    last = convolution(writer, first, (1, 8, 8, 8), 8, 0.05, 2, "DEPTHWISE_CONV_2D", stride=2)
    writer.metadata(b"min_runtime_version", b"1.14.0".ljust(16, b"\0"))
    return writer.bytes([source], [last])


@pytest.fixture(scope="session")
def branch_bytes() -> bytes:
    """A branch on the trunk: reshape -> dense 5 -> softmax (1, 5)."""
    writer = FlatbufferWriter()
    source = writer.tensor((1, 4, 4, 8), "INT8", 0.05, -128)
    shape = writer.tensor((2,), "INT32", data=np.array([-1, 128], np.int32))
    flat = writer.tensor((1, 128), "INT8", 0.05, -128)
    writer.operator("RESHAPE", [source, shape], [flat], writer.schema.ReshapeOptionsT())
    logits = dense(writer, flat, 128, 5, 0.1, 3, seed=3)
    output = writer.tensor((1, 5), "INT8", 1 / 256, -128)
    options = writer.schema.SoftmaxOptionsT()
    options.beta = 1.0
    writer.operator("SOFTMAX", [logits], [output], options, 2)
    writer.metadata(b"min_runtime_version", b"1.14.0".ljust(16, b"\0"))
    return writer.bytes([source], [output])


@pytest.fixture(scope="session")
def small_bundle(trunk_bytes, branch_bytes):
    """Two tasks on hand-made nodes: digit = trunk, digit (5 classes); angle = trunk, mid, angle."""
    writer = FlatbufferWriter()
    source = writer.tensor((1, 4, 4, 8), "INT8", 0.05, -128)
    mid_bytes = writer.bytes([source], [convolution(writer, source, (1, 4, 4, 8), 4, 0.07, 4)])
    writer = FlatbufferWriter()
    source = writer.tensor((1, 4, 4, 4), "INT8", 0.07, -128)
    shape = writer.tensor((2,), "INT32", data=np.array([-1, 64], np.int32))
    flat = writer.tensor((1, 64), "INT8", 0.07, -128)
    writer.operator("RESHAPE", [source, shape], [flat], writer.schema.ReshapeOptionsT())
    angle_bytes = writer.bytes([source], [dense(writer, flat, 64, 1, 0.3, 7, seed=5)])
    flatbuffers = {
        "trunk": trunk_bytes,
        "digit": branch_bytes,
        "mid": mid_bytes,
        "angle": angle_bytes,
    }
    return bundle_of(flatbuffers, {"digit": ("trunk", "digit"), "angle": ("trunk", "mid", "angle")})


def bundle_of(flatbuffers, paths):
    """A bundle of flatbuffers whose seams are the nodes' outputs, with three golden vectors."""
    from quantize.bundle import Bundle, BundleTask, InputNormalization, Node, Seam
    from quantize.flatbuffer import read_graph
    from quantize.interpreter import open_interpreter, record_arena

    opened = {name: open_interpreter(data) for name, data in flatbuffers.items()}
    nodes = {
        name: Node(
            name=name,
            data=data,
            unstripped_bytes=len(data) + 512,
            parameters=100,
            macs=2000,
            input=opened[name].input,
            output=opened[name].output,
            operators=tuple(sorted(read_graph(data).operator_names)),
            arena=record_arena(data),
        )
        for name, data in flatbuffers.items()
    }
    pairs = [pair for path in paths.values() for pair in pairwise(path)]
    seams = tuple(
        Seam(
            name,
            spec.shape,
            spec.scale,
            spec.zero_point,
            producers=(name,),
            consumers=tuple(dict.fromkeys(after for before, after in pairs if before == name)),
        )
        for name, spec in (
            (name, nodes[name].output) for name in dict.fromkeys(p for p, _ in pairs)
        )
    )
    trunk = opened[next(iter(paths.values()))[0]]
    inputs = np.random.default_rng(9).integers(-128, 128, (3, *trunk.input.shape[1:]), np.int8)
    tasks = {}
    for name, path in paths.items():
        outputs = inputs
        for node in path:
            outputs = opened[node].run(outputs)
        count = outputs.shape[-1]
        labels = tuple(f"class {index}" for index in range(count)) if count > 1 else ()
        tasks[name] = BundleTask(name, path, labels, inputs, outputs, None, trunk.backend)
    normalization = InputNormalization(1 / 255, -0.5)
    return Bundle("small", nodes, seams, tasks, normalization, {"tensorflow": "2.21.0"})


@pytest.fixture(scope="session")
def converter():
    """The session's converter, its process running."""
    from quantize.convert import Converter

    with Converter() as opened:
        yield opened


@pytest.fixture(scope="session")
def warm_converter(converter):
    """Lets `quantize.quantize` use the session's converter instead of starting one per call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantize.post_training.Converter", lambda: nullcontext(converter))
        yield converter
