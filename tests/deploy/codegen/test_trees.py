"""Trees: paths, branches that go on from a kept seam, constants that tasks share."""

from dataclasses import replace

import numpy as np
import pytest

from deploy.codegen import compile_bundle
from deploy.models import load_models
from quantize.bundle import Bundle


def codes_for(bundle: Bundle, task: str, count: int = 30, seed: int = 3) -> np.ndarray:
    shape = bundle.path_nodes(task)[0].input.shape[1:]
    return np.random.default_rng(seed).integers(-128, 128, (count, *shape), np.int8)


@pytest.fixture(scope="module")
def nested(tree_writer) -> Bundle:
    """trunk -> a; trunk -> mid -> b or c; and a task that ends with mid."""
    return tree_writer(
        {
            "trunk": [("conv", 6), ("relu",), ("depthwise",)],
            "mid": [("conv", 5), ("add",)],
            "a": [("relu",), ("conv", 3), ("dense", 4)],
            "b": [("add",), ("dense", 7), ("softmax",)],
            "c": [("tanh",), ("dense", 2)],
        },
        {
            "a": ("trunk", "a"),
            "b": ("trunk", "mid", "b"),
            "c": ("trunk", "mid", "c"),
            "map": ("trunk", "mid"),
        },
    )


@pytest.mark.parametrize("keep_seams", [False, True])
def test_paths(device_bundle, nested, assert_equal_to_tflm, keep_seams):
    for bundle in (device_bundle, nested):
        assert_equal_to_tflm(bundle, count=50, keep_seams=keep_seams)


def test_one_task_of_several(device_bundle, assert_equal_to_tflm):
    assert_equal_to_tflm(device_bundle, count=5, tasks="angle")


def test_paths_that_skip_nodes(tree_writer, assert_equal_to_tflm):
    blocks = {f"block {i}": [("conv", 4), ("relu",), ("conv", 4, 0.05, -128)] for i in range(3)}
    bundle = tree_writer(
        {"trunk": [("conv", 4, 0.05, -128)], **blocks, "x": [("dense", 3)], "y": [("dense", 2)]},
        {
            "x": ("trunk", "block 0", "block 2", "x"),
            "y": ("trunk", "block 1", "y"),
            "z": ("trunk", "x"),
        },
    )
    assert_equal_to_tflm(bundle, count=20)


def test_every_branch_goes_on_from_any_path(nested, build):
    runner = build(compile_bundle(nested))
    inputs = codes_for(nested, "a")
    expected = {task: nested.run(task, inputs, "tflm") for task in nested.tasks}
    through_mid = [task for task, one in nested.tasks.items() if "mid" in one.path]
    for number, sample in enumerate(inputs):
        for first in nested.tasks:
            runner.feed(first, sample)
            runner.call(runner.program.tasks[first].run)
            assert (runner.output(first) == expected[first][number].ravel()).all()
            deep = through_mid if first in through_mid else []
            for after, tasks in (("mid", deep), ("trunk", list(nested.tasks))):
                for task in tasks:
                    function = runner.program.tasks[task].continues.get(after)
                    if function is not None:
                        runner.call(function)
                        assert (runner.output(task) == expected[task][number].ravel()).all()


def test_what_may_go_on(nested, device_bundle):
    tasks = compile_bundle(nested).tasks
    assert tasks["a"].continues == {"trunk": "kt_continue_a"}
    assert tasks["b"].continues == {"trunk": "kt_continue_b", "mid": "kt_continue_b_after_mid"}
    assert tasks["map"].continues == {"trunk": "kt_continue_map"}
    assert not any(one.continues for one in compile_bundle(nested, keep_seams=False).tasks.values())
    assert not compile_bundle(device_bundle, tasks=["digit"]).tasks["digit"].continues


def test_keeping_seams_costs_no_more_than_a_copy(device_bundle):
    kept, free = (compile_bundle(device_bundle, keep_seams=keep) for keep in (True, False))
    seam = device_bundle.nodes["trunk"].output.element_count
    assert free.buffer_bytes <= kept.buffer_bytes <= free.buffer_bytes + seam


def test_the_golden_vectors_of_a_bundle(device_bundle, build):
    runner = build(compile_bundle(device_bundle))
    for name, task in device_bundle.tasks.items():
        outputs = runner.run(name, task.golden_inputs)
        assert (outputs == task.golden_outputs.reshape(outputs.shape)).all()


def test_models_side_by_side_share_the_buffer(shared, build):
    paths = [shared / "models" / f"{name}.tflite"
             for name in ("mlperftiny__ad01_int8", "tflm__micro_speech_quantized")]  # fmt: skip
    together = load_models(paths)
    program = compile_bundle(together)
    alone = [compile_bundle(load_models([path])) for path in paths]
    assert program.buffer_bytes == max(one.buffer_bytes for one in alone)
    runner = build(program)
    for task in together.tasks:
        codes = codes_for(together, task, 5)
        assert (runner.run(task, codes) == together.run(task, codes, "tflm").reshape(5, -1)).all()


def test_a_node_on_no_path_is_left_out(device_bundle):
    tasks = {"digit": device_bundle.tasks["digit"]}
    program = compile_bundle(replace(device_bundle, tasks=tasks))
    assert list(program.nodes) == ["trunk", "digit"]
    assert program.files == compile_bundle(device_bundle, tasks="digit").files


def test_a_node_that_does_nothing(flatbuffer_writer, lone_bundle, assert_equal_to_tflm):
    writer = flatbuffer_writer()
    source, target = (writer.tensor((1, 12), "INT8", 0.1, 4) for _ in range(2))
    shape = writer.tensor((2,), "INT32", data=np.array([1, 12], np.int32))
    writer.operator("RESHAPE", [source, shape], [target], writer.schema.ReshapeOptionsT())
    bundle = lone_bundle(writer.bytes([source], [target]))
    assert compile_bundle(bundle).kernels == frozenset()
    assert_equal_to_tflm(bundle, count=3)
