"""Footprints of whole bundles: identities of the accounting, RAM by cause, and what is said."""

import dataclasses
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from deploy.board import board_from_table, board_names, load_board
from deploy.footprint import Footprint, footprint, node_arena
from deploy.footprint.cores import CoreError
from deploy.footprint.outside import STACK_ERROR_PERCENT
from deploy.footprint.ram import RamError
from deploy.footprint.rom import RomError
from quantize.bundle import Bundle, BundleError, BundleTask, InputNormalization, Node
from quantize.flatbuffer import pack, read_graph
from quantize.interpreter import ArenaRecording
from quantize.tensor_spec import TensorSpec

NANO = load_board("nano33ble")
OUTSIDE = ("interpreters", "operator resolver", "stack", "globals")
PATHS = {
    "three branches": {task: ("trunk", task) for task in ("digit", "texture", "letter")},
    "a node in the middle": {
        "digit": ("trunk", "middle", "digit"),
        "texture": ("trunk", "middle", "texture"),
        "letter": ("trunk", "letter"),
    },
    # Two paths come to `last` by different nodes: shared, and no common prefix.
    "a shared last node": {
        "digit": ("trunk", "left", "last"),
        "texture": ("trunk", "right", "last"),
    },
    "one task": {"digit": ("trunk", "digit")},
}
# Kernel size, so that nodes differ in bytes and in scratch memory.
KERNELS = {"trunk": 3, "middle": 3, "digit": 5, "texture": 1, "letter": 3, "last": 7}


def quantization(channels: int = 1) -> schema.QuantizationParametersT:
    parameters = schema.QuantizationParametersT()
    parameters.scale, parameters.zeroPoint = [0.5] * channels, [0]
    return parameters


