"""Features of deployed nodes: what their flatbuffers give, run once."""

import numpy as np
import pytest

from quantize.aware import features
from quantize.aware.features import run_prefixes, untrained_prefix
from quantize.interpreter import run_path


def draw(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 8, 8, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("trained", "prefix"),
    [(["trunk"], ()), (["mid", "angle"], ("trunk",)), (["angle"], ("trunk", "mid"))],
)
def test_the_prefix_ends_before_the_first_trained_node(trained, prefix):
    assert untrained_prefix(("trunk", "mid", "angle"), trained) == prefix


def test_features_are_the_chain_s_codes(small_bundle):
    nodes, x = small_bundle.nodes, draw(5)
    found = run_prefixes({"angle": x}, {"angle": ("trunk", "mid")}, nodes)["angle"]
    codes = nodes["trunk"].input.quantize(x)
    expected = run_path([nodes["trunk"].data, nodes["mid"].data], codes)
    np.testing.assert_array_equal(found.values, expected)
    assert found.values.dtype == np.int8
    np.testing.assert_array_equal(
        found.at(slice(1, 3)), nodes["mid"].output.dequantize(expected[1:3])
    )


def test_without_nodes_in_front_the_inputs_themselves(small_bundle):
    x = draw(5).astype(np.float64)
    found = run_prefixes({"digit": x}, {"digit": ()}, small_bundle.nodes)["digit"]
    assert found.values is x
    assert found.at(np.array([4, 0])).dtype == np.float32
    np.testing.assert_array_equal(found.at(np.array([4, 0])), x[[4, 0]].astype(np.float32))


def test_tasks_of_the_same_inputs_share_a_run(small_bundle, monkeypatch):
    opened = []
    real = features.open_interpreter
    monkeypatch.setattr(
        features, "open_interpreter", lambda data: opened.append(data) or real(data)
    )
    x = draw(4)
    prefixes = {"digit": ("trunk",), "angle": ("trunk", "mid")}
    run_prefixes({"digit": x, "angle": x}, prefixes, small_bundle.nodes)
    assert opened == [small_bundle.nodes["trunk"].data, small_bundle.nodes["mid"].data]
    run_prefixes({"digit": x, "angle": draw(4, 1)}, prefixes, small_bundle.nodes)
    assert len(opened) == 5
