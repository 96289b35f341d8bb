"""Lookup tables that cost more than they save, and weights that could be tables."""

import numpy as np
import pytest
from made_forms import few_valued, recorded, with_tables, with_wide_tables

from deploy.board import load_board
from deploy.footprint import footprint
from deploy.lint.kernel_code import freed_bytes
from quantize.precision.decoding import decoded
from quantize.precision.editing import GraphEdit
from quantize.strip import strip

NANO = load_board("nano33ble")


@pytest.fixture(scope="module")
def dense_of(made):
    """A dense layer of `units` over `length` inputs."""

    def make(length: int, units: int, seed: int = 1) -> bytes:
        writer = made.FlatbufferWriter()
        first = writer.tensor((1, length), "INT8", 0.1, 0)
        last = made.dense(writer, first, length, units, 0.1, 0, seed)
        return strip(writer.bytes([first], [last]))

    return make


@pytest.fixture(scope="module")
def network_of(made):
    """A large image, and a convolution of many weights where it has become small."""

    def make(channels: int, seed: int = 1) -> bytes:
        writer = made.FlatbufferWriter()
        first = writer.tensor((1, 96, 96, 8), "INT8", 0.1, -128)
        small = made.convolution(writer, first, (1, 96, 96, 8), channels, 0.1, seed, stride=8)
        last = made.convolution(writer, small, (1, 12, 12, channels), channels, 0.1, seed + 10)
        return strip(writer.bytes([first], [last]))

    return make


def costs(bundle, board=NANO, kernels=None):
    found = footprint(bundle, board, None, kernels)
    return found.rom_bytes, found.ram_bytes, found


def test_a_small_node_saves_less_than_the_decoder_takes(dense_of, bundle_of, findings_of):
    data = with_tables(dense_of(32, 32))
    bundle = bundle_of({"digit": data})
    (finding,) = findings_of(bundle, "costly-compression")
    rom, ram, found = costs(bundle)
    plain_rom, plain_ram, _ = costs(bundle_of({"digit": decoded(data)}))
    assert finding.saved_bytes == rom - plain_rom > 0
    assert (finding.where, finding.memory, finding.board) == (("digit",), "ROM", "nano33ble")
    saved = len(decoded(data)) - len(data)
    assert freed_bytes(bundle, found, ("TFLM_DECODE",)) == finding.saved_bytes + saved
    assert finding.text.startswith(f"the lookup tables of digit save {saved:,} B, the code that ")
    assert finding.text.endswith(f"decoding takes {ram - plain_ram:,} B of RAM")
    assert "the plain-C runtime unpacks a block of them at a time" in finding.advice
    assert findings_of(bundle, "possible-compression") == []


def test_weights_that_outweigh_all_activations_cost_ram(dense_of, bundle_of, findings_of):
    """The flash that is saved is less than the RAM into which the weights are decoded."""
    bundle = bundle_of({"digit": with_tables(dense_of(400, 100))})
    (finding,) = findings_of(bundle, "costly-compression")
    assert finding.memory == "RAM"
    assert 400 * 100 < finding.saved_bytes < 400 * 100 + 512
    # The same weights as int8 are not worth tables either.
    plain = bundle_of({"digit": few_valued(dense_of(400, 100))})
    assert findings_of(plain, "possible-compression") == []


def test_tables_that_pay_are_left_alone_and_advised(network_of, bundle_of, findings_of):
    flatbuffers = {name: network_of(64, seed) for seed, name in enumerate(("one", "two"))}
    stored = bundle_of({name: with_tables(data) for name, data in flatbuffers.items()})
    assert findings_of(stored, "costly-compression") == []
    plain = bundle_of({name: few_valued(data) for name, data in flatbuffers.items()})
    (finding,) = findings_of(plain, "possible-compression")
    assert finding.saved_bytes == costs(plain)[0] - costs(stored)[0]
    assert finding.where == ("one", "two")
    assert finding.text.startswith("weights of one and two have at most 16 values per channel")
    assert 'precision "lut4": every output stays the same' in finding.advice
    # Once the decoder is linked, each further node saves all of its bytes.
    mixed = bundle_of(
        {"one": with_tables(flatbuffers["one"]), "two": few_valued(flatbuffers["two"])}
    )
    (further,) = findings_of(mixed, "possible-compression")
    assert further.where == ("two",)
    assert "of code" not in further.text
    assert further.saved_bytes > finding.saved_bytes / 2


@pytest.mark.parametrize(("values", "precision"), [(8, "lut3"), (4, "lut2"), (2, "lut2")])
def test_the_fewest_bits_are_advised(network_of, bundle_of, findings_of, values, precision):
    bundle = bundle_of({"trunk": few_valued(network_of(64), values)})
    (finding,) = findings_of(bundle, "possible-compression")
    assert f'precision "{precision}"' in finding.advice


def test_weights_that_fewer_bits_would_change_are_told(made, bundle_of, findings_of):
    """Tables of 16 values are no gain for short filters, and tables of 4 values would be."""
    writer = made.FlatbufferWriter()
    first = writer.tensor((1, 96, 96, 4), "INT8", 0.1, -128)
    small = made.convolution(writer, first, (1, 96, 96, 4), 32, 0.1, 1, stride=8)
    last = made.convolution(writer, small, (1, 12, 12, 32), 64, 0.1, 2)
    data = writer.bytes([first], [last])
    graph, other = GraphEdit.open(few_valued(data, 4)), GraphEdit.open(few_valued(data, 16))
    weights = graph.operators[0].numbers("inputs")[1]
    advised = findings_of(bundle_of({"trunk": graph.encode()}), "possible-compression")
    assert 'precision "lut2": every output stays the same' in advised[0].advice
    graph.set_constant(weights, "INT8", other.constant(weights, np.int8).tobytes())
    (finding,) = findings_of(bundle_of({"trunk": strip(graph.encode())}), "possible-compression")
    assert 'precision "lut2": these weights keep their values, the others' in finding.advice


def test_usual_weights_are_not_advised(network_of, public_models, bundle_of, findings_of):
    bundle = bundle_of({"trunk": network_of(64), **public_models})
    assert findings_of(bundle, "possible-compression") == []
    assert findings_of(bundle, "costly-compression") == []


def test_one_node_that_grows_by_its_tables(network_of, dense_of, bundle_of, findings_of):
    """Beside nodes that pay for the decoder, a node whose tables are larger than its weights."""
    grown = with_wide_tables(with_tables(dense_of(64, 32)))
    flatbuffers = {"trunk": with_tables(network_of(80)), "digit": grown}
    (finding,) = findings_of(bundle_of(flatbuffers), "costly-compression")
    assert finding.where == ("digit",)
    assert finding.saved_bytes == len(strip(grown)) - len(strip(decoded(grown))) > 0
    assert "larger with lookup tables than without" in finding.text


@pytest.mark.parametrize("form", [with_tables, few_valued])
def test_a_node_known_from_a_recording_alone_has_no_finding(
    form, network_of, bundle_of, findings_of
):
    """What was recorded of a node says nothing of the same node in another form."""
    bundle = recorded(bundle_of({"trunk": form(network_of(64))}), "trunk")
    assert "recorded" in footprint(bundle, NANO).nodes["trunk"].arena.basis
    assert findings_of(bundle, "costly-compression") == []
    assert findings_of(bundle, "possible-compression") == []