def convolution(kernel: int, code: int = schema.BuiltinOperator.CONV_2D, size: int = 8) -> bytes:
    """A node of one operator on (1, size, size, 4), output of the same shape."""
    shapes = [(1, size, size, 4), (4, kernel, kernel, 4), (4,), (1, size, size, 4)]
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []
    for i, shape in enumerate(shapes):
        tensor = schema.TensorT()
        tensor.shape, tensor.quantization = list(shape), quantization(4 if i in (1, 2) else 1)
        tensor.type = schema.TensorType.INT32 if i == 2 else schema.TensorType.INT8
        if i in (1, 2):
            buffer = schema.BufferT()
            count = math.prod(shape) * (4 if i == 2 else 1)
            buffer.data = (np.arange(count) % 251).astype(np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
    operator, operator_code = schema.OperatorT(), schema.OperatorCodeT()
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    operator.builtinOptions = schema.Conv2DOptionsT()
    operator.builtinOptions.strideH = operator.builtinOptions.strideW = 1
    operator_code.builtinCode = code
    operator_code.deprecatedBuiltinCode = min(code, 127)
    graph.operators, graph.inputs, graph.outputs = [operator], [0], [3]
    model.operatorCodes, model.subgraphs = [operator_code], [graph]
    return pack(model)


def node(name: str, data: bytes | None = None, **fields: object) -> Node:
    data = convolution(KERNELS.get(name, 3)) if data is None else data
    graph = read_graph(data)
    spec = [
        TensorSpec(graph.tensors[i].shape, "int8", 0.5, 0)
        for i in (graph.inputs[0], graph.outputs[0])
    ]
    operators = tuple(sorted(graph.operator_names))
    return Node(name, data, len(data) + 100, 1, 1, *spec, operators, **fields)


def bundle_of(paths: dict[str, tuple[str, ...]], **given: Node) -> Bundle:
    names = dict.fromkeys(name for path in paths.values() for name in path)
    nodes = {name: given.get(name) or node(name) for name in names}
    empty = np.zeros((0, 1), np.int8)
    tasks = {name: BundleTask(name, path, (), empty, empty) for name, path in paths.items()}
    return Bundle("demo", nodes, (), tasks, InputNormalization(), {})


@pytest.fixture(params=PATHS)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return bundle_of(PATHS[request.param])


def assert_accounts_balance(found: Footprint, bundle: Bundle) -> None:
    stored = sum(len(node.data) for node in bundle.nodes.values())
    assert found.model_rom_bytes == stored
    assert found.rom_bytes == stored + found.runtime.core_bytes + found.runtime.kernel_bytes
    assert found.saved_bytes == found.separate_model_bytes - found.model_rom_bytes
    for one in found.nodes.values():
        assert sum(one.share_bytes.values()) == one.rom_bytes
        assert max(one.share_bytes.values()) - min(one.share_bytes.values()) <= 1
    assert sum(task.share_bytes for task in found.tasks.values()) == stored
    for name, task in found.tasks.items():
        assert task.model_rom_bytes == sum(len(bundle.nodes[n].data) for n in task.path)
        assert task.single_model_bytes == task.model_rom_bytes
        assert task.path == bundle.tasks[name].path
    assert found.ram_bytes == sum(found.ram_parts.values())
    assert all(size > 0 for size in found.ram_parts.values())


def test_the_accounts_balance(bundle: Bundle) -> None:
    for board in ("nano33ble", "pico", "corstone-300-fvp", "esp32-s3", "stm32n6570-dk"):
        assert_accounts_balance(footprint(bundle, load_board(board)), bundle)


def test_sharing_saves_the_trunk_once_for_every_task_but_one() -> None:
    bundle = bundle_of(PATHS["three branches"])
    found = footprint(bundle, NANO)
    assert found.saved_bytes == 2 * len(bundle.nodes["trunk"].data)


@pytest.mark.parametrize("name", PATHS)
def test_sharing_saves_each_node_once_for_every_user_but_one(name: str) -> None:
    bundle = bundle_of(PATHS[name])
    users = {n: sum(n in path for path in PATHS[name].values()) for n in bundle.nodes}
    expected = sum((users[n] - 1) * len(one.data) for n, one in bundle.nodes.items())
    assert footprint(bundle, NANO).saved_bytes == expected
    assert (expected == 0) == (name == "one task")


def test_some_tasks_cost_what_they_alone_would(bundle: Bundle) -> None:
    first = next(iter(bundle.tasks))
    found = footprint(bundle, NANO, tasks=[first])
    assert found == footprint(bundle.select([first]), NANO)
    assert list(found.tasks) == [first]
    assert set(found.nodes) == set(bundle.tasks[first].path)
    assert found.saved_bytes == 0
    whole = footprint(bundle, NANO)
    assert found.rom_bytes <= whole.rom_bytes
    assert found.ram_bytes <= whole.ram_bytes
    assert found.tasks[first].arena_bytes == whole.tasks[first].arena_bytes


def test_a_node_that_no_task_runs_is_not_counted() -> None:
    bundle = bundle_of(PATHS["one task"])
    spare = dataclasses.replace(bundle, nodes={**bundle.nodes, "spare": node("spare")})
    assert footprint(spare, NANO) == footprint(bundle, NANO)


def test_one_path_takes_its_largest_head_and_all_its_tails() -> None:
    bundle = bundle_of(PATHS["three branches"])
    found = footprint(bundle, NANO)
    for task in found.tasks.values():
        arenas = [found.nodes[name].arena for name in task.path]
        head = max(arena.head_bytes for arena in arenas)
        tails = arenas[0].tail_bytes + sum(arena.tenant_tail_bytes for arena in arenas[1:])
        assert head + tails <= task.arena_bytes
        planned = max(arena.planning_bytes for arena in arenas) + tails
        assert task.arena_bytes <= max(head + tails, planned) + 16 * len(arenas)


def test_ram_by_cause() -> None:
    bundle = bundle_of(PATHS["three branches"])
    found = footprint(bundle, NANO)
    heads = {name: one.arena.head_bytes for name, one in found.nodes.items()}
    largest = max(heads, key=lambda name: heads[name])
    parts = dict(found.ram_parts)
    assert parts.pop(f"activations ({largest})") == heads[largest]
    assert parts.pop("copy of the output of trunk") == 8 * 8 * 4
    assert parts.pop("interpreters") == 208 * 4
    assert parts.pop("operator resolver") == 12 + 36 * 1
    assert parts.pop("stack") == 1444
    assert parts.pop("globals") == 268
    shared = 116
    kept = sum(one.arena.tenant_tail_bytes for one in found.nodes.values()) + shared
    assert abs(parts.pop("kept by the nodes") - kept) <= 12 * len(heads)
    parts.pop("planning and alignment", None)
    assert not parts


@pytest.mark.parametrize("name", PATHS)
def test_one_path_at_a_time_takes_what_the_largest_task_alone_takes(name: str) -> None:
    bundle = bundle_of(PATHS[name])
    together, one = footprint(bundle, NANO), footprint(bundle, NANO, allocate="one")
    alone = [footprint(bundle, NANO, (task,)) for task in bundle.tasks]
    assert one.one_path_arena_bytes == max(task.arena_bytes for task in together.tasks.values())
    assert one.all_paths_arena_bytes == together.all_paths_arena_bytes
    assert one.all_paths_arena_bytes >= one.one_path_arena_bytes
    assert one.rom_bytes == together.rom_bytes
    # Every path has the same operators here, so the resolver is the same too.
    assert one.ram_bytes == max(single.ram_bytes for single in alone) <= together.ram_bytes
    assert not any(cause.startswith("copy") for cause in one.ram_parts)


@pytest.mark.parametrize(
    ("name", "nodes", "copies"),
    [
        ("three branches", "trunk", 1),
        ("a node in the middle", "trunk and middle", 2),
        ("a shared last node", "trunk", 1),
        ("one task", None, 0),
    ],
)
def test_what_several_nodes_read_is_copied(name: str, nodes: str | None, copies: int) -> None:
    parts = footprint(bundle_of(PATHS[name]), NANO).ram_parts
    copied = {cause: size for cause, size in parts.items() if cause.startswith("copy")}
    expected = {f"copy of the output of {nodes}": copies * 8 * 8 * 4} if nodes else {}
    assert copied == expected


def test_a_board_without_flash_holds_the_program_in_ram() -> None:
    bundle = bundle_of(PATHS["three branches"])
    found = footprint(bundle, load_board("stm32n6570-dk"))
    assert found.ram_parts["the program, copied into RAM"] == found.rom_bytes
    assert any("no flash to execute from" in note for note in found.notes)
    parts = found.ram_parts
    highest = (
        parts["the program, copied into RAM"] * found.runtime.error_percent[1]
        + parts["stack"] * STACK_ERROR_PERCENT[1]
    )
    assert found.ram_error_percent[1] == math.ceil(highest / found.ram_bytes)


def test_the_best_measured_kernels_are_the_default() -> None:
    bundle = bundle_of(PATHS["one task"])
    assert footprint(bundle, NANO).kernels == "cmsis-nn-int8"
    assert footprint(bundle, load_board("esp32-s3")).kernels == "reference"
    generic = footprint(bundle, NANO, kernels="cmsis-nn")
    assert generic.rom_bytes > footprint(bundle, NANO).rom_bytes
    assert generic.ram_bytes == footprint(bundle, NANO).ram_bytes


def test_a_stand_in_is_named_with_a_wider_band() -> None:
    bundle = bundle_of(PATHS["one task"])
    exact = footprint(bundle, NANO)
    found = footprint(bundle, load_board("esp32-s3"))
    assert exact.notes == ()
    assert any("xtensa-lx7" in note and "cortex-m4" in note for note in found.notes)
    assert found.rom_error_percent[1] > exact.rom_error_percent[1]
    trunk, exact_trunk = found.nodes["trunk"].arena, exact.nodes["trunk"].arena
    assert trunk.error_percent[1] > exact_trunk.error_percent[1]


def test_a_cortex_m7_without_double_precision_is_not_the_one_with() -> None:
    bundle = bundle_of(PATHS["one task"])
    single = footprint(bundle, load_board("nucleo-f746zg"))
    double = footprint(bundle, load_board("nucleo-f767zi"))
    assert single.rom_bytes > double.rom_bytes + 2000
    assert any("single" in note for note in single.notes)


def test_flatbuffers_are_exact_so_the_band_is_the_runtime_s() -> None:
    found = footprint(bundle_of(PATHS["one task"]), NANO)
    runtime, whole = found.runtime.error_percent[1], found.rom_error_percent[1]
    assert 0 < whole <= runtime
    assert whole == round(runtime * found.runtime.rom_bytes / found.rom_bytes, 1)


def recording_of(data: bytes, **changes: int) -> ArenaRecording:
    """What a 64-bit host would record of the convolution above."""
    reference = node_arena(data, "cortex-m4", "reference")
    figures = {
        "total_bytes": 9999,
        "head_bytes": reference.head_bytes,
        "tail_bytes": 9999,
        "persistent_buffer_bytes": 80 + 16 + 16,
        "tensor_count": 4,
        "operator_count": 1,
    }
    return ArenaRecording(**{**figures, **changes}, runtime="0.dev20261023")


def test_a_recording_that_agrees_says_nothing() -> None:
    data = convolution(3)
    bundle = bundle_of(PATHS["one task"], trunk=node("trunk", arena=recording_of(data)))
    found = footprint(bundle, NANO)
    recorded = found.nodes["trunk"].recorded_arena_bytes
    reference = node_arena(data, "cortex-m4", "reference").used_bytes
    assert recorded is not None
    assert abs(recorded - reference) <= 32
    assert found.nodes["digit"].recorded_arena_bytes is None
    assert found.notes == ()


def test_a_recording_that_differs_by_more_than_two_percent_is_reported() -> None:
    recording = recording_of(convolution(3), head_bytes=4096)
    bundle = bundle_of(PATHS["one task"], trunk=node("trunk", arena=recording))
    notes = footprint(bundle, NANO).notes
    assert len(notes) == 1
    assert "the arena of trunk, simulated with reference kernels" in notes[0]
    assert "recording corrected to 32 bits" in notes[0]


UNKNOWN = schema.BuiltinOperator.SVDF


def test_an_operator_that_is_not_known_falls_back_to_the_recording() -> None:
    data = convolution(3, UNKNOWN)
    with_recording = node("trunk", data, arena=recording_of(convolution(3)))
    bundle = bundle_of(PATHS["one task"], trunk=with_recording)
    found = footprint(bundle, NANO)
    assert "recorded" in found.nodes["trunk"].arena.basis
    assert "simulated" in found.nodes["digit"].arena.basis
    assert any("SVDF" in note for note in found.notes)
    arena = sum(size for cause, size in found.ram_parts.items() if cause not in OUTSIDE)
    assert found.ram_error_percent[1] >= 10 * arena / found.ram_bytes - 0.1
    reference = node_arena(convolution(3), "cortex-m4", "reference").used_bytes
    assert abs(found.nodes["trunk"].arena.used_bytes - reference) < 100


def test_an_operator_that_is_not_known_needs_a_recording() -> None:
    bundle = bundle_of(PATHS["one task"], trunk=node("trunk", convolution(3, UNKNOWN)))
    with pytest.raises(RamError, match=r"SVDF is not known .* no recording"):
        footprint(bundle, NANO)


def test_an_operator_without_code_is_refused() -> None:
    strange = dataclasses.replace(node("trunk"), operators=("CONV_2D", "MyOperator"))
    with pytest.raises(RomError, match="MyOperator"):
        footprint(bundle_of(PATHS["one task"], trunk=strange), NANO)


def test_unknown_names_are_refused() -> None:
    bundle = bundle_of(PATHS["one task"])
    with pytest.raises(BundleError, match="Did you mean 'digit'"):
        footprint(bundle, NANO, tasks=["digits"])
    with pytest.raises(CoreError, match="`kernels` must be one of"):
        footprint(bundle, NANO, kernels="fast")
    with pytest.raises(CoreError, match="made for Arm Cortex-M"):
        footprint(bundle, load_board("esp32-c3"), kernels="cmsis-nn")


def test_a_users_board_counts_like_a_built_in_one() -> None:
    own = board_from_table(
        {"name": "mine", "core": "cortex-m4", "clock": "1 MHz", "rom": "1 MiB", "ram": "64 KiB"}
    )
    bundle = bundle_of(PATHS["three branches"])
    assert footprint(bundle, own).rom_bytes == footprint(bundle, NANO).rom_bytes
    assert footprint(bundle, own).ram_parts == footprint(bundle, NANO).ram_parts


def test_real_models_as_nodes(shared: Path) -> None:
    files = {
        "trunk": "mlperftiny__kws_ref_model",
        "digit": "mlperftiny__ad01_int8",
        "texture": "mlperftiny__pretrainedResnet_quant",
        "letter": "tflm__micro_speech_quantized",
    }
    nodes = {n: node(n, (shared / "models" / f"{f}.tflite").read_bytes()) for n, f in files.items()}
    bundle = bundle_of(PATHS["three branches"], **nodes)
    found = footprint(bundle, NANO)
    assert_accounts_balance(found, bundle)
    assert found.saved_bytes == 2 * 53_936
    assert found.ram_parts["activations (texture)"] == 49_728
    # kws 6,820, ad 1,812, resnet 5,268 and micro_speech 868 alone; the allocator's objects once.
    assert abs(found.ram_parts["kept by the nodes"] - (14_768 - 3 * 116)) <= 16
    assert found.notes == ()


def test_ten_nodes_on_fifty_boards_in_less_than_a_second() -> None:
    paths = {f"task{i}": ("trunk", f"node{i}") for i in range(9)}
    given = {f"node{i}": node(f"node{i}", convolution(3, size=8 + i)) for i in range(9)}
    bundle = bundle_of(paths, **given)
    boards = [load_board(name) for name in board_names()[:50]]
    start = time.perf_counter()
    for board in boards:
        footprint(bundle, board)
    assert time.perf_counter() - start < 1.0


def test_import_loads_no_framework() -> None:
    code = (
        "import sys, deploy.footprint, deploy.board\n"
        "heavy = {'tensorflow', 'keras', 'tflite_micro', 'ai_edge_litert'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert run.stdout.strip() == "[]"
