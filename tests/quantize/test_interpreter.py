import subprocess
import sys

import numpy as np
import pytest

from quantize.flatbuffer import FlatbufferError, pack, read_graph, unpack
from quantize.interpreter import (
    LITERT_TOLERANCE_LSB,
    ArenaRecording,
    InterpreterError,
    open_interpreter,
    record_arena,
    run_path,
    tflm_version,
)
from quantize.strip import strip
from quantize.tensor_spec import TensorSpec

needs_tflm = pytest.mark.skipif(tflm_version() is None, reason="tflite_micro is not installed")


def codes_for(spec: TensorSpec, count: int, seed: int = 0) -> np.ndarray:
    shape = (count, *spec.shape[1:])
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


@pytest.fixture(params=["tflm", "litert"])
def backend(request):
    if request.param == "tflm" and tflm_version() is None:
        pytest.skip("tflite_micro is not installed")
    return request.param


@pytest.fixture
def without_tflm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_micro", None)


def test_ends_and_outputs(trunk_bytes, backend):
    interpreter = open_interpreter(trunk_bytes, backend)
    assert interpreter.backend == backend
    assert interpreter.input == TensorSpec((1, 8, 8, 1), "int8", 0.02, -5)
    assert interpreter.output == TensorSpec((1, 4, 4, 8), "int8", 0.05, -128)
    outputs = interpreter.run(codes_for(interpreter.input, 7))
    assert (outputs.shape, outputs.dtype) == ((7, 4, 4, 8), np.int8)
    assert len(np.unique(outputs)) > 20
    none = interpreter.run(codes_for(interpreter.input, 0))
    assert (none.shape, none.dtype) == ((0, 4, 4, 8), np.int8)


def test_a_batch_is_its_samples_one_by_one(trunk_bytes, backend):
    interpreter = open_interpreter(trunk_bytes, backend)
    codes = codes_for(interpreter.input, 6)
    alone = [open_interpreter(trunk_bytes, backend).run(codes[i : i + 1]) for i in range(6)]
    np.testing.assert_array_equal(interpreter.run(codes), np.concatenate(alone))
    # Neither order nor memory layout matters.
    np.testing.assert_array_equal(interpreter.run(codes[::-1])[::-1], np.concatenate(alone))
    fortran = np.asfortranarray(codes)
    np.testing.assert_array_equal(interpreter.run(fortran), np.concatenate(alone))


def test_outputs_are_the_callers_own(trunk_bytes, backend):
    interpreter = open_interpreter(trunk_bytes, backend)
    first = interpreter.run(codes_for(interpreter.input, 2, seed=1))
    kept = first.copy()
    interpreter.run(codes_for(interpreter.input, 2, seed=2))
    np.testing.assert_array_equal(first, kept)


@needs_tflm
def test_litert_keeps_to_its_tolerance(trunk_bytes, branch_bytes):
    codes = codes_for(open_interpreter(trunk_bytes).input, 50)
    features = run_path([trunk_bytes], codes, "tflm")
    np.testing.assert_array_equal(features, run_path([trunk_bytes], codes, "litert"))
    outputs = [run_path([branch_bytes], features, b).astype(int) for b in ("tflm", "litert")]
    assert np.abs(outputs[0] - outputs[1]).max() <= LITERT_TOLERANCE_LSB
    assert open_interpreter(trunk_bytes, "tflm").tolerance_lsb == 0
    assert open_interpreter(trunk_bytes, "litert").tolerance_lsb == LITERT_TOLERANCE_LSB


def test_a_path_hands_its_codes_on(trunk_bytes, branch_bytes, backend):
    trunk, branch = (open_interpreter(data, backend) for data in (trunk_bytes, branch_bytes))
    codes = codes_for(trunk.input, 9)
    expected = branch.run(trunk.run(codes))
    np.testing.assert_array_equal(run_path([trunk_bytes, branch_bytes], codes, backend), expected)


