"""The numbers of the ranges: unions over ties, seams, and what a seam cannot hold."""

import keras
import pytest

from quantize.aware.backend import AwareNode
from quantize.aware.tfmot.clone import read_nodes
from quantize.aware.tfmot.placement import place
from quantize.aware.tfmot.ranges import find_seams, int8_sides, settle
from quantize.tensor_spec import TensorSpec

K = keras.layers
SHAPE = (4, 4, 2)
SPEC = TensorSpec((1, *SHAPE), "int8", 4 / 255, -64)


def pooled():
    source = keras.Input(SHAPE)
    return keras.Model(source, K.Conv2D(2, 1)(K.MaxPooling2D(1)(source)))


def joined():
    source = keras.Input(SHAPE)
    mixed = K.Concatenate()([source, K.Conv2D(2, 1)(source)])
    return keras.Model(source, K.Conv2D(2, 1)(mixed))


def settled(nodes, paths, seen):
    """Ranges by node and tensor kind, from what was seen by the same names."""
    seams = find_seams(nodes, paths)
    sides = int8_sides(nodes, seams)
    placement = place(
        read_nodes(nodes),
        [name for name, node in nodes.items() if node.fake_quantized],
        [name for name, side in sides if side == "input"],
        [name for name, side in sides if side == "output"],
    )
    names = {
        point.name: f"{node}/{point.name.rpartition('_')[2]}"
        for node, tensors in placement.nodes.items()
        for point in tensors.points.values()
    }
    found = settle(seams, placement, {n: seen[names[n]] for n in names if names[n] in seen})
    return {names[name]: value for name, value in found.items()}


def test_a_free_seam_is_the_union_of_the_nodes_before_it() -> None:
    nodes = {name: AwareNode(name, pooled()) for name in ("a", "b", "c")}
    seen = {"a/output": (-1.0, 2.0), "b/output": (-3.0, 1.0), "c/output": (0.0, 9.0)}
    seen |= {f"{name}/input": (-0.5, 0.5) for name in ("a", "b")}
    found = settled(nodes, [("a", "c"), ("b", "c")], seen)
    assert found["a/output"] == found["b/output"] == found["c/input"] == (-3.0, 2.0)
    assert found["c/output"] == (0.0, 9.0)
    assert found["a/input"] == (-0.5, 0.5)


def test_a_fixed_seam_is_what_its_spec_says() -> None:
    nodes = {"a": AwareNode("a", pooled(), output=SPEC), "b": AwareNode("b", pooled())}
    seen = {"a/input": (0.0, 1.0), "a/output": (-9.0, 9.0), "b/output": (0.0, 1.0)}
    found = settled(nodes, [("a", "b")], seen)
    assert found["a/output"] == found["b/input"] == (SPEC.lowest_value, SPEC.highest_value)


def test_what_is_tied_to_a_fixed_input_takes_its_range() -> None:
    nodes = {"a": AwareNode("a", joined(), input=SPEC)}
    seen = {"a/input": (-0.5, 1.0), "a/1": (-0.9, 2.0), "a/2": (-0.9, 2.0), "a/output": (0, 1.0)}
    found = settled(nodes, [("a",)], seen)
    assert set(found.values()) == {(SPEC.lowest_value, SPEC.highest_value), (0.0, 1.0)}


def test_what_a_fixed_input_cannot_hold_keeps_its_own_range() -> None:
    nodes = {"a": AwareNode("a", joined(), input=SPEC)}
    seen = {"a/input": (-0.5, 1.0), "a/1": (-9.0, 2.0), "a/2": (-9.0, 2.0), "a/output": (0, 1.0)}
    found = settled(nodes, [("a",)], seen)
    assert found["a/input"] == (SPEC.lowest_value, SPEC.highest_value)
    assert found["a/1"] == found["a/2"] == (-9.0, 2.0)


@pytest.mark.parametrize(
    ("quantized", "spec", "expected"),
    [
        (True, None, {("a", "input"), ("a", "output")}),
        (False, None, set()),
        (False, SPEC, {("a", "input")}),
    ],
)
def test_which_ends_are_int8(quantized, spec, expected) -> None:
    nodes = {"a": AwareNode("a", pooled(), input=spec, fake_quantized=quantized)}
    assert int8_sides(nodes, find_seams(nodes, [("a",)])) == expected
