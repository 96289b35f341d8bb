"""The bundle as a value: its parts, its paths, its selection."""

import numpy as np
import pytest

from quantize.bundle import InputNormalization, Seam


def test_contract_is_the_text_that_the_documentation_states():
    seam = Seam("s", (1, 8, 8, 16), float(np.float32(0.05)), -128, ("trunk",), ("leaf",))
    assert seam.contract == "int8;1,8,8,16;3d4ccccd;-128"
    assert len(seam.contract_sha256) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (1, 8, 16, 8)},
        {"scale": float(np.nextafter(np.float32(0.05), 1))},
        {"zero_point": 3},
    ],
)
def test_contract_changes_with_shape_scale_and_zero_point(change):
    fields = {
        "name": "s",
        "shape": (1, 8, 8, 16),
        "scale": float(np.float32(0.05)),
        "zero_point": -128,
    }
    before = Seam(**fields, producers=("a",), consumers=("b",))
    after = Seam(**fields | change, producers=("a",), consumers=("b",))
    assert before.contract_sha256 != after.contract_sha256


def test_contract_does_not_depend_on_the_names_of_nodes():
    first = Seam("s", (1, 4), 0.5, 0, ("a",), ("b",))
    second = Seam("t", (1, 4), 0.5, 0, ("c",), ("d", "e"))
    assert first.contract_sha256 == second.contract_sha256


def test_normalization_scales_then_shifts():
    pixels = np.array([0, 128, 255], np.uint8)
    network_input = InputNormalization(1 / 127.5, -1.0).apply(pixels)
    assert network_input.dtype == np.float32
    np.testing.assert_allclose(network_input, [-1, 128 / 127.5 - 1, 1], atol=1e-6)
