"""Small random networks, written as flatbuffers by hand: every operator that can be compiled.

A network is a chain with side branches: an operator takes the newest tensor or an older one. Scales
are drawn such that codes fill their range without all of them saturating.
"""

import math
from collections.abc import Callable

import numpy as np

# The standard deviation of codes that are drawn evenly from -127 ... 127.
_CODE_STD = 73


class Network:
    """A flatbuffer that grows.

    Args:
        writer: An empty `FlatbufferWriter`.
        seed: Of everything that is drawn.
    """

    widest = 10
    """Output channels of a convolution are fewer."""

    def __init__(self, writer, seed: int) -> None:
        self.writer = writer
        self.random = np.random.default_rng(seed)
        self.options = writer.schema
        # A stream of its own for data, so that shapes do not depend on how many weights there are.
        self.data = np.random.default_rng(seed + 1_000_000)
        size = [int(n) for n in self.random.integers(4, 9, 2)]
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.input = self.activation((1, *size, int(self.random.integers(1, 7))))
        self.newest = self.input

    # -- Parts --------------------------------------------------------------------------------

    def pick(self, *choices):
        return choices[int(self.random.integers(len(choices)))]

    def activation(self, shape, scale=None, zero_point=None) -> int:
        scale = float(self.random.uniform(0.01, 0.1)) if scale is None else scale
        if zero_point is None:
            zero_point = int(self.pick(-128, -60, -40, -3, 0, 5, 30))
        index = self.writer.tensor(shape, "INT8", scale, zero_point)
        self.shapes[index] = tuple(shape)
        return index

    def constant(self, shape, scale, zero_point=0, axis=0, low=-127) -> int:
        codes = self.data.integers(low, 128, shape).astype(np.int8)
        return self.writer.tensor(shape, "INT8", scale, zero_point, codes, axis)

    def numbers(self, *numbers) -> int:
        data = np.array(numbers, np.int32)
        return self.writer.tensor(data.shape, "INT32", data=data)

    def scale(self, index: int) -> float:
        return float(self.writer.graph.tensors[index].quantization.scale[0])

    def zero_point(self, index: int) -> int:
        return int(self.writer.graph.tensors[index].quantization.zeroPoint[0])

    def like(self, index: int, shape=None) -> int:
        """A new tensor of the same quantization."""
        return self.activation(
            self.shapes[index] if shape is None else shape,
            self.scale(index),
            self.zero_point(index),
        )

    def source(self) -> int:
        """The newest tensor, or at times an older one."""
        older = [index for index in self.shapes if len(self.shapes[index]) == 4]
        is_image = len(self.shapes[self.newest]) == 4
        if is_image and self.random.random() < 0.8:
            return self.newest
        return older[int(self.random.integers(len(older)))]

    def emit(self, name, inputs, outputs, options=None) -> None:
        self.writer.operator(name, inputs, outputs, options)
        self.newest = outputs[0]

    def folded(self, *names: str) -> int:
        kinds = self.options.ActivationFunctionType
        names = names or ("NONE", "NONE", "NONE", "RELU", "RELU", "RELU6", "RELU_N1_TO_1")
        return getattr(kinds, self.pick(*names))

    def weights(self, shape, source, axis, terms) -> tuple[int, int, float]:
        """Constant weights, a bias or none, and a scale that the sums fill."""
        channels = shape[axis]
        count = channels if self.random.random() < 0.7 else 1
        scales = self.random.uniform(0.002, 0.02, count).astype(np.float32)
        weights = self.constant(shape, scales, axis=axis)
        sums = self.scale(source) * float(scales.mean()) * math.sqrt(terms) * _CODE_STD**2
        bias = -1
        if self.random.random() < 0.8:
            codes = self.data.integers(-9000, 9000, channels).astype(np.int32)
            scale = scales * np.float32(self.scale(source))
            bias = self.writer.tensor((channels,), "INT32", scale, 0, codes)
        return weights, bias, sums / 60 * float(self.random.uniform(0.5, 1.5))

    def size_after(self, size, kernel, stride, dilation, is_same) -> int:
        return -(-(size if is_same else size - (kernel - 1) * dilation) // stride)

    def window(self, shape, smallest=1) -> tuple:
        """Kernel, strides, dilations and padding that leave something of an image."""
        kernel = [int(min(self.random.integers(smallest, 5), n)) for n in shape[1:3]]
        dilations = [self.pick(1, 1, 2) if (k - 1) * 2 + 1 <= n else 1
                     for k, n in zip(kernel, shape[1:3], strict=True)]  # fmt: skip
        is_dilated = max(dilations) > 1
        strides = [1, 1] if is_dilated else [self.pick(1, 1, 2, 3), self.pick(1, 1, 2)]
        is_same = self.random.random() < 0.6
        after = [
            self.size_after(n, k, s, d, is_same)
            for n, k, s, d in zip(shape[1:3], kernel, strides, dilations, strict=True)
        ]
        return kernel, strides, dilations, is_same, after

    # -- Operators ----------------------------------------------------------------------------

    def convolution(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        kernel, strides, dilations, is_same, after = self.window(shape)
        groups = self.pick(1, 1, *(n for n in (2, 3) if shape[3] % n == 0))
        channels = groups * int(self.random.integers(1, self.widest // groups))
        if self.random.random() < 0.3:
            kernel, strides, dilations, after = [1, 1], [1, 1], [1, 1], list(shape[1:3])
        depth = shape[3] // groups
        weights, bias, scale = self.weights(
            (channels, *kernel, depth), source, 0, math.prod(kernel) * depth
        )
        target = self.activation((1, *after, channels), scale)
        options = self.options.Conv2DOptionsT()
        self._fill(options, strides, dilations, is_same)
        self.emit("CONV_2D", [source, weights, bias], [target], options)

    def depthwise(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        kernel, strides, dilations, is_same, after = self.window(shape)
        if dilations == [1, 1]:
            strides = [strides[0], strides[0]]
            after = [
                self.size_after(n, k, strides[0], 1, is_same)
                for n, k in zip(shape[1:3], kernel, strict=True)
            ]
        times = self.pick(1, 1, 2, 3)
        channels = times * shape[3]
        weights, bias, scale = self.weights((1, *kernel, channels), source, 3, math.prod(kernel))
        target = self.activation((1, *after, channels), scale)
        options = self.options.DepthwiseConv2DOptionsT()
        self._fill(options, strides, dilations, is_same)
        options.depthMultiplier = times
        # TFLM's DEPTHWISE_CONV_2D crashes where the bias is named and absent.
        inputs = [source, weights] + ([bias] if bias >= 0 else [])
        self.emit("DEPTHWISE_CONV_2D", inputs, [target], options)

    def _fill(self, options, strides, dilations, is_same) -> None:
        options.padding = 0 if is_same else 1
        options.strideH, options.strideW = strides
        options.dilationHFactor, options.dilationWFactor = dilations
        options.fusedActivationFunction = self.folded()

    def transposed(self) -> None:
        source = self.source()
        _, height, width, depth = self.shapes[source]
        kernel = [int(n) for n in self.random.integers(1, 5, 2)]
        strides = [self.pick(1, 2, 3), self.pick(1, 2)]
        is_same = self.random.random() < 0.5
        after = [
            n * s if is_same else (n - 1) * s + max(k, s)
            for n, k, s in zip((height, width), kernel, strides, strict=True)
        ]
        channels = int(self.random.integers(1, 6))
        weights, bias, scale = self.weights((channels, *kernel, depth), source, 0, depth * 2)
        target = self.activation((1, *after, channels), scale)
        options = self.options.TransposeConvOptionsT()
        options.padding = 0 if is_same else 1
        options.strideH, options.strideW = strides
        options.fusedActivationFunction = self.folded("NONE", "RELU")
        inputs = [self.numbers(1, *after, channels), weights, source]
        self.emit("TRANSPOSE_CONV", inputs + ([bias] if bias >= 0 else []), [target], options)

    def dense(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        is_flat = self.random.random() < 0.5
        length = math.prod(shape) if is_flat else shape[3]
        units = int(self.random.integers(1, self.widest + 2))
        weights, bias, scale = self.weights((units, length), source, 0, length)
        target = self.activation((1, units) if is_flat else (*shape[:3], units), scale)
        options = self.options.FullyConnectedOptionsT()
        options.keepNumDims = not is_flat
        options.fusedActivationFunction = self.folded()
        self.emit("FULLY_CONNECTED", [source, weights, bias], [target], options)

    def pool(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        kernel, strides, dilations, is_same, after = self.window(shape)
        if dilations != [1, 1]:
            after = [
                self.size_after(n, k, s, 1, is_same)
                for n, k, s in zip(shape[1:3], kernel, strides, strict=True)
            ]
        options = self.options.Pool2DOptionsT()
        options.padding = 0 if is_same else 1
        options.strideH, options.strideW = strides
        options.filterHeight, options.filterWidth = kernel
        options.fusedActivationFunction = self.folded()
        target = self.like(source, (1, *after, shape[3]))
        self.emit(self.pick("AVERAGE_POOL_2D", "MAX_POOL_2D"), [source], [target], options)

    def reduce(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        axes = self.pick((1, 2), (2, 1), (3,), (1,), (2,), (1, 2, 3), (1, 3), (-1, 2), (0, 1, 2))
        name = self.pick("MEAN", "MEAN", "SUM", "REDUCE_MAX")
        keeps = self.random.random() < 0.5
        gone = {axis % 4 for axis in axes}
        after = [1 if i in gone else n for i, n in enumerate(shape) if keeps or i not in gone]
        if not after:
            return
        if name == "REDUCE_MAX":
            target = self.like(source, after)
        else:
            grown = math.prod(shape[i] for i in gone) if name == "SUM" else 1
            scale = self.scale(source) * float(self.random.uniform(0.3, 1.2)) * math.sqrt(grown)
            target = self.activation(after, scale)
        options = self.options.ReducerOptionsT()
        options.keepDims = keeps
        self.emit(name, [source, self.numbers(*axes)], [target], options)

    def arithmetic(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        name = self.pick("ADD", "ADD", "SUB", "MUL", "ADD", "SUB", "MAXIMUM", "MINIMUM")
        same = [index for index, other in self.shapes.items() if other == shape]
        other = self.pick("tensor", "channels", "scalar", "row", "constant", "grown")
        scale = self.scale(source)
        if other == "tensor":
            second = same[int(self.random.integers(len(same)))]
        elif other == "grown":
            second = self.reduced(source)
        else:
            sizes = {"channels": (shape[3],), "scalar": (), "row": (1, 1, *shape[2:]),
                     "constant": shape}[other]  # fmt: skip
            near = float(scale * self.random.uniform(0.3, 3)) if name != "MUL" else 0.01
            second = self.constant(sizes, near, int(self.pick(0, -20)), low=-128)
        inputs = [source, second] if self.random.random() < 0.7 else [second, source]
        if name in ("MAXIMUM", "MINIMUM"):
            options = self.options.MaximumMinimumOptionsT()
            self.emit(name, inputs, [self.like(source)], options)
            return
        second_scale = self.scale(second)
        grown = scale * second_scale * 70 if name == "MUL" else max(scale, second_scale) * 1.4
        target = self.activation(shape, grown * float(self.random.uniform(0.6, 1.4)))
        options = getattr(self.options, f"{name.capitalize()}OptionsT")()
        options.fusedActivationFunction = self.folded()
        self.emit(name, inputs, [target], options)

    def reduced(self, source) -> int:
        """The channels' maxima of an image, (1, 1, 1, channels)."""
        target = self.like(source, (1, 1, 1, self.shapes[source][3]))
        options = self.options.ReducerOptionsT()
        options.keepDims = True
        self.emit("REDUCE_MAX", [source, self.numbers(1, 2)], [target], options)
        return target

    def pad(self) -> None:
        source = self.source()
        paddings = self.random.integers(0, 3, (4, 2))
        paddings[0] = 0
        after = [n + int(p.sum()) for n, p in zip(self.shapes[source], paddings, strict=True)]
        table = self.writer.tensor((4, 2), "INT32", data=paddings.astype(np.int32))
        target = self.like(source, after)
        if self.random.random() < 0.5:
            self.emit("PAD", [source, table], [target], self.options.PadOptionsT())
            return
        ends = (self.scale(source), self.zero_point(source))
        fill = self.writer.tensor((1,), "INT8", *ends, np.array([-77], np.int8))
        self.emit("PADV2", [source, table, fill], [target], self.options.PadV2OptionsT())

    def concatenate(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        axis = int(self.random.integers(1, 4))
        ends = (self.scale(source), self.zero_point(source))
        fits = [
            index
            for index, other in self.shapes.items()
            if len(other) == 4
            and (self.scale(index), self.zero_point(index)) == ends
            and self._with(shape, axis, 0) == self._with(other, axis, 0)
        ]
        others = [fits[int(self.random.integers(len(fits)))] for _ in range(self.pick(1, 2))]
        if self.random.random() < 0.3:
            others.append(self.constant(shape, *ends))
        sizes = [self.shapes.get(i, shape)[axis] for i in (source, *others)]
        after = [sum(sizes) if j == axis else n for j, n in enumerate(shape)]
        options = self.options.ConcatenationOptionsT()
        options.axis = self.pick(axis, axis - 4)
        self.emit("CONCATENATION", [source, *others], [self.like(source, after)], options)

    def split(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        axis = int(self.random.integers(1, 4))
        size = shape[axis]
        if self.random.random() < 0.5 and size > 1:
            first = int(self.random.integers(1, size))
            parts = [first, size - first]
            outputs = [self.like(source, self._with(shape, axis, n)) for n in parts]
            options = self.options.SplitVOptionsT()
            options.numSplits = 2
            inputs = [source, self.numbers(*parts), self.numbers(axis)]
            self.emit("SPLIT_V", inputs, outputs, options)
            return
        count = self.pick(*(n for n in (1, 2, 3, 4) if size % n == 0))
        outputs = [self.like(source, self._with(shape, axis, size // count)) for _ in range(count)]
        options = self.options.SplitOptionsT()
        options.numSplits = count
        self.emit("SPLIT", [self.numbers(self.pick(axis, axis - 4)), source], outputs, options)

    def _with(self, shape, axis, size) -> tuple[int, ...]:
        return tuple(size if i == axis else n for i, n in enumerate(shape))

    def packing(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        options = self.options.UnpackOptionsT()
        options.axis, options.num = 1, shape[1]
        rows = [self.like(source, (1, *shape[2:])) for _ in range(shape[1])]
        self.emit("UNPACK", [source], rows, options)
        options = self.options.PackOptionsT()
        options.axis, options.valuesCount = self.pick(1, 2), shape[1]
        after = [1, shape[2], shape[3]]
        after.insert(options.axis, shape[1])
        self.emit("PACK", rows[::-1], [self.like(source, after)], options)

    def transpose(self) -> None:
        source = self.source()
        order = (0, *(1 + self.random.permutation(3)))
        target = self.like(source, [self.shapes[source][i] for i in order])
        options = self.options.TransposeOptionsT()
        self.emit("TRANSPOSE", [source, self.numbers(*order)], [target], options)

    def strided(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        strides = [1, *(self.pick(1, 1, 2, -1, -2) for _ in range(3))]
        masks = [int(self.random.integers(16)) | 1 for _ in range(2)]
        begin = [0, *(int(self.random.integers(-n, n)) for n in shape[1:])]
        end = [1, *(int(self.random.integers(-n, n + 1)) for n in shape[1:])]
        sizes = []
        for axis, (size, low, high, step) in enumerate(
            zip(shape, begin, end, strides, strict=True)
        ):
            low = None if masks[0] >> axis & 1 else low
            high = None if masks[1] >> axis & 1 else high
            sizes.append(len(range(*slice(low, high, step).indices(size))))
        if 0 in sizes:
            return
        options = self.options.StridedSliceOptionsT()
        options.beginMask, options.endMask = masks
        inputs = [source, self.numbers(*begin), self.numbers(*end), self.numbers(*strides)]
        self.emit("STRIDED_SLICE", inputs, [self.like(source, sizes)], options)

    def slice(self) -> None:
        source = self.source()
        shape = self.shapes[source]
        sizes = [int(self.random.integers(1, n + 1)) for n in shape]
        begin = [int(self.random.integers(0, n - s + 1)) for n, s in zip(shape, sizes, strict=True)]
        inputs = [source, self.numbers(*begin), self.numbers(*sizes)]
        self.emit("SLICE", inputs, [self.like(source, sizes)], self.options.SliceOptionsT())

    def resize(self) -> None:
        source = self.source()
        _, height, width, channels = self.shapes[source]
        after = self.pick((2 * height, 2 * width), (height + 3, max(1, width - 2)), (5, 7), (1, 3))
        corners, centers = self.pick((False, False), (True, False), (False, True))
        name = self.pick("Bilinear", "NearestNeighbor")
        options = getattr(self.options, f"Resize{name}OptionsT")()
        options.alignCorners, options.halfPixelCenters = corners, centers
        target = self.like(source, (1, *after, channels))
        kind = "RESIZE_BILINEAR" if name == "Bilinear" else "RESIZE_NEAREST_NEIGHBOR"
        self.emit(kind, [source, self.numbers(*after)], [target], options)

    def blocks(self) -> None:
        source = self.source()
        _, height, width, channels = self.shapes[source]
        if channels % 4 == 0 and self.random.random() < 0.6:
            options = self.options.DepthToSpaceOptionsT()
            after = (1, 2 * height, 2 * width, channels // 4)
        elif height % 2 == 0 and width % 2 == 0:
            options = self.options.SpaceToDepthOptionsT()
            after = (1, height // 2, width // 2, 4 * channels)
        else:
            return
        options.blockSize = 2
        name = "DEPTH_TO_SPACE" if "DepthTo" in type(options).__name__ else "SPACE_TO_DEPTH"
        self.emit(name, [source], [self.like(source, after)], options)

    def reshape(self) -> None:
        source = self.source()
        _, height, width, channels = self.shapes[source]
        after = self.pick((1, width, height, channels), (1, height * width, 1, channels),
                          (1, channels, width, height))  # fmt: skip
        kind = self.pick("RESHAPE", "SQUEEZE")
        if kind == "RESHAPE":
            target = self.like(source, after)
            inputs = [source, self.numbers(*after)]
            self.emit("RESHAPE", inputs, [target], self.options.ReshapeOptionsT())
            return
        flat = self.like(source, (height, width, channels))
        options = self.options.SqueezeOptionsT()
        options.squeezeDims = [0]
        self.emit("SQUEEZE", [source], [flat], options)
        back = self.like(source, (1, height, width, channels))
        self.emit("EXPAND_DIMS", [flat, self.numbers(0)], [back], self.options.ExpandDimsOptionsT())

    def function(self) -> None:
        source = self.source()
        shape, scale = self.shapes[source], self.scale(source)
        name = self.pick("RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "LOGISTIC", "TANH",
                         "QUANTIZE", "SOFTMAX", "PRELU", "PRELU", "QUANTIZE")  # fmt: skip
        options = None
        inputs = [source]
        if name == "SOFTMAX":
            options = self.options.SoftmaxOptionsT()
            options.beta = float(self.pick(1.0, 0.7))
        elif name == "LEAKY_RELU":
            options = self.options.LeakyReluOptionsT()
            options.alpha = float(self.pick(0.1, 0.3, -0.2))
        elif name == "HARD_SWISH":
            options = self.options.HardSwishOptionsT()
        elif name == "QUANTIZE":
            options = self.options.QuantizeOptionsT()
        elif name == "PRELU":
            sizes = self.pick((1, 1, shape[3]), (1, 1, 1), (1, shape[2], shape[3]))
            inputs.append(self.constant(sizes, 0.004, int(self.pick(0, -10))))
        if name in ("LOGISTIC", "SOFTMAX"):
            target = self.activation(shape, 1 / 256, -128)
        elif name == "TANH":
            target = self.activation(shape, 1 / 128, 0)
        elif name == "RELU6" or (name == "RELU" and self.random.random() < 0.4):
            if name == "RELU6" and 6 / scale + self.zero_point(source) > 127:
                return
            target = self.like(source)
        else:
            target = self.activation(shape, scale * float(self.random.uniform(0.5, 1.5)))
        self.emit(name, inputs, [target], options)


PARTS: tuple[Callable[[Network], None], ...] = (
    Network.convolution, Network.depthwise, Network.transposed, Network.dense, Network.pool,
    Network.reduce, Network.arithmetic, Network.pad, Network.concatenate, Network.split,
    Network.packing, Network.transpose, Network.strided, Network.slice, Network.resize,
    Network.blocks, Network.reshape, Network.function,
)  # fmt: skip


def random_network(writer, seed: int, length: int = 8) -> bytes:
    """A network of about `length` operators; the part of number `seed` is in it for sure."""
    network = Network(writer, seed)
    network.convolution()
    PARTS[seed % len(PARTS)](network)
    weighty = (Network.convolution, Network.arithmetic, Network.function, Network.arithmetic)
    for _ in range(length - 2):
        network.pick(*PARTS, *weighty)(network)
        if math.prod(network.shapes[network.newest]) > 20_000:
            network.pool()
    if not network.writer.graph.operators or network.newest == network.input:
        network.convolution()
    return network.writer.bytes([network.input], [network.newest])
