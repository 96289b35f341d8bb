"""Operators that together are a function of one code become one table, over all 256 codes."""

import numpy as np
import pytest

from deploy.codegen.constants import ConstantStore
from deploy.codegen.lowering.node import lower_node

SHAPE = (1, 4, 8, 8)
ALL_CODES = np.arange(-128, 128, dtype=np.int8).reshape(SHAPE)


class Chain:
    """A flatbuffer of operators on the input of 256 codes."""

    def __init__(self, writer, seed: int = 0) -> None:
        self.writer = writer
        self.random = np.random.default_rng(seed)
        self.input = self.tensor()

    def tensor(self, scale=None, zero_point=None) -> int:
        scale = float(self.random.uniform(0.01, 0.1)) if scale is None else scale
        if zero_point is None:
            zero_point = int(self.random.integers(-128, 128))
        return self.writer.tensor(SHAPE, "INT8", scale, zero_point)

    def scalar(self, shape=()) -> int:
        code = np.full(shape, self.random.integers(-128, 128), np.int8)
        scale, zero_point = float(self.random.uniform(0.01, 0.1)), int(self.random.integers(-9, 9))
        return self.writer.tensor(shape, "INT8", scale, zero_point, code)

    def apply(self, name, inputs, target=None, **fields) -> int:
        target = self.tensor() if target is None else target
        kinds = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "QUANTIZE": "Quantize"}
        kind = kinds.get(name, "MaximumMinimum" if name in ("MAXIMUM", "MINIMUM") else None)
        options = getattr(self.writer.schema, f"{kind}OptionsT")() if kind else None
        for field, value in fields.items():
            setattr(options, field, value)
        self.writer.operator(name, inputs, [target], options)
        return target

    def bytes(self, output) -> bytes:
        return self.writer.bytes([self.input], [output])


def kernels_of(data) -> list[str]:
    steps = lower_node("net", data, ConstantStore(), "portable").steps
    return [call.function for step in steps for call in step.calls]


@pytest.fixture(scope="module")
def assert_table(build, lone_bundle):
    """One lookup, which gives what TFLM gives for each of the 256 codes."""
    from deploy.codegen import compile_bundle

    def check(data, kernels=("kt_lookup",)) -> None:
        bundle = lone_bundle(data)
        assert kernels_of(data) in ([*kernels], ["kt_clamp"], [])
        received = build(compile_bundle(bundle)).run("net", ALL_CODES)
        assert (received.reshape(SHAPE) == bundle.run("net", ALL_CODES, "tflm")).all()

    return check


@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize("seed", range(4))
def test_a_constant_of_one_value(flatbuffer_writer, assert_table, name, seed):
    chain = Chain(flatbuffer_writer(), seed)
    inputs = [chain.input, chain.scalar(((), (8,), SHAPE)[seed % 3])]
    target = None
    fields = {}
    if name in ("ADD", "SUB", "MUL"):
        fields = {"fusedActivationFunction": (0, 1, 2, 3)[seed]}
    else:
        target = chain.tensor()
    assert_table(chain.bytes(chain.apply(name, inputs[:: (-1) ** seed], target, **fields)))


@pytest.mark.parametrize("gate", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("name", ["MUL", "ADD", "SUB"])
def test_a_gate(flatbuffer_writer, assert_table, gate, name):
    chain = Chain(flatbuffer_writer(), 5)
    ends = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}[gate]
    opened = chain.apply(gate, [chain.input], chain.tensor(*ends))
    assert_table(chain.bytes(chain.apply(name, [chain.input, opened])))


def test_a_long_chain(flatbuffer_writer, assert_table):
    chain = Chain(flatbuffer_writer(), 2)
    one = chain.apply("QUANTIZE", [chain.input], chain.tensor(0.07, -20))
    two = chain.apply("RELU", [one], chain.tensor(0.05, -128))
    three = chain.apply("ADD", [two, chain.scalar()], chain.tensor(0.09, -60))
    four = chain.apply("MUL", [three, one], chain.tensor(0.2, -10))
    assert_table(chain.bytes(chain.apply("SUB", [four, two], chain.tensor(0.3, 0))))


def test_an_input_twice(flatbuffer_writer, assert_table):
    chain = Chain(flatbuffer_writer(), 1)
    assert_table(chain.bytes(chain.apply("MUL", [chain.input, chain.input], chain.tensor(0.3, -9))))


@pytest.mark.parametrize("slope", [-128, -3, 0, 40, 127])
def test_prelu_with_one_slope(flatbuffer_writer, assert_table, slope):
    chain = Chain(flatbuffer_writer(), 3)
    alpha = chain.writer.tensor((1, 1, 1), "INT8", 0.01, 5, np.array([slope], np.int8))
    assert_table(chain.bytes(chain.apply("PRELU", [chain.input, alpha], chain.tensor(0.04, -20))))


def test_what_is_read_twice_is_computed_once(flatbuffer_writer, assert_table):
    chain = Chain(flatbuffer_writer(), 4)
    curve = chain.apply("TANH", [chain.input], chain.tensor(1 / 128, 0))
    rows = chain.writer.tensor((8,), "INT8", 0.02, 0, np.arange(8, dtype=np.int8))
    one = chain.apply("ADD", [curve, rows], chain.tensor(0.02, 0))
    two = chain.apply("MUL", [one, curve], chain.tensor(0.02, 0))
    assert_table(chain.bytes(two), ("kt_lookup", "kt_add", "kt_mul"))


def test_few_codes_get_no_table(flatbuffer_writer):
    writer = flatbuffer_writer()
    source, target = (writer.tensor((1, 10), "INT8", 0.1, 0) for _ in range(2))
    one = writer.tensor((), "INT8", 0.1, 0, np.array(5, np.int8))
    writer.operator("ADD", [source, one], [target], writer.schema.AddOptionsT())
    assert kernels_of(writer.bytes([source], [target])) == ["kt_add"]
