"""Fake quantization rounds as the converter and the interpreter round."""

import numpy as np
import pytest
import tensorflow as tf

from quantize.aware.keras3.fake_quantization import (
    Ranges,
    fake_quantize_exactly,
    fake_quantize_kernel,
    spec_over,
)
from quantize.tensor_spec import TensorSpec

SPECS = [
    TensorSpec((1,), "int8", 0.05, -128),
    TensorSpec((1,), "int8", 1 / 127.5, -1),
    TensorSpec((1,), "int8", 3.7e-4, 93),
]


@pytest.mark.parametrize("spec", SPECS)
def test_exact_form_equals_the_tensor_spec_bit_for_bit(spec: TensorSpec) -> None:
    random = np.random.default_rng(0)
    reach = 140 * np.float32(spec.scale)
    ties = (np.arange(-300, 300) / 2).astype(np.float32) * np.float32(spec.scale)
    values = np.concatenate([random.uniform(-2 * reach, 2 * reach, 4000), ties]).astype(np.float32)
    ours = fake_quantize_exactly(values, tf.constant(spec.scale), float(spec.zero_point))
    np.testing.assert_array_equal(ours.numpy(), spec.dequantize(spec.quantize(values)))


@pytest.mark.parametrize("spec", SPECS)
def test_pixels_between_minus_one_and_one_keep_their_codes(spec: TensorSpec) -> None:
    pixels = (np.arange(256, dtype=np.float32) - 127.5) / np.float32(127.5)
    ours = fake_quantize_exactly(pixels, tf.constant(spec.scale), float(spec.zero_point))
    np.testing.assert_array_equal(ours.numpy(), spec.dequantize(spec.quantize(pixels)))


@pytest.mark.parametrize(("low", "high"), [(-1.3, 2.9), (0.0, 6.0), (0.2, 5.0), (-3.0, -0.5)])
def test_fused_form_equals_the_converters_range(low: float, high: float) -> None:
    spec = spec_over(low, high)
    values = np.random.default_rng(1).uniform(low - 1, high + 1, 5000).astype(np.float32)
    ours = tf.quantization.fake_quant_with_min_max_vars(
        values, spec.lowest_value, spec.highest_value
    )
    wanted = spec.dequantize(spec.quantize(values))
    np.testing.assert_allclose(ours, wanted, atol=spec.scale * 1e-3)


def test_zero_is_always_a_code() -> None:
    for low, high in ((0.5, 2.0), (-2.0, -0.5), (0.0, 0.0)):
        spec = spec_over(low, high)
        assert spec.dequantize(np.array([spec.zero_point]))[0] == 0
        assert spec.lowest_value <= 1e-6
        assert spec.highest_value >= -1e-6


@pytest.mark.parametrize(("bits", "most"), [(8, 127), (4, 7)])
def test_kernel_has_a_scale_per_channel(bits: int, most: int) -> None:
    kernel = np.random.default_rng(2).normal(size=(3, 3, 4, 5)).astype(np.float32)
    kernel *= np.array([1, 10, 0.1, 3, 0], np.float32)
    scale = np.abs(kernel).max((0, 1, 2)) / np.float32(most)
    wanted = np.round(kernel / np.where(scale > 0, scale, 1)) * scale
    ours = fake_quantize_kernel(tf.constant(kernel), (3,), bits).numpy()
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)
    codes = ours[..., :4] / scale[:4]
    np.testing.assert_allclose(codes, np.round(codes), atol=1e-4)
    assert np.abs(codes).max() == pytest.approx(most)


def test_a_positive_factor_per_channel_changes_no_code() -> None:
    """Why batch normalization needs no folding: its factor goes into the scale."""
    kernel = np.random.default_rng(3).normal(size=(3, 3, 4, 6)).astype(np.float32)
    factor = np.random.default_rng(4).uniform(0.1, 7, 6).astype(np.float32)
    factor[::2] *= -1
    folded = fake_quantize_kernel(tf.constant(kernel * factor), (3,), 8).numpy()
    apart = fake_quantize_kernel(tf.constant(kernel), (3,), 8).numpy() * factor
    np.testing.assert_allclose(folded, apart, rtol=1e-5, atol=1e-7)


def test_gradients_pass_straight_through_but_where_clipped() -> None:
    kernel = tf.Variable([[0.3, -0.7], [0.01, 0.2]])
    values = tf.Variable([-2.0, -0.4, 0.0, 0.9, 2.0])
    spec = spec_over(-1.0, 1.0)
    with tf.GradientTape(persistent=True) as tape:
        whole = tf.reduce_sum(fake_quantize_kernel(kernel, (1,), 8) * [[1.0, 2.0], [3.0, 4.0]])
        exact = fake_quantize_exactly(values, tf.constant(spec.scale), float(spec.zero_point))
        fused = tf.quantization.fake_quant_with_min_max_vars(
            values, spec.lowest_value, spec.highest_value
        )
    np.testing.assert_array_equal(tape.gradient(whole, kernel), [[1, 2], [3, 4]])
    for result in (exact, fused):
        np.testing.assert_array_equal(tape.gradient(result, values), [0, 1, 1, 1, 0])


def test_fixed_range_does_not_move() -> None:
    ranges = Ranges()
    fixed, free = ranges.new(SPECS[0]), ranges.new()
    for one in (fixed, free):
        one.set(SPECS[1])
    assert (fixed.spec, free.spec) == (SPECS[0], SPECS[1])
    ranges.publish()
    low, high, scale, zero_point = (float(value) for value in ranges.read()[fixed.row])
    assert (low, scale, zero_point) == (0, np.float32(0.05), -128)
    assert high == np.float32(SPECS[0].highest_value)
