"""Samples are checked before they are used, and every node is fed with what the device feeds it."""

import numpy as np
import pytest

from quantize.calibration import Activations, CalibrationError, choose_samples, run_float
from quantize.interpreter import open_interpreter, run_path

SHAPE = (4, 4, 1)


def draw(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32)


def choose(array, limit=500):
    return choose_samples({"digit": array}, ["digit"], SHAPE, limit)["digit"]


def test_all_samples_are_used_up_to_the_limit():
    samples = draw(20)
    np.testing.assert_array_equal(choose(samples), samples)
    np.testing.assert_array_equal(choose(samples, 20), samples)


def test_above_the_limit_they_are_evenly_spaced():
    samples = np.arange(101, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones(SHAPE, np.float32)
    assert choose(samples, 5)[:, 0, 0, 0].tolist() == [0, 25, 50, 75, 100]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_floats_become_float32(dtype):
    assert choose(draw(3).astype(dtype)).dtype == np.float32


def test_lists_are_taken():
    assert choose(draw(3).tolist()).shape == (3, *SHAPE)


def test_tasks_come_in_the_order_of_the_tree():
    samples = {"b": draw(3), "a": draw(4), "auxiliary": draw(5)}
    assert list(choose_samples(samples, ["a", "b"], SHAPE)) == ["a", "b"]


def one_not_finite(value):
    samples = draw(5)
    samples[3, 0, 0, 0] = value
    return samples


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (draw(0), r"with n at least 2, received none"),
        (draw(5)[..., 0], r"floats of shape \(n, 4, 4, 1\), received shape \(5, 4, 4\)"),
        (np.float32(3.0), r"received shape \(\)"),
        (draw(5).reshape(5, 16), r"received shape \(5, 16\)"),
        ((draw(5) * 100).astype(np.uint8), r"as the network receives them; received uint8"),
        (draw(5) > 0, r"received bool"),
        (np.array(["a", "b"]), r"received <U1"),
        (draw(5).astype(complex), r"received complex128"),
        (one_not_finite(np.nan), r"without NaN or infinity; received 1 sample\(s\).* first at 3"),
        (one_not_finite(np.inf), r"without NaN or infinity"),
        (
            np.full((8, *SHAPE), 0.5, np.float32),
            r"varied samples, .*received 8 of one constant value",
        ),
        (np.zeros((8, *SHAPE), np.float32), r"from 0 to 0.*some 100 to 500 real training inputs"),
        (np.repeat(draw(1), 8, axis=0), r"at least 2 that differ; received 8 of one value"),
        (draw(1), r"received 1 of one value"),
    ],
)
def test_samples_that_cannot_calibrate(samples, message):
    with pytest.raises(CalibrationError, match=message) as caught:
        choose(samples)
    assert "`samples['digit']`" in str(caught.value)


def test_a_missing_task_is_told():
    with pytest.raises(CalibrationError, match=r"every shipped task; received none of 'b', only"):
        choose_samples({"a": draw(3)}, ["a", "b"], SHAPE)
    with pytest.raises(CalibrationError, match=r"every shipped task; received none\. Add"):
        choose_samples({}, ["a"], SHAPE)


# The nodes below are hand-made flatbuffers (conftest.py); where a float node is needed, a function.

PATHS = {"digit": ("trunk", "digit"), "angle": ("trunk", "mid", "angle")}
INPUT = (8, 8, 1)


def pictures(count, seed):
    return np.random.default_rng(seed).uniform(-2, 2, (count, *INPUT)).astype(np.float32)


@pytest.fixture
def samples():
    return {"digit": pictures(5, 1), "angle": pictures(3, 2)}


def test_the_trunk_is_fed_with_the_union_of_the_tasks_samples(samples):
    activations = Activations({}, PATHS, samples)
    np.testing.assert_array_equal(
        activations.inputs("trunk"), np.concatenate([samples["digit"], samples["angle"]])
    )


def test_a_later_node_is_fed_with_real_int8_outputs(small_bundle, samples):
    activations = Activations({}, PATHS, samples)
    data = {name: node.data for name, node in small_bundle.nodes.items()}
    trunk, mid = (open_interpreter(data[name]) for name in ("trunk", "mid"))
    activations.add("trunk", data["trunk"])
    codes = trunk.run(trunk.input.quantize(samples["angle"]))
    np.testing.assert_array_equal(activations.inputs("mid"), trunk.output.dequantize(codes))
    activations.add("mid", data["mid"])
    chain = run_path([data["trunk"], data["mid"]], trunk.input.quantize(samples["angle"]))
    np.testing.assert_array_equal(activations.inputs("angle"), mid.output.dequantize(chain))


def test_a_shared_node_is_fed_over_all_its_paths(small_bundle, samples):
    paths = {"digit": ("trunk", "mid"), "angle": ("trunk", "mid", "angle")}
    activations = Activations({}, paths, samples)
    activations.add("trunk", small_bundle.nodes["trunk"].data)
    assert activations.inputs("mid").shape == (8, 4, 4, 8)


def test_equal_samples_of_two_tasks_are_run_once(small_bundle, samples):
    same = {"digit": samples["digit"], "angle": samples["digit"].copy()}
    activations = Activations({}, PATHS, same)
    assert len(activations.inputs("trunk")) == 5


def test_behind_a_node_that_is_not_converted_the_float_node_continues(small_bundle, samples):
    import keras

    inputs = keras.Input((4, 4, 8))
    mid = keras.Model(inputs, keras.layers.Conv2D(4, 1)(inputs))
    activations = Activations({"mid": mid}, PATHS, samples)
    activations.add("trunk", small_bundle.nodes["trunk"].data)
    trunk = open_interpreter(small_bundle.nodes["trunk"].data)
    features = trunk.output.dequantize(trunk.run(trunk.input.quantize(samples["angle"])))
    np.testing.assert_array_equal(activations.inputs("angle"), run_float(mid, features))


def test_float_nodes_run_in_inference_mode_in_batches():
    import keras

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dropout(0.9)(inputs))
    values = np.arange(600, dtype=np.float32).reshape(200, 3)
    np.testing.assert_array_equal(run_float(model, values), values)
