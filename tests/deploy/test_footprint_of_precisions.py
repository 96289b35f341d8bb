"""What nodes of other precisions than int8 cost: kernels by form, decoded weights, kernel sets."""

import pytest
from made_forms import stored, with_int4, with_int16, with_tables

from deploy.board import load_board
from deploy.budget import BudgetError, Check, check
from deploy.footprint import Footprint, footprint, node_arena
from deploy.footprint.cores import CoreError
from deploy.footprint.ram import recorded_arena_bytes, simulated_reference_bytes
from deploy.footprint.registrations import registered_operators
from deploy.footprint.rom import runtime_rom
from quantize.flatbuffer import anatomy, read_graph
from quantize.interpreter import record_arena
from quantize.precision.editing import GraphEdit

NANO = load_board("nano33ble")


def arena_parts(found: Footprint) -> dict[str, int]:
    words = ("activations", "decoded weights")
    return {name: size for name, size in found.ram_parts.items() if name.startswith(words)}


def test_decoded_weights_are_a_cause_of_their_own(device_bundle) -> None:
    bundle = stored(device_bundle, digit=with_tables)
    found = footprint(bundle, NANO, ("digit",))
    heads = {
        name: node_arena(bundle.nodes[name].data, NANO.core, found.kernels).head_bytes
        for name in ("trunk", "digit")
    }
    plain = footprint(device_bundle, NANO, ("digit",))
    assert heads["digit"] > heads["trunk"]
    assert arena_parts(found) == {
        **arena_parts(plain),
        "decoded weights (digit)": heads["digit"] - heads["trunk"],
    }
    assert list(arena_parts(plain)) == ["activations (trunk)"]
    # What is kept: an operator, and two tensors more.
    kept = found.ram_parts["kept by the nodes"] - plain.ram_parts["kept by the nodes"]
    assert 48 <= kept <= 64
    resolver = found.ram_parts["operator resolver"] - plain.ram_parts["operator resolver"]
    assert resolver == 36


def test_the_decoder_is_linked_once(device_bundle) -> None:
    one = footprint(stored(device_bundle, digit=with_tables), NANO)
    assert "TFLM_DECODE" in one.runtime.by_operator
    assert one.runtime.by_operator["TFLM_DECODE"] == 692
    plain = footprint(device_bundle, NANO)
    assert "TFLM_DECODE" not in plain.runtime.by_operator
    saved = plain.model_rom_bytes - one.model_rom_bytes
    assert plain.rom_bytes - one.rom_bytes == saved - (
        one.runtime.rom_bytes - plain.runtime.rom_bytes
    )


@pytest.mark.parametrize(
    ("form", "kernel"), [(with_int4, "CONV_2D:INT4"), (with_int16, "CONV_2D:INT16")]
)
def test_kernels_are_linked_by_form(device_bundle, form, kernel) -> None:
    bundle = stored(device_bundle, trunk=form)
    found = footprint(bundle, NANO)
    assert found.kernels == "cmsis-nn-int8"
    assert kernel in found.runtime.by_operator
    names = registered_operators(read_graph(node.data) for node in bundle.nodes.values())
    assert found.runtime == runtime_rom(names, NANO.core, "cmsis-nn-int8")
    # An operator in several forms has one entry of the resolver.
    plain = footprint(device_bundle, NANO)
    assert found.ram_parts["operator resolver"] == plain.ram_parts["operator resolver"]


def test_a_compiler_s_error_is_a_note(device_bundle) -> None:
    bundle = stored(device_bundle, trunk=with_int4)
    vector = footprint(bundle, load_board("corstone-300-fvp"))
    assert any("came out wrong on an emulated vector unit" in note for note in vector.notes)
    assert not any("vector unit" in note for note in footprint(bundle, NANO).notes)


@pytest.mark.parametrize(("name", "form"), [("trunk", with_int4), ("digit", with_int16)])
def test_a_task_without_a_time_leaves_none_the_slowest(device_bundle, name, form) -> None:
    """It may be the slowest one, so that no limit is met; what the note says."""
    bundle = stored(device_bundle, **{name: form})
    found = footprint(bundle, NANO)
    assert (found.slowest_task, found.has_times) == (None, name == "digit")
    assert [note for note in found.notes if note.startswith(f"no time of what runs {name}: ")]
    assert check(bundle, [Check("nano", NANO)]).verdicts[0].time is None
    with pytest.raises(BudgetError, match=f"none for the precision of {name} with cmsis-nn-int8"):
        check(bundle, [Check("nano", NANO, latency_limit_us=1e6)])


def test_int8_nodes_have_a_time_or_a_core_that_has_none(device_bundle) -> None:
    assert footprint(device_bundle, NANO).slowest_task is not None
    wide = stored(device_bundle, digit=with_int16)
    pico = footprint(wide, load_board("pico"))
    assert (pico.has_times, [note for note in pico.notes if "no time" in note]) == (False, [])


def with_narrow_biases(data: bytes) -> bytes:
    """int16 activations with biases of int32, which CMSIS-NN reads as int64."""
    graph = GraphEdit.open(with_int16(data))
    for operator in graph.operators:
        if graph.name(operator) == "FULLY_CONNECTED":
            bias = operator.numbers("inputs")[2]
            codes = graph.constant(bias, "<i8").astype("<i4")
            graph.set_constant(bias, "INT32", codes.tobytes())
    return graph.encode()


def test_a_kernel_set_that_does_not_run_a_node_is_refused(device_bundle) -> None:
    bundle = stored(device_bundle, digit=with_narrow_biases)
    found = footprint(bundle, NANO)
    assert found.kernels == "reference"
    assert found.notes[0].startswith("reference kernels: CMSIS-NN reads the int32 biases")
    with pytest.raises(CoreError, match=r"FULLY_CONNECTED, of 'digit'. Set `kernels`"):
        footprint(bundle, NANO, kernels="cmsis-nn")
    assert footprint(bundle, NANO, ("angle",)).kernels == "cmsis-nn-int8"


@pytest.mark.parametrize(
    ("name", "form"),
    [("digit", with_tables), ("trunk", with_int4), ("trunk", with_int16), ("angle", with_int16)],
)
def test_the_host_records_what_is_simulated(device_bundle, name, form) -> None:
    data = form(device_bundle.nodes[name].data)
    recording = record_arena(data)
    if recording is None:
        pytest.skip("tflite_micro is not installed here")
    recorded, simulated = recorded_arena_bytes(data, recording), simulated_reference_bytes(data)
    assert recorded is not None
    assert simulated is not None
    assert abs(recorded - simulated) <= 32


def test_tables_are_told_apart_in_a_flatbuffer(device_bundle) -> None:
    data = with_tables(device_bundle.nodes["digit"].data)
    sizes = anatomy(data)
    assert sum(sizes.values()) == len(data)
    # Weights of one scale have one table: a header of 16 bytes and 16 values.
    assert sizes["lookup tables"] == 16 + 16
    assert sizes["weights"] == 5 * 128 // 2
    assert "lookup tables" not in anatomy(device_bundle.nodes["digit"].data)