def test_deeply_stripped_nodes_run(trunk_bytes, backend):
    codes = codes_for(open_interpreter(trunk_bytes, backend).input, 9)
    whole = run_path([trunk_bytes], codes, backend)
    np.testing.assert_array_equal(run_path([strip(trunk_bytes)], codes, backend), whole)


def test_litert_stands_in_where_tflm_is_not_installed(trunk_bytes, without_tflm):
    assert tflm_version() is None
    assert record_arena(trunk_bytes) is None
    interpreter = open_interpreter(trunk_bytes)
    assert interpreter.backend == "litert"
    assert interpreter.run(codes_for(interpreter.input, 1)).shape == (1, 4, 4, 8)
    with pytest.raises(InterpreterError, match=r"Install tflite_micro .* or take 'litert'"):
        open_interpreter(trunk_bytes, "tflm")


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((2, 8, 8, 1), np.float32),
        np.zeros((2, 8, 8, 1), np.uint8),
        np.zeros((2, 8, 8), np.int8),
        np.zeros((8, 8, 1), np.int8),
        np.zeros((2, 8, 7, 1), np.int8),
        np.int8(3),
    ],
)
def test_codes_that_do_not_fit_are_refused(trunk_bytes, codes):
    with pytest.raises(ValueError, match=r"`codes` must be int8 of shape \(n, 8, 8, 1\)"):
        open_interpreter(trunk_bytes).run(codes)


def test_wrong_backends_are_refused(trunk_bytes):
    with pytest.raises(ValueError, match="Did you mean 'litert'"):
        open_interpreter(trunk_bytes, "lite-rt")


def test_flatbuffers_are_checked_before_an_interpreter_sees_them(trunk_bytes):
    for open_or_record in (open_interpreter, record_arena):
        with pytest.raises(FlatbufferError):
            open_or_record(trunk_bytes[:-200])
        with pytest.raises(FlatbufferError):
            open_or_record(b"")


def test_ends_that_are_no_node_are_refused(new_writer, trunk_bytes):
    writer = new_writer()
    ends = [writer.tensor((1, 4), "INT8", 0.1) for _ in range(3)]
    writer.operator("ADD", ends[:2], ends[2:], writer.schema.AddOptionsT())
    with pytest.raises(InterpreterError, match="one of its inputs, received 2"):
        open_interpreter(writer.bytes(ends[:2], ends[2:]))
    writer = new_writer()
    ends = [writer.tensor((32, 4), "INT8", 0.1) for _ in range(2)]
    writer.operator("RELU", ends[:1], ends[1:])
    with pytest.raises(InterpreterError, match="batch of 1"):
        open_interpreter(writer.bytes(ends[:1], ends[1:]))
    writer = new_writer()
    ends = [writer.tensor((1, 4), "FLOAT32") for _ in range(2)]
    writer.operator("RELU", ends[:1], ends[1:])
    with pytest.raises(ValueError, match="exactly one scale"):
        open_interpreter(writer.bytes(ends[:1], ends[1:]))


def one_operator(writer, name, options=None, shape=(1, 4), scale=0.1):
    source, target = writer.tensor((1, 4), "INT8", 0.1), writer.tensor(shape, "INT8", scale)
    writer.operator(name, [source], [target], options)
    return writer.bytes([source], [target])


@needs_tflm
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("GELU", "GeluOptionsT", "operators that TFLM has, received GELU"),
        ("TILE", "TileOptionsT", "operators that TFLM has, received TILE"),
        ("EXP", "ExpOptionsT", "TFLM can allocate.*Node EXP"),
    ],
)
def test_what_tflm_refuses_is_said_and_nothing_else(writer, name, options, words, capfd):
    data = one_operator(writer, name, getattr(writer.schema, options)())
    for open_or_record in (open_interpreter, record_arena):
        with pytest.raises(InterpreterError, match=words):
            open_or_record(data)
    assert capfd.readouterr() == ("", "")


def assert_fails_while_running(data, backend, words, capfd):
    interpreter = open_interpreter(data, backend)
    for _ in range(2):
        with pytest.raises(InterpreterError, match=words):
            interpreter.run(np.zeros((2, *interpreter.input.shape[1:]), np.int8))
    assert capfd.readouterr() == ("", "")


