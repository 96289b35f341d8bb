"""Quantizers and configs for tensorflow-model-optimization that compute as the int8 graph will.

tfmot's own would not do. Its registry refuses Conv1D, Multiply, Rescaling and others; its dense
kernels have one scale where the converter gives one per output channel; its ranges start at -6 to
6 and follow a slow moving average. So these are subclasses of its public `Quantizer`,
`QuantizeConfig` and `QuantizeScheme`, applied by its public `quantize_annotate_layer` and
`quantize_apply`.

No inner attribute of tfmot is used: a wrapper's public `quantize_config` leads to what is set and
read here, for the configs keep the variables themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from quantize.aware.tfmot.importing import load
from quantize.aware.tfmot.placement import KERNELS

tf_keras, tfmot = load()

QuantizeConfig: Any = tfmot.quantization.keras.QuantizeConfig
Quantizer: Any = tfmot.quantization.keras.quantizers.Quantizer
QuantizeLayoutTransform: Any = tfmot.quantization.keras.QuantizeLayoutTransform
QuantizeRegistry: Any = tfmot.quantization.keras.QuantizeRegistry
QuantizeScheme: Any = tfmot.quantization.keras.QuantizeScheme


class Mode:
    """What all quantizers of one model do; read while a function is traced.

    `recording`: whether they pass values on as they are and note the least and the greatest.
    """

    def __init__(self) -> None:
        self.recording = False


class RangeQuantizer(Quantizer):
    """Rounds activations to 256 codes over a range that training never moves."""

    def __init__(self) -> None:
        self.mode = Mode()
        self._variables: dict[str, Any] = {}

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Create the range in use and the range seen; see tfmot's `Quantizer`."""
        for key in ("low", "high", "least", "greatest"):
            self._variables[key] = layer.add_weight(
                f"{name}_{key}", shape=(), initializer="zeros", trainable=False
            )
        return self._variables

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
        """Return the values rounded, or, in a recording pass, as they are."""
        if self.mode.recording:
            weights["least"].assign(tf.minimum(weights["least"], tf.reduce_min(inputs)))
            weights["greatest"].assign(tf.maximum(weights["greatest"], tf.reduce_max(inputs)))
            return tf.identity(inputs)
        return tf.quantization.fake_quant_with_min_max_vars(
            inputs, weights["low"], weights["high"], num_bits=8
        )

    def begin_recording(self) -> None:
        """Forget what was seen; 0 belongs to every range, as TFLite needs a code for it."""
        self._variables["least"].assign(0.0)
        self._variables["greatest"].assign(0.0)

    @property
    def seen(self) -> tuple[float, float]:
        """The least and the greatest value of the recording pass, 0 among them."""
        return float(self._variables["least"]), float(self._variables["greatest"])

    @property
    def range(self) -> tuple[float, float]:
        """The range in use."""
        return float(self._variables["low"]), float(self._variables["high"])

    def set_range(self, low: float, high: float) -> None:
        """Set the range in use; one without extent is given one, for it has no scale."""
        self._variables["low"].assign(low)
        self._variables["high"].assign(high if high > low else low + 1e-6)

    def get_config(self) -> dict[str, Any]:
        """Return nothing: the variables are all there is."""
        return {}


class KernelQuantizer(Quantizer):
    """Rounds a kernel symmetrically, in narrow range, with a scale per output channel.

    The gradient passes unchanged, so the greatest weight of a channel learns too. Zeros and shared
    values can be kept: a mask multiplies the kernel, and weights of one cluster are replaced by
    their mean, which gives all of them one gradient ("Deep Compression", arXiv:1510.00149, section
    3). Neither tfmot's prune-preserving nor its cluster-preserving scheme would do here: they hang
    on its default registry and refuse what that refuses.

    Args:
        num_bits: 8 or 4.
        kind: Name of the layer's class, which tells where its output channels are.
        keeps_zeros: Whether weights that are 0 now stay 0.
        keeps_clusters: Whether equal weights of one output channel stay equal.
    """

    def __init__(
        self, num_bits: int, kind: str, keeps_zeros: bool = False, keeps_clusters: bool = False
    ) -> None:
        self.num_bits, self.kind = num_bits, kind
        self.keeps_zeros, self.keeps_clusters = keeps_zeros, keeps_clusters
        self.mode = Mode()
        self._mask: np.ndarray | None = None
        self._cluster_of: np.ndarray | None = None

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Note the zeros and clusters that the kernel has now; see tfmot's `Quantizer`."""
        kernel = np.asarray(getattr(layer.layer, KERNELS[self.kind]))
        if self.keeps_zeros:
            self._mask = (kernel != 0).astype(np.float32)
        if self.keeps_clusters:
            self._cluster_of = clusters(kernel, self.kind)
        return {}

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
        """Return the kernel that the int8 graph has, or, in a recording pass, the float one."""
        kernel = self.kept(tf.convert_to_tensor(inputs))
        if self.mode.recording:
            return kernel
        axes = [axis for axis in range(len(kernel.shape)) if axis not in channel_axes(self.kind)]
        greatest = tf.reduce_max(tf.abs(kernel), axes, keepdims=True)
        scale = tf.maximum(greatest, 1e-12) / (2 ** (self.num_bits - 1) - 1)
        return _straight_through(kernel, tf.round(kernel / scale) * scale)

    def kept(self, kernel: Any) -> Any:
        """Return a kernel with its zeros and clusters exactly kept."""
        if self._cluster_of is not None:
            number = self._cluster_of.reshape(-1)
            count = int(number.max()) + 1
            flat = tf.reshape(kernel, [-1])
            sizes = np.bincount(number, minlength=count).astype(np.float32)
            means = tf.math.unsorted_segment_sum(flat, number, count) / sizes
            kernel = tf.reshape(tf.gather(means, number), kernel.shape)
        return kernel if self._mask is None else kernel * self._mask

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {
            "num_bits": self.num_bits,
            "kind": self.kind,
            "keeps_zeros": self.keeps_zeros,
            "keeps_clusters": self.keeps_clusters,
        }


