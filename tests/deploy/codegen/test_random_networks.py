"""Random networks of all operators, against TensorFlow Lite Micro bit for bit."""

import numpy as np
import pytest

from deploy.codegen.lowering.node import LOWERINGS
from quantize.flatbuffer import read_graph
from quantize.interpreter import open_interpreter

SEEDS = range(80)


@pytest.fixture(scope="module")
def random_network(networks, flatbuffer_writer):
    def make(seed: int) -> bytes:
        return networks.random_network(flatbuffer_writer(), seed)

    return make


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_to_tflm(seed, random_network, lone_bundle, assert_equal_to_tflm):
    assert_equal_to_tflm(lone_bundle(random_network(seed)), count=20, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_equal_to_tflm_on_a_thousand_inputs(
    seed, random_network, lone_bundle, assert_equal_to_tflm
):
    assert_equal_to_tflm(lone_bundle(random_network(seed)), count=1000, seed=1000 + seed)


def test_every_operator_is_in_some_network(random_network):
    found = set().union(*(read_graph(random_network(seed)).operator_names for seed in SEEDS))
    assert found == set(LOWERINGS)


def test_fifty_networks_and_more_tell_inputs_apart(random_network):
    varying = 0
    for seed in SEEDS:
        interpreter = open_interpreter(random_network(seed), "tflm")
        codes = np.random.default_rng(seed).integers(-128, 128, (4, *interpreter.input.shape[1:]))
        outputs = interpreter.run(codes.astype(np.int8))
        varying += len(np.unique(outputs.reshape(4, -1), axis=0)) > 1
    assert varying >= 50
