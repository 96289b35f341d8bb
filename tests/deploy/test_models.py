"""Any .tflite file and any bundle as one bundle: what is read, named, counted, and refused."""

import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deploy.board import load_board
from deploy.budget import Check, check
from deploy.footprint import footprint
from deploy.models import ModelError, load_models
from quantize.bundle import Bundle
from quantize.flatbuffer import FlatbufferError
from quantize.macs import macs
from quantize.strip import strip
from quantize.wire.encoding import Table, Vector
from quantize.wire.reader import decode
from quantize.wire.schema import BUILTIN_OPERATORS, TENSOR_TYPES
from quantize.wire.writer import encode

ROOT = Path(__file__).resolve().parents[2]
# Bytes of the file, multiply-accumulates, and by core and kernels the smallest arena that works, as
# measured on the device's revision (an estimate may be up to 16 bytes larger). For micro_speech
# none was published.
PUBLIC: dict[str, tuple[int, int, dict[tuple[str, str], int]]] = {
    "mlperftiny__ad01_int8": (276_976, 264_192, {
        ("nano33ble", "reference"): 2_700,
        ("nano33ble", "cmsis-nn"): 3_012,
        ("corstone-300-fvp", "cmsis-nn"): 9_700,
    }),
    "mlperftiny__kws_ref_model": (53_936, 2_656_768, {
        ("nano33ble", "reference"): 22_772,
        ("nano33ble", "cmsis-nn"): 22_820,
        ("corstone-300-fvp", "cmsis-nn"): 27_348,
    }),
    "mlperftiny__pretrainedResnet_quant": (98_496, 12_501_632, {
        ("nano33ble", "reference"): 54_340,
        ("nano33ble", "cmsis-nn"): 54_996,
        ("corstone-300-fvp", "cmsis-nn"): 55_028,
    }),
    "tflm__micro_speech_quantized": (18_800, 336_000, {}),
}  # fmt: skip


def public(shared: Path, name: str) -> Path:
    return shared / "models" / f"{name}.tflite"


# Known answers.


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_model_is_checked_to_the_byte(shared: Path, name: str) -> None:
    size_bytes, mac_count, arenas = PUBLIC[name]
    bundle = load_models([public(shared, name)])
    assert (bundle.name, list(bundle.nodes), list(bundle.tasks)) == (name, [name], [name])
    assert bundle.tasks[name].path == (name,)
    node = bundle.nodes[name]
    assert (node.rom_bytes, node.unstripped_bytes, node.macs) == (size_bytes, size_bytes, mac_count)
    for (board, kernels), minimum in arenas.items():
        (verdict,) = check(bundle, [Check("one", load_board(board), kernels=kernels)]).verdicts
        assert verdict.footprint.model_rom_bytes == size_bytes
        found = verdict.footprint.nodes[name].arena.minimum_bytes
        assert minimum <= found <= minimum + 16, (board, kernels)


def test_all_public_models_on_one_device(shared: Path) -> None:
    bundle = load_models([public(shared, name) for name in PUBLIC])
    assert bundle.name == " + ".join(PUBLIC)
    assert list(bundle.nodes) == list(bundle.tasks) == list(PUBLIC)
    (verdict,) = check(
        bundle, [Check("all", load_board("nano33ble"), kernels="reference")]
    ).verdicts
    found = verdict.footprint
    assert found.model_rom_bytes == found.separate_model_bytes == 448_208
    alone = [
        check(load_models([public(shared, name)]), [verdict.check]).verdicts[0].footprint
        for name in PUBLIC
    ]
    # The largest head serves all, every tail stays, and the code of shared kernels is there once.
    heads = [node.arena.head_bytes for node in found.nodes.values()]
    tenants = [node.arena.tenant_tail_bytes for node in found.nodes.values()]
    assert max(heads) == 49_152
    assert 0 <= found.all_paths_arena_bytes - max(heads) - sum(tenants) - 116 <= 16 + 12 * 4
    largest = max(one.runtime.rom_bytes for one in alone)
    assert largest < found.runtime.rom_bytes < sum(one.runtime.rom_bytes for one in alone)