@needs_tflm
def test_what_tflm_fails_to_run_is_said_and_nothing_else(writer, capfd):
    # The kernel does not look at the element type before it runs.
    data = one_operator(writer, "NEG", writer.schema.NegOptionsT())
    assert_fails_while_running(data, "tflm", "TFLM can run, received from it: .*NEG", capfd)


def test_what_litert_fails_to_run_is_said_and_nothing_else(writer, capfd):
    # The kernel does not look at the activation before it runs.
    assert_fails_while_running(svdf(writer, "NONE"), "litert", "SVDF.* failed to invoke", capfd)


def test_what_litert_refuses_is_said_and_nothing_else(writer, capfd):
    data = one_operator(writer, "TILE", writer.schema.TileOptionsT())
    with pytest.raises(InterpreterError, match="LiteRT's reference kernels"):
        open_interpreter(data, "litert")
    assert capfd.readouterr() == ("", "")


def test_running_is_silent(trunk_bytes, backend, capfd):
    interpreter = open_interpreter(trunk_bytes, backend)
    interpreter.run(codes_for(interpreter.input, 3))
    record_arena(trunk_bytes)
    assert capfd.readouterr() == ("", "")


@needs_tflm
def test_the_arena_grows_until_it_suffices(trunk_bytes, monkeypatch, capfd):
    import quantize.runtimes.tflm

    codes = codes_for(open_interpreter(trunk_bytes).input, 3)
    expected = run_path([trunk_bytes], codes)
    monkeypatch.setattr(quantize.runtimes.tflm, "_SMALLEST_ARENA_BYTES", 1024)
    monkeypatch.setattr(quantize.runtimes.tflm, "_ARENA_BYTES_PER_ELEMENT", 0)
    monkeypatch.setattr(quantize.runtimes.tflm, "_ARENA_PER_FLATBUFFER", 0)
    np.testing.assert_array_equal(run_path([trunk_bytes], codes), expected)
    monkeypatch.setattr(quantize.runtimes.tflm, "_LARGEST_ARENA_BYTES", 2048)
    with pytest.raises(InterpreterError, match="Requested: "):
        open_interpreter(trunk_bytes)
    assert capfd.readouterr() == ("", "")


