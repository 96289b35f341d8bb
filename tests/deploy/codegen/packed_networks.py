"""Small random networks of layers whose weights have few distinct codes, or are INT4.

A network knows what each of its weights would be compressed to on TensorFlow Lite Micro.
"""

import importlib.util
import math
import warnings
from pathlib import Path

import numpy as np

_SPEC = importlib.util.spec_from_file_location(
    "packed_random_networks", Path(__file__).with_name("random_networks.py")
)
networks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(networks)

FORMS = ("table each", "one table", "few of int4", "int4", "plain")


class PackedNetwork(networks.Network):
    """A chain of convolutions and dense layers.

    Args:
        writer: An empty `FlatbufferWriter`.
        seed: Of everything that is drawn.
        allows_int4: Whether weights may be INT4 tensors.
    """

    widest = 37

    def __init__(self, writer, seed: int, allows_int4: bool = True) -> None:
        super().__init__(writer, seed)
        self.allows_int4 = allows_int4
        self.luts: dict[int, tuple[int, int]] = {}
        """Bits of an index and axis of the channels, by tensor."""

    def source(self) -> int:
        """The newest tensor that is an image."""
        images = [index for index in self.shapes if len(self.shapes[index]) == 4]
        return images[-1]

    def folded(self, *names: str) -> int:
        return super().folded("NONE", "NONE", "NONE", "RELU")

    def activation(self, shape, scale=None, zero_point=None) -> int:
        drawn = int(self.pick(-30, -3, 0, 5, 30))
        return super().activation(shape, scale, drawn if zero_point is None else zero_point)

    def weights(self, shape, source, axis, terms) -> tuple[int, int, float]:
        """Constant weights, a bias, and a scale that the sums of these weights fill."""
        channels = shape[axis]
        scales = self.random.uniform(0.002, 0.02, channels).astype(np.float32)
        weights = self.constant(shape, scales, axis=axis)
        sums = networks._CODE_STD * math.sqrt(terms) * max(1.0, self.spread)
        codes = self.data.normal(0, sums / 2, channels).astype(np.int32)
        quantization = self.writer.graph.tensors[weights].quantization
        scale = np.asarray(quantization.scale, np.float32) * np.float32(self.scale(source))
        bias = self.writer.tensor((channels,), "INT32", scale, 0, codes)
        return weights, bias, sums * float(scale.mean()) / 60

    def constant(self, shape, scale, zero_point=0, axis=0, low=-127) -> int:
        form = FORMS[int(self.data.integers(len(FORMS)))]
        bits = int(self.data.choice([1, 2, 3, 4, 4]))
        codes = self.drawn(shape, axis, form, bits)
        self.spread = math.sqrt(np.square(codes.astype(float)).mean())
        is_int4 = form.endswith("int4") and len(shape) == 4 and self.allows_int4
        # TFLM takes INT4 weights with a scale per channel, and none of grouped convolutions.
        if is_int4 and (axis == 3 or shape[3] == self.shapes[self.source()][3]):
            scales = np.broadcast_to(scale, (shape[axis],)) * np.float32(16)
            low, high = np.append(codes.ravel(), 0)[: codes.size + codes.size % 2].reshape(-1, 2).T
            packed = (low.astype(np.uint8) & 15) | (high.astype(np.uint8) << 4 & 0xFF)
            return self.writer.tensor(shape, "INT4", scales, 0, packed.astype(np.uint8), axis)
        index = self.writer.tensor(shape, "INT8", scale, zero_point, codes, axis)
        if form in ("table each", "one table"):
            self.luts[index] = (bits, axis)
        return index

    def drawn(self, shape, axis, form, bits) -> np.ndarray:
        """Codes of a form: int8."""
        if form == "plain":
            return self.data.integers(-127, 128, shape).astype(np.int8)
        if form == "int4":
            return self.data.integers(-8, 8, shape).astype(np.int8)
        lowest, highest = (-8, 8) if form == "few of int4" else (-127, 128)
        rows = np.moveaxis(np.empty(shape, np.int8), axis, 0)
        count = 1 if form == "one table" else len(rows)
        tables = self.data.integers(lowest, highest, (count, 2**bits)).astype(np.int8)
        indices = self.data.integers(0, 2**bits, rows.shape)
        channels = np.zeros(len(rows), int) if count == 1 else np.arange(len(rows))
        codes = tables[channels[:, None], indices.reshape(len(rows), -1)]
        return np.ascontiguousarray(np.moveaxis(codes.reshape(rows.shape), 0, axis))


def packed_network(writer, seed: int, allows_int4: bool = True) -> PackedNetwork:
    """A chain of four to six layers, the kind of number `seed` among them for sure."""
    network = PackedNetwork(writer, seed, allows_int4)
    kinds = (PackedNetwork.convolution, PackedNetwork.depthwise)
    kinds[seed % 2](network)
    for _ in range(int(network.random.integers(2, 5))):
        network.pick(*kinds)(network)
        if math.prod(network.shapes[network.newest]) > 4_000:
            network.pool()
    network.dense()
    return network


def flatbuffer(network: PackedNetwork) -> bytes:
    """The network with its weights as they are."""
    return network.writer.bytes([network.input], [network.newest])


def compressed(network: PackedNetwork) -> bytes:
    """The same with every weight that a table stands for behind a DECODE."""
    from tflite_micro.tensorflow.lite.micro.compression import spec
    from tflite_micro.tensorflow.lite.micro.compression.compress import compress

    tensors = [
        spec.Tensor(0, index, [spec.LookUpTableCompression(bits, spec.PerChannel(axis))])
        for index, (bits, axis) in network.luts.items()
    ]
    if not tensors:
        return flatbuffer(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bytes(compress(flatbuffer(network), tensors))
