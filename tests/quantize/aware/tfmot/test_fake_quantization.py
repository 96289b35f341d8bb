"""Kernels are rounded as the converter rounds them; zeros and clusters are kept."""

import numpy as np
import pytest
import tensorflow as tf

from quantize.aware.tfmot.fake_quantization import KernelQuantizer, channel_axes, clusters

SHAPES = {
    "Conv1D": (3, 4, 5),
    "Conv2D": (3, 3, 4, 5),
    "Conv2DTranspose": (3, 3, 5, 4),
    "DepthwiseConv1D": (3, 4, 2),
    "DepthwiseConv2D": (3, 3, 4, 2),
    "Dense": (4, 5),
}
CHANNELS = {kind: 8 if kind.startswith("Depthwise") else 5 for kind in SHAPES}


def kernel_of(kind: str) -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPES[kind]).astype("float32")


def by_channel(kernel: np.ndarray, kind: str) -> np.ndarray:
    """(channels, weights of one)."""
    axes = channel_axes(kind)
    moved = np.moveaxis(kernel, axes, range(len(axes)))
    return moved.reshape(CHANNELS[kind], -1)


def rounded(kernel: np.ndarray, kind: str, bits: int = 8) -> np.ndarray:
    return KernelQuantizer(bits, kind)(tf.constant(kernel), True, {}).numpy()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", SHAPES)
def test_kernels_are_symmetric_and_narrow_per_output_channel(kind: str, bits: int) -> None:
    kernel, greatest_code = kernel_of(kind), 2 ** (bits - 1) - 1
    found, floats = by_channel(rounded(kernel, kind, bits), kind), by_channel(kernel, kind)
    scales = np.abs(floats).max(1, keepdims=True) / greatest_code
    codes = found / scales
    np.testing.assert_allclose(codes, codes.round(), atol=1e-4)
    np.testing.assert_allclose(np.abs(codes).max(1), greatest_code, atol=1e-4)
    assert (np.abs(found - floats) <= scales * 0.5001).all()


@pytest.mark.parametrize("factors", [(0.1, 7.0, 1e3, 1e-3, 2.0)])
def test_a_positive_factor_per_channel_changes_no_code(factors: tuple[float, ...]) -> None:
    kernel, factor = kernel_of("Conv2D"), np.float32(factors)
    found = rounded(kernel * factor, "Conv2D")
    np.testing.assert_allclose(found, rounded(kernel, "Conv2D") * factor, rtol=1e-5)


def test_a_channel_of_zeros_stays_zero() -> None:
    kernel = kernel_of("Dense")
    kernel[:, 2] = 0
    assert (rounded(kernel, "Dense")[:, 2] == 0).all()


def test_the_gradient_reaches_every_weight() -> None:
    kernel = tf.constant(kernel_of("Conv2D"))
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        total = tf.reduce_sum(KernelQuantizer(4, "Conv2D")(kernel, True, {}) * 3.0)
    np.testing.assert_allclose(tape.gradient(total, kernel), np.full(kernel.shape, 3.0))


def test_clusters_are_the_equal_weights_of_one_channel() -> None:
    kernel = np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 3.0]], np.float32)
    found = clusters(kernel, "Dense")
    assert found[0, 0] == found[2, 0] != found[1, 0]
    assert found[0, 1] == found[1, 1] != found[2, 1]
    assert len(np.unique(found)) == 4


class Wrapper:
    """What a quantizer sees of tfmot's wrapper."""

    def __init__(self, kernel: np.ndarray) -> None:
        self.layer = self
        self.kernel = kernel


def test_zeros_and_clusters_outlast_a_change_of_every_weight() -> None:
    kernel = kernel_of("Dense").round(0)
    quantizer = KernelQuantizer(8, "Dense", keeps_zeros=True, keeps_clusters=True)
    quantizer.build(kernel.shape, "kernel", Wrapper(kernel))
    moved = tf.constant(kernel + np.random.default_rng(1).normal(size=kernel.shape) * 0.1)
    found = quantizer.kept(tf.cast(moved, tf.float32)).numpy()
    assert ((found == 0) == (kernel == 0)).all()
    assert (found != kernel)[kernel != 0].any()
    for before, after in zip(kernel.T, found.T, strict=True):
        assert len(np.unique(before)) == len(np.unique(after))