@needs_tflm
def test_a_wide_layer_gets_its_arena(new_writer):
    # 4 bytes of scratch for every output of TRANSPOSE_CONV: more than ten times the flatbuffer.
    writer = new_writer()
    side = 256
    shape = writer.tensor((4,), "INT32", data=np.array([1, side, side, 8], np.int32))
    weights = writer.tensor((8, 2, 2, 1), "INT8", 0.01, 0, np.ones((8, 2, 2, 1), np.int8))
    source = writer.tensor((1, side // 2, side // 2, 1), "INT8", 0.1)
    target = writer.tensor((1, side, side, 8), "INT8", 0.001)
    options = writer.schema.TransposeConvOptionsT()
    options.strideH = options.strideW = 2
    writer.operator("TRANSPOSE_CONV", [shape, weights, source], [target], options, 3)
    data = writer.bytes([source], [target])
    interpreter = open_interpreter(data, "tflm")
    outputs = interpreter.run(codes_for(interpreter.input, 1))
    np.testing.assert_array_equal(
        outputs, run_path([data], codes_for(interpreter.input, 1), "litert")
    )
    arena = record_arena(data)
    assert arena.head_bytes > 4 * side * side * 8
    assert arena.total_bytes > 10 * len(data)


def svdf(writer, activation):
    """A layer that keeps its activations from one run to the next."""
    random = np.random.default_rng(5)
    units, memory, size = 4, 3, 6
    source = writer.tensor((1, size), "INT8", 0.1)
    features = random.integers(-127, 128, (units, size)).astype(np.int8)
    feature = writer.tensor((units, size), "INT8", 0.02, 0, features)
    times = random.integers(-3000, 3000, (units, memory)).astype(np.int16)
    time = writer.tensor((units, memory), "INT16", 0.001, 0, times)
    bias = writer.tensor((units,), "INT32", 0.00002, 0, np.zeros(units, np.int32))
    state = writer.tensor((1, memory * units), "INT16", 0.02)
    writer.graph.tensors[state].isVariable = True
    target = writer.tensor((1, units), "INT8", 0.05, -128)
    options = writer.schema.SVDFOptionsT()
    options.rank = 1
    options.fusedActivationFunction = getattr(writer.schema.ActivationFunctionType, activation)
    writer.operator("SVDF", [source, feature, time, bias, state], [target], options, 3)
    return writer.bytes([source], [target])


def test_each_sample_starts_from_the_same_state(writer, backend):
    interpreter = open_interpreter(svdf(writer, "RELU"), backend)
    codes = np.repeat(codes_for(interpreter.input, 1), 4, axis=0)
    outputs = interpreter.run(codes)
    assert len(np.unique(outputs[0])) > 1
    np.testing.assert_array_equal(outputs, np.repeat(outputs[:1], 4, axis=0))


@needs_tflm
def test_known_arenas_of_public_models(shared):
    """Figures of tflite_micro 0.dev20261023182759, the release that the project names."""
    models = shared / "models"
    known = {
        "mlperftiny__kws_ref_model": (24272, 16000, 8272, 5556, 35, 13),
        "mlperftiny__pretrainedResnet_quant": (55984, 49152, 6832, 3828, 38, 16),
        "mlperftiny__ad01_int8": (3984, 768, 3216, 832, 31, 10),
    }
    for name, figures in known.items():
        data = (models / f"{name}.tflite").read_bytes()
        assert record_arena(data) == ArenaRecording(*figures, runtime="0.dev20261023182759")


@needs_tflm
def test_the_recording_adds_up(trunk_bytes):
    arena = record_arena(trunk_bytes)
    graph = read_graph(trunk_bytes)
    assert arena.total_bytes == arena.head_bytes + arena.tail_bytes
    assert 0 < arena.persistent_buffer_bytes < arena.tail_bytes
    assert (arena.tensor_count, arena.operator_count) == (len(graph.tensors), 2)
    assert arena.runtime == tflm_version()
    # The input and the first convolution's output are alive together.
    assert arena.head_bytes >= 8 * 8 + 8 * 8 * 8


@needs_tflm
def test_public_models_agree_between_backends(shared):
    """BUILTIN_REF equals TFLM except behind dense layers; the ten of the detector reach 2 LSB."""
    allowed = {"mlperftiny__ad01_int8": 2}
    for path in sorted((shared / "models").glob("*.tflite")):
        data = path.read_bytes()
        codes = codes_for(open_interpreter(data).input, 4)
        ours, others = (run_path([data], codes, b).astype(int) for b in ("tflm", "litert"))
        assert np.abs(ours - others).max() <= allowed.get(path.stem, LITERT_TOLERANCE_LSB)


def test_tensorflow_is_not_loaded(trunk_bytes, tmp_path):
    path = tmp_path / "trunk.tflite"
    path.write_bytes(trunk_bytes)
    code = (
        "import sys, pathlib; import quantize.interpreter as i;"
        "assert not {'tflite_micro', 'ai_edge_litert'} & set(sys.modules);"
        "data = pathlib.Path(sys.argv[1]).read_bytes(); i.record_arena(data);"
        "i.open_interpreter(data, 'litert'); i.open_interpreter(data);"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_a_packed_edit_changes_the_outputs(trunk_bytes, backend):
    model = unpack(trunk_bytes)
    weights = model.buffers[model.subgraphs[0].tensors[1].buffer]
    weights.data = -weights.data.view(np.int8).copy()
    weights.data = weights.data.view(np.uint8)
    codes = codes_for(open_interpreter(trunk_bytes, backend).input, 2)
    edited = run_path([pack(model)], codes, backend)
    assert (edited != run_path([trunk_bytes], codes, backend)).any()
