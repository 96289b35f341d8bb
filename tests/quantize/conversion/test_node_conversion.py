"""The order of work, with a converter that only notes what it is asked."""

import numpy as np
import pytest

from quantize.calibration import CalibrationError
from quantize.conversion.freezing import FrozenNode
from quantize.conversion.node_conversion import NodeConversion
from quantize.conversion.pinning import node_specs, spec_of_range
from quantize.seam import SeamError

SHAPE = (1, 4, 4, 2)
RANGES = {"t": (0, 1), "m": (0, 2), "n": (-1, 1), "o": (0, 4), "a": (-8, 8), "b": (-9, 9)}


class Notes:
    """A converter's and the activations' stand-in: every node is one MAX_POOL or CONV_2D."""

    def __init__(self, new_writer, ranges=RANGES):
        self.new_writer = new_writer
        self.ranges = ranges
        self.calibrated_behind = {}
        self.lines = []
        self.fed = []

    def add(self, node, data):
        self.fed.append(node)

    def inputs(self, node):
        self.calibrated_behind.setdefault(node, []).append(tuple(self.fed))
        return np.zeros((2, *SHAPE[1:]), np.float32)

    def output_shape(self, node):
        return SHAPE

    def calibrate(self, node, samples):
        writer = self.new_writer()
        ends = [writer.tensor(SHAPE, "FLOAT32") for _ in range(2)]
        for end, (low, high) in zip(ends, [(-1, 1), self.ranges[node.name]], strict=True):
            quantization = writer.graph.tensors[end].quantization
            quantization.min, quantization.max = [low], [high]
        writer.operator("RELU", [ends[0]], [ends[1]])
        return writer.bytes([ends[0]], [ends[1]])

    def quantize(self, node, calibrated):
        from quantize.flatbuffer import unpack

        tensors = unpack(calibrated).subgraphs[0].tensors
        writer = self.new_writer()
        ends = []
        for tensor in tensors:
            spec = spec_of_range(tensor.quantization.min[0], tensor.quantization.max[0], SHAPE)
            ends.append(writer.tensor(SHAPE, "INT8", spec.scale, spec.zero_point))
        writer.operator("RELU", [ends[0]], [ends[1]])
        return writer.bytes([ends[0]], [ends[1]])


def run(new_writer, paths, kept=None, ranges=RANGES):
    paths = {task: tuple(names.split()) for task, names in paths.items()}
    notes = Notes(new_writer, ranges)
    nodes = dict.fromkeys(name for path in paths.values() for name in path)
    frozen = {n: FrozenNode(n, b"", SHAPE, {}, {}, "") for n in nodes if n not in (kept or {})}
    conversion = NodeConversion(frozen, paths, notes, notes, kept, notes.lines.append)
    return notes, conversion.run()


def output(data, name):
    return node_specs(data[name])[1]


def test_every_node_is_calibrated_behind_converted_ones(new_writer):
    notes, data = run(new_writer, {"A": "t m a", "B": "t m b"})
    assert set(data) == {"t", "m", "a", "b"}
    assert notes.calibrated_behind == {
        "t": [()],
        "m": [("t",)],
        "a": [("t", "m")],
        "b": [("t", "m")],
    }
    assert output(data, "t") == spec_of_range(0, 1, SHAPE) == node_specs(data["m"])[0]


def test_a_seam_of_several_producers_waits_for_all_of_them(new_writer):
    notes, data = run(new_writer, {"A": "t m o a", "B": "t n o b"})
    assert "seam of 'm', 'n': range -1 to 2" in notes.lines
    assert output(data, "m") == output(data, "n") == spec_of_range(-1, 2, SHAPE)
    assert notes.calibrated_behind["o"] == [("t", "m", "n")]


def test_a_circle_is_opened_and_its_nodes_calibrated_again_behind_real_ones(new_writer):
    notes, data = run(new_writer, {"A": "t m n a", "B": "t n b"})
    assert "seam of 't', 'm': range 0 to 2" in notes.lines
    assert notes.calibrated_behind["m"] == [(), ("t",)]
    assert notes.calibrated_behind["n"] == [("t", "m")]
    assert output(data, "t") == output(data, "m") == node_specs(data["n"])[0]


def test_opposite_orders_end(new_writer):
    notes, data = run(new_writer, {"A": "t m n a", "B": "t n m b"})
    assert len({output(data, name) for name in "tmn"}) == 1
    assert output(data, "t") == spec_of_range(-1, 2, SHAPE)
    assert len(notes.calibrated_behind["m"]) == 2


def test_kept_nodes_are_neither_calibrated_nor_converted(new_writer):
    _, before = run(new_writer, {"A": "t m a"})
    kept = {name: before[name] for name in ("t", "m")}
    notes, data = run(new_writer, {"A": "t m a", "B": "t m b"}, kept)
    assert set(notes.calibrated_behind) == {"a", "b"}
    assert {name: data[name] for name in kept} == kept
    assert node_specs(data["b"])[0] == output(before, "m")


def test_a_new_node_before_a_kept_one_gets_its_range(new_writer):
    _, before = run(new_writer, {"A": "t m a"})
    _, data = run(new_writer, {"A": "t m a", "B": "t n a"}, before)
    assert output(data, "n") == node_specs(before["a"])[0] == output(before, "m")


def test_kept_nodes_that_contradict_each_other_are_told(new_writer):
    _, one = run(new_writer, {"A": "t m a"})
    with pytest.raises(SeamError, match=r"`base` must give seam 't_output' one scale.* at 'm'"):
        run(new_writer, {"A": "t m a", "B": "t a"}, one)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ((0, 0), "Node 'm' must give outputs that vary, received 0 for every sample. It is dead"),
        ((0, float("inf")), "Node 'm' must give finite numbers, received outputs from 0.0 to inf"),
        ((float("nan"), 1), "Node 'm' must give finite numbers"),
    ],
)
def test_a_dead_or_overflowing_node_is_told(new_writer, found, message):
    with pytest.raises(CalibrationError, match=message):
        run(new_writer, {"A": "t m a"}, ranges=RANGES | {"m": found})