def test_parameters_are_weights_and_biases(shared: Path) -> None:
    # Of the autoencoder: ten layers' weights and biases; of the others no shape and no axis.
    widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    counted = sum((a + 1) * b for a, b in pairwise(widths))
    for name, expected in (("mlperftiny__ad01_int8", counted),
                           ("mlperftiny__kws_ref_model", 22_016 + 2_352 // 4)):  # fmt: skip
        (node,) = load_models([public(shared, name)]).nodes.values()
        assert node.parameters == expected


def test_a_stripped_file_has_the_same_answer_but_for_rom(shared: Path, tmp_path: Path) -> None:
    original = public(shared, "mlperftiny__kws_ref_model")
    (tmp_path / "kws.bin").write_bytes(strip(original.read_bytes()))
    one, other = load_models([original]), load_models([tmp_path / "kws.bin"])
    (before,), (after,) = one.nodes.values(), other.nodes.values()
    assert (before.macs, before.parameters, before.input) == (
        after.macs, after.parameters, after.input,
    )  # fmt: skip
    assert after.name == "kws"
    assert after.rom_bytes == len(strip(original.read_bytes())) < before.rom_bytes


# Several together.


def test_a_bundle_alone_is_itself(bundle_folder: Path) -> None:
    assert load_models([bundle_folder]) == Bundle.load(bundle_folder)
    assert load_models([str(bundle_folder), bundle_folder]) == Bundle.load(bundle_folder)


def test_a_bundle_and_files_are_named_apart(
    bundle_folder: Path, shared: Path, tmp_path: Path
) -> None:
    alone = Bundle.load(bundle_folder)
    paths: list[str | Path] = [bundle_folder]
    for folder, name in (("a", "kws"), ("b", "KWS"), ("c", alone.name)):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / f"{name}.tflite")
        shutil.copyfile(public(shared, "tflm__micro_speech_quantized"), paths[-1])
    # The same file by another way counts once, an equal copy counts again.
    paths.append(tmp_path / "a" / ".." / "a" / "kws.tflite")
    (tmp_path / "link.tflite").symlink_to(tmp_path / "a" / "kws.tflite")
    paths.append(tmp_path / "link.tflite")
    together = load_models(paths)
    added = ["kws", "KWS-2", f"{alone.name}-2"]
    assert list(together.nodes) == [f"{alone.name}/{name}" for name in alone.nodes] + added
    assert list(together.tasks) == [f"{alone.name}/{name}" for name in alone.tasks] + added
    for name, task in alone.tasks.items():
        path = tuple(f"{alone.name}/{node}" for node in task.path)
        assert together.tasks[f"{alone.name}/{name}"].path == path
    for seam, before in zip(together.seams, alone.seams, strict=True):
        assert seam.producers == tuple(f"{alone.name}/{name}" for name in before.producers)
    (verdict,) = check(together, [Check("all", load_board("nano33ble"))]).verdicts
    (before,) = check(alone, [Check("alone", load_board("nano33ble"))]).verdicts
    assert verdict.footprint.model_rom_bytes == before.footprint.model_rom_bytes + 3 * 18_800
    some = check(together, [Check("some", load_board("nano33ble"), ("kws",))]).verdicts[0]
    assert some.footprint.model_rom_bytes == 18_800


@pytest.mark.parametrize(
    ("stem", "name"),
    [("kws v2 (final)", "kws-v2-final"), ("…", "model"), ("näme", "n-me"), ("a" * 250, "a" * 200)],
)
def test_names_are_such_as_nodes_may_have(
    shared: Path, tmp_path: Path, stem: str, name: str
) -> None:
    path = tmp_path / f"{stem}.tflite"
    try:
        shutil.copyfile(public(shared, "tflm__micro_speech_quantized"), path)
    except OSError:
        path = tmp_path / f"{stem[:240]}.tflite"
        shutil.copyfile(public(shared, "tflm__micro_speech_quantized"), path)
    assert list(load_models([path]).nodes) == [name]


# Inputs and outputs that are not int8.


def tensor(
    dtype: str, *shape: int, scale: float | tuple[float, ...] | None = None, buffer: int = 0
) -> Table:
    fields = {"shape": Vector.of("i32", shape), "type": TENSOR_TYPES.index(dtype), "buffer": buffer}
    if scale is not None:
        scales = scale if isinstance(scale, tuple) else (scale,)
        zeros = Vector.of("i64", [0] * len(scales))
        numbers = {"scale": Vector.of("f32", scales), "zeroPoint": zeros}
        fields["quantization"] = Table("QuantizationParameters", numbers)
    return Table("Tensor", fields)


def model(
    tensors: Sequence[Table],
    operators: Sequence[tuple[str, Sequence[int], Sequence[int]]],
    inputs: Sequence[int],
    outputs: Sequence[int],
    buffers: Sequence[bytes] = (),
) -> bytes:
    """A .tflite file; buffer 0 is empty, the given ones follow."""
    rows = [
        Table(
            "Operator",
            {
                "opcodeIndex": number,
                "inputs": Vector.of("i32", sources),
                "outputs": Vector.of("i32", targets),
            },
        )
        for number, (_, sources, targets) in enumerate(operators)
    ]
    codes = [
        Table("OperatorCode", {"builtinCode": BUILTIN_OPERATORS.index(op[0])}) for op in operators
    ]
    graph = {
        "tensors": tuple(tensors),
        "operators": tuple(rows),
        "inputs": Vector.of("i32", inputs),
        "outputs": Vector.of("i32", outputs),
    }
    fields = {
        "version": 3,
        "subgraphs": (Table("SubGraph", graph),),
        "operatorCodes": tuple(codes),
        "buffers": (
            Table("Buffer", {}),
            *(Table("Buffer", {"data": Vector("u8", data)}) for data in buffers),
        ),
    }
    return encode(Table("Model", fields))


def written(tmp_path: Path, data: bytes, name: str = "made.tflite") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


LAYER = (tensor("INT8", 10, 4, scale=0.1, buffer=1),)
INT8_ENDS = (tensor("INT8", 1, 4, scale=0.5), tensor("INT8", 1, 10, scale=0.5))
DENSE = ("FULLY_CONNECTED", [0, 2, -1], [1])


def test_float_ends_are_the_quantized_tensors_inside(tmp_path: Path) -> None:
    data = model(
        [
            tensor("FLOAT32", 1, 4),
            tensor("INT8", 1, 4, scale=0.5),
            tensor("INT8", 10, 4, scale=0.1, buffer=1),
            tensor("INT8", 1, 10, scale=0.25),
            tensor("FLOAT32", 1, 10),
        ],
        [("QUANTIZE", [0], [1]), ("FULLY_CONNECTED", [1, 2, -1], [3]), ("DEQUANTIZE", [3], [4])],
        [0],
        [4],
        [bytes(40)],
    )
    (node,) = load_models([written(tmp_path, data)]).nodes.values()
    assert (node.input.shape, node.input.scale) == ((1, 4), 0.5)
    assert (node.output.shape, node.output.scale) == ((1, 10), 0.25)
    assert node.operators == ("DEQUANTIZE", "FULLY_CONNECTED", "QUANTIZE")
    assert node.parameters == node.macs == 40


def test_an_index_at_the_end_and_several_inputs(tmp_path: Path) -> None:
    data = model(
        [
            tensor("INT8", 1, 6, scale=0.5),
            tensor("INT8", 1, 9, scale=0.5),
            tensor("INT8", 1, 15, scale=0.5),
            tensor("INT32", buffer=1),
            tensor("INT64", 1),
        ],
        [("CONCATENATION", [0, 1], [2]), ("ARG_MAX", [2, 3], [4])],
        [1, 0],
        [4],
        [bytes(4)],
    )
    (node,) = load_models([written(tmp_path, data)]).nodes.values()
    assert (node.input.shape, node.output.shape) == ((1, 9), (1, 15))
    assert (node.parameters, node.macs) == (0, 0)


INT16_ENDS = (tensor("INT16", 1, 4, scale=0.5), tensor("INT16", 1, 10, scale=0.5))


@pytest.mark.parametrize(
    ("ends", "weights", "size_bytes"),
    [
        (INT16_ENDS, tensor("INT8", 10, 4, scale=0.1, buffer=1), 40),
        # One scale is what the kernel unpacks int4 for.
        (INT8_ENDS, tensor("INT4", 10, 4, scale=0.1, buffer=1), 20),
    ],
)
def test_other_integers_are_taken_where_a_kernel_runs_them(
    tmp_path: Path, ends: tuple[Table, Table], weights: Table, size_bytes: int
) -> None:
    path = written(tmp_path, model([*ends, weights], [DENSE], [0], [1], [bytes(size_bytes)]))
    (node,) = load_models([path]).nodes.values()
    assert (node.parameters, node.macs) == (40, 40)


# What is refused.


def test_no_path_is_refused() -> None:
    with pytest.raises(ModelError, match="received none"):
        load_models([])


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    written(tmp_path, b"PK\x03\x04" * 30, "zip.tflite")
    written(tmp_path, b"", "empty.tflite")
    for name, words in (
        ("gone.tflite", "there is none"),
        ("folder", "has no manifest.json"),
        ("pipe", "a device or a pipe"),
        ("zip.tflite", r"received b'PK\\x03\\x04' in 120 bytes"),
        ("empty.tflite", "in 0 bytes"),
    ):
        with pytest.raises(ModelError, match=words) as caught:
            load_models([tmp_path / name])
        assert name in str(caught.value)


def test_a_damaged_file_is_refused_by_name(shared: Path, tmp_path: Path) -> None:
    data = public(shared, "mlperftiny__kws_ref_model").read_bytes()
    with pytest.raises(ModelError, match=r"cut.tflite' cannot be checked. `data` must"):
        load_models([written(tmp_path, data[:30_000], "cut.tflite")])


def test_a_file_that_no_board_stores_is_not_read(shared: Path, tmp_path: Path) -> None:
    path = written(tmp_path, public(shared, "mlperftiny__kws_ref_model").read_bytes()[:8])
    os.truncate(path, 2**33)
    with pytest.raises(ModelError, match="received 8,589,934,592"):
        load_models([path])


FLOAT_ENDS = (tensor("FLOAT32", 1, 4), tensor("FLOAT32", 1, 10))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            model([*FLOAT_ENDS, tensor("FLOAT32", 10, 4, buffer=1)],
                  [DENSE], [0], [1], [bytes(160)]),
            "one that computes with floats: operator 0, FULLY_CONNECTED",
        ),
        (
            model([*FLOAT_ENDS, *LAYER], [DENSE], [0], [1], [bytes(40)]),
            "a hybrid one: operator 0, FULLY_CONNECTED, has int8 weights",
        ),
        (
            model([tensor("INT16", 1, 4, 4, 1, scale=1)] * 2 + [tensor("INT32", 4, 2, buffer=1)],
                  [("MIRROR_PAD", [0, 2], [1])], [0], [1], [bytes(32)]),
            "INT16 activations are expected, received operator 0, MIRROR_PAD",
        ),
        (
            model([*INT8_ENDS, tensor("INT4", 10, 4, scale=(0.1,) * 10, buffer=1)],
                  [DENSE], [0], [1], [bytes(20)]),
            "operator 0, FULLY_CONNECTED, which .* does not run so with a scale per channel",
        ),
        (
            model([tensor("UINT8", 1, 4, scale=1), tensor("UINT8", 1, 10, scale=1), *LAYER],
                  [DENSE], [0], [1], [bytes(40)]),
            "UINT8 activations",
        ),
        (
            model([tensor("INT32", 1, 4), tensor("INT32", 1, 4)], [("NEG", [0], [1])], [0], [1]),
            "whose inputs lead to none",
        ),
        (
            model([tensor("INT8", 1, 0, scale=1), tensor("INT8", 1, 4, scale=1)],
                  [("NEG", [0], [1])], [0], [1]),
            "The inputs of the model cannot be used. `shape` must hold sizes of at least 1",
        ),
        (model(INT8_ENDS, [], [0], [1]), "operators are expected, received 0"),
        (
            model(INT8_ENDS, [("NEG", [0], [1])] * 2_001, [0], [1]),
            "operators are expected, received 2,001",
        ),
        (
            model([tensor("INT8", 1, i + 1) for i in range(2_001)],
                  [("NEG", [0], [1])], [0], [1]),
            "computed tensors are expected, received 2,001",
        ),
        (model(INT8_ENDS, [("NEG", [0], [])], [0], [1]), "an output of operator 0, NEG"),
        (model(INT8_ENDS, [("FULLY_CONNECTED", [0], [1])], [0], [1]), "input 1 of operator 0"),
        (
            model(INT8_ENDS, [("FULLY_CONNECTED", [0, -1], [1])], [0], [1]),
            "input 1 of operator 0, FULLY_CONNECTED, received none",
        ),
        (model(INT8_ENDS, [("CONV_2D", [0, 0], [1])], [0], [1]), "4 axes for input 0"),
        (
            model([tensor("INT8", 1, 2, 2, 1, scale=1)] * 3, [("CONV_2D", [0, 1], [2])], [0], [2]),
            "the option padding of operator 0, CONV_2D, received None",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load_models([written(tmp_path, data)])
    assert "made.tflite' cannot be checked" in str(caught.value)


def test_a_stride_of_nothing_is_refused(shared: Path, tmp_path: Path) -> None:
    whole, _ = decode(public(shared, "mlperftiny__pretrainedResnet_quant").read_bytes())
    (graph,) = whole.tables("subgraphs")
    first, *others = graph.tables("operators")
    options = first.get("builtinOptions").replace(strideH=0)
    operators = (first.replace(builtinOptions=options), *others)
    data = encode(whole.replace(subgraphs=(graph.replace(operators=operators),)))
    words = "the option strideH of at least 1 of operator 0, CONV_2D, received 0"
    with pytest.raises(ModelError, match=words):
        load_models([written(tmp_path, data)])
    # Multiply-accumulates do not depend on it.
    assert macs(data) == 12_501_632
    with pytest.raises(FlatbufferError, match="input 1 of operator 0, FULLY_CONNECTED"):
        macs(model(INT8_ENDS, [("FULLY_CONNECTED", [0], [1])], [0], [1]))


def test_control_flow_is_refused(shared: Path, tmp_path: Path) -> None:
    whole, _ = decode(public(shared, "tflm__micro_speech_quantized").read_bytes())
    data = encode(whole.replace(subgraphs=whole.tables("subgraphs") * 2))
    with pytest.raises(ModelError, match="One subgraph is expected, received 2"):
        load_models([written(tmp_path, data)])


def test_an_operator_that_the_runtime_lacks_is_told_by_the_check(tmp_path: Path) -> None:
    data = model(INT8_ENDS, [("LSH_PROJECTION", [0], [1])], [0], [1])
    bundle = load_models([written(tmp_path, data)])
    with pytest.raises(ValueError, match="LSH_PROJECTION"):
        check(bundle, [Check("one", load_board("nano33ble"))])


def test_it_works_with_numpy_alone(shared: Path) -> None:
    code = (
        "import sys; from deploy.models import load_models; from deploy.footprint import footprint;"
        "from deploy import load_board; footprint(load_models(sys.argv[1:]), load_board('pico'));"
        "heavy = {'tensorflow', 'keras', 'ai_edge_litert', 'flatbuffers', 'tflite_micro', 'scipy'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    paths = [str(public(shared, name)) for name in PUBLIC]
    subprocess.run([sys.executable, "-c", code, *paths], check=True, cwd=ROOT)


def test_empty_golden_vectors_stand_for_none(shared: Path) -> None:
    (task,) = load_models([public(shared, "mlperftiny__kws_ref_model")]).tasks.values()
    assert len(task.golden_inputs) == len(task.golden_outputs) == 0
    assert task.golden_inputs.dtype == np.int8
    assert (task.score, task.labels) == (None, ())


def test_reading_a_file_takes_no_more_memory_than_a_few_times_the_file(shared: Path) -> None:
    path = public(shared, "tflm__micro_speech_quantized")
    load_models([path])
    tracemalloc.start()
    load_models([path])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 10 * 18_800


def test_the_most_tensors_that_are_taken_are_planned_in_time(tmp_path: Path) -> None:
    """All alive at once: planning them takes time that grows with their square."""
    count = 1_990
    data = model(
        [tensor("INT8", 1, i + 1, scale=1) for i in range(count)],
        [("CONCATENATION", range(count - 1), [count - 1])],
        range(count - 1),
        [count - 1],
    )
    bundle = load_models([written(tmp_path, data)])
    began = time.process_time()
    found = footprint(bundle, load_board("stm32n6570-dk"))
    assert time.process_time() - began < 5
    assert found.ram_bytes > count * count // 2