@tf.custom_gradient
def _straight_through(kernel: Any, rounded: Any) -> Any:
    """Return `rounded` forwards; the gradient goes to `kernel` as it is."""
    return rounded, lambda upstream: (upstream, None)


def channel_axes(kind: str) -> tuple[int, ...]:
    """Return the axes of a kernel that number its output channels.

    Depthwise kernels are (..., channels, multiplier), transposed ones (height, width, outputs,
    inputs), all others end in the outputs.
    """
    if kind.startswith("Depthwise"):
        rank = 2 + int(kind[-2])
        return (rank - 2, rank - 1)
    return (2,) if kind == "Conv2DTranspose" else (len(_SHAPES[kind]) - 1,)


_SHAPES = {"Conv1D": "kio", "Conv2D": "hwio", "Dense": "io"}


def clusters(kernel: np.ndarray, kind: str) -> np.ndarray:
    """Return the number of every weight's cluster: equal weights of one output channel.

    Args:
        kernel: float32 of any shape.
        kind: Name of the layer's class.

    Returns:
        int32 of the same shape, from 0 on.
    """
    axes = channel_axes(kind)
    shape = [kernel.shape[axis] if axis in axes else 1 for axis in range(kernel.ndim)]
    channel = np.arange(np.prod(shape)).reshape(shape)
    value = np.unique(kernel, return_inverse=True)[1]
    channels = np.broadcast_to(channel, kernel.shape)
    pairs = np.stack([channels.reshape(-1), value.reshape(-1)], 1)
    _, number = np.unique(pairs, axis=0, return_inverse=True)
    return number.reshape(kernel.shape).astype(np.int32)


class PointConfig(QuantizeConfig):
    """Rounds what leaves a layer that does nothing else."""

    def __init__(self) -> None:
        self.quantizer = RangeQuantizer()

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        """Return nothing."""
        return []

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        """Return nothing."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
        """Do nothing."""
        return  # AutoGraph cannot read a body without a statement

    def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
        """Do nothing."""
        return

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Return the quantizer of the point."""
        return [self.quantizer]

    def get_config(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class KernelConfig(PointConfig):
    """Rounds a layer's kernel; its output is rounded elsewhere, or fused into what follows.

    Args:
        quantizer: Arguments of the `KernelQuantizer`.
    """

    def __init__(self, **quantizer: Any) -> None:
        self.quantizer = KernelQuantizer(**quantizer)
        self.variable: Any = None

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        """Return the kernel; tfmot's wrapper asks once, before it puts the rounded one there."""
        self.variable = getattr(layer, KERNELS[self.quantizer.kind])
        return [(self.variable, self.quantizer)]

    def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
        """Put the rounded kernel where the layer takes it from."""
        setattr(layer, KERNELS[self.quantizer.kind], quantize_weights[0])

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """Return nothing."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return dict(self.quantizer.get_config())


class _Unchanged(QuantizeLayoutTransform):
    """Leaves the graph as it is: the points stand where they belong already."""

    def apply(self, model: Any, layer_quantize_map: Any) -> tuple[Any, Any]:
        return model, layer_quantize_map


class _Empty(QuantizeRegistry):
    """Knows no layer: every layer to be quantized brings its config."""

    def supports(self, layer: Any) -> bool:
        return False

    def get_quantize_config(self, layer: Any) -> None:
        return None


class Scheme(QuantizeScheme):
    """Quantizes what is annotated, as it is annotated."""

    def get_layout_transformer(self) -> Any:
        """Return one that changes nothing."""
        return _Unchanged()

    def get_quantize_registry(self) -> Any:
        """Return an empty one."""
        return _Empty()


CUSTOM_OBJECTS = {
    "PointConfig": PointConfig,
    "KernelConfig": KernelConfig,
    "RangeQuantizer": RangeQuantizer,
    "KernelQuantizer": KernelQuantizer,
}
"""What `quantize_scope` must know to clone an annotated model."""
