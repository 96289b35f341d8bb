"""Parts that do not fit together are refused before anything is written."""

import os
from dataclasses import replace

import numpy as np
import pytest

from quantize.bundle import BundleError, InputNormalization
from quantize.storage.checks import check_bundle
from quantize.tensor_spec import TensorSpec


def with_node(bundle, name, /, **change):
    return replace(bundle, nodes=bundle.nodes | {name: replace(bundle.nodes[name], **change)})


def with_task(bundle, name, /, **change):
    return replace(bundle, tasks=bundle.tasks | {name: replace(bundle.tasks[name], **change)})


def with_seam(bundle, name, /, **change):
    changed = (replace(seam, **change) if seam.name == name else seam for seam in bundle.seams)
    return replace(bundle, seams=tuple(changed))


def renamed(bundle, old, new):
    """The bundle with one node under another name everywhere."""

    def swap(names):
        return tuple(new if name == old else name for name in names)

    nodes = {swap([n])[0]: replace(node, name=swap([n])[0]) for n, node in bundle.nodes.items()}
    seams = tuple(
        replace(seam, producers=swap(seam.producers), consumers=swap(seam.consumers))
        for seam in bundle.seams
    )
    tasks = {name: replace(task, path=swap(task.path)) for name, task in bundle.tasks.items()}
    return replace(bundle, nodes=nodes, seams=seams, tasks=tasks)


def test_a_sound_bundle_passes(small_bundle):
    check_bundle(small_bundle)
    check_bundle(renamed(small_bundle, "mid", "middle-1.0"))


MUTATIONS = {
    "no name": (lambda b: replace(b, name=""), "`name` must not be empty"),
    "no task": (lambda b: replace(b, tasks={}), "at least one task"),
    "node under another name": (
        lambda b: with_node(b, "mid", name="middle"),
        "node under 'mid' must have that name; its name is 'middle'",
    ),
    "task under another name": (
        lambda b: with_task(b, "digit", name="digits"),
        "task under 'digit' must have that name",
    ),
    "unsafe name": (lambda b: renamed(b, "mid", "../mid"), "Rename the node"),
    "names alike but for case": (
        lambda b: renamed(b, "mid", "Digit"),
        "differ in more than upper and lower case.*'digit' occurs twice",
    ),
    "normalization of zero": (
        lambda b: replace(b, input_normalization=InputNormalization(0.0, 1.0)),
        "finite scale other than 0",
    ),
    "normalization of nan": (
        lambda b: replace(b, input_normalization=InputNormalization(1.0, float("nan"))),
        "a finite offset",
    ),
    "foreign flatbuffer": (
        lambda b: with_node(b, "mid", data=b"PNG and more"),
        "node 'mid': its flatbuffer cannot be used",
    ),
    "empty flatbuffer": (lambda b: with_node(b, "mid", data=b""), "node 'mid': its flatbuffer"),
    "another node's flatbuffer": (
        lambda b: with_node(b, "mid", data=b.nodes["digit"].data),
        r"node 'mid': its output must be int8 \(1, 4, 4, 4\) .* has int8 \(1, 5\)",
    ),
    "operators out of order": (
        lambda b: with_node(b, "trunk", operators=("DEPTHWISE_CONV_2D", "CONV_2D")),
        "node 'trunk': its operators must be DEPTHWISE_CONV_2D, CONV_2D",
    ),
    "path through an unknown node": (
        lambda b: with_task(b, "angle", path=("trunk", "mdi", "angle")),
        "it names 'mdi', which the bundle does not have. Did you mean 'mid'",
    ),
    "empty path": (lambda b: with_task(b, "angle", path=()), "must name at least one node"),
    "node twice in a path": (
        lambda b: with_task(b, "angle", path=("trunk", "mid", "mid", "angle")),
        "must name every node once; 'mid' occurs twice",
    ),
    "two trunks": (
        lambda b: with_task(b, "angle", path=("mid", "angle")),
        "Every path must begin with the trunk; they begin: 'digit' with 'trunk', 'angle' with",
    ),
    "node on no path": (
        lambda b: replace(b, tasks={"digit": b.tasks["digit"]}),
        "node 'mid': every node must be on the path",
    ),
    "seam of another scale": (
        lambda b: with_seam(b, "trunk", scale=float(np.nextafter(np.float32(0.05), np.float32(1)))),
        "seam 'trunk': the output of node 'trunk' must be .* Both sides of a seam must agree",
    ),
    "seam of another zero point": (lambda b: with_seam(b, "mid", zero_point=-127), "seam 'mid'"),
    "seam of another shape": (lambda b: with_seam(b, "mid", shape=(1, 64)), "seam 'mid'"),
    "seam to an unknown node": (
        lambda b: with_seam(b, "mid", consumers=("angle", "angel")),
        "it names 'angel'",
    ),
    "seam without consumers": (
        lambda b: with_seam(b, "mid", consumers=()),
        "seam 'mid': it must have producers and consumers",
    ),
    "neighbours without a seam": (
        lambda b: replace(b, seams=b.seams[:1]),
        "task 'angle': a seam must tie 'mid' to 'angle'",
    ),
    "two seams of one name": (
        lambda b: with_seam(b, "mid", name="trunk"),
        "names of seams must differ; 'trunk' occurs twice",
    ),
    "one output in two seams": (
        lambda b: replace(b, seams=(*b.seams, replace(b.seams[0], name="again"))),
        "node 'trunk': it must stand once among the producers",
    ),
    "too few labels": (
        lambda b: with_task(b, "digit", labels=("a", "b")),
        "task 'digit': its labels must be 5, one for every output, or none; got 2",
    ),
    "labels of a single output": (
        lambda b: with_task(b, "angle", labels=("a", "b", "c")),
        r"must be 1, one for every output \(or 2, for below and above\), or none; got 3",
    ),
    "golden floats": (
        lambda b: with_task(b, "digit", golden_inputs=b.tasks["digit"].golden_inputs * 1.0),
        "its golden inputs must be int8 of shape .* got float64",
    ),
    "golden outputs of another task": (
        lambda b: with_task(b, "digit", golden_outputs=b.tasks["angle"].golden_outputs),
        r"its golden outputs must be int8 of shape \(3, 5\); got int8 of shape \(3, 1\)",
    ),
    "golden vectors of unequal number": (
        lambda b: with_task(b, "digit", golden_outputs=b.tasks["digit"].golden_outputs[:2]),
        r"of shape \(3, 5\); got int8 of shape \(2, 5\)",
    ),
    "no golden vectors": (
        lambda b: with_task(b, "digit", golden_inputs=b.tasks["digit"].golden_inputs[:0]),
        "at least one golden vector",
    ),
    "unknown interpreter": (
        lambda b: with_task(b, "digit", golden_backend="qemu"),
        "one of tflm, litert; got 'qemu'",
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_one_part_that_does_not_fit_is_refused_and_nothing_written(
    small_bundle, tmp_path, mutation
):
    mutate, message = MUTATIONS[mutation]
    with pytest.raises(BundleError, match=message):
        mutate(small_bundle).save(tmp_path / "bundle")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("task", "labels"), [("digit", 5), ("digit", 0), ("angle", 1), ("angle", 2)]
)
def test_labels_that_fit(small_bundle, task, labels):
    names = tuple(f"label {index}" for index in range(labels))
    check_bundle(with_task(small_bundle, task, labels=names))


def test_a_node_with_float_ends_is_refused(small_bundle, new_writer):
    writer = new_writer()
    source, target = writer.tensor((1, 4), "FLOAT32"), writer.tensor((1, 4), "FLOAT32")
    writer.operator("RELU", [source], [target])
    with pytest.raises(BundleError, match=r"node 'mid': .*its input must be INT8; got FLOAT32"):
        check_bundle(with_node(small_bundle, "mid", data=writer.bytes([source], [target])))


def test_a_node_with_two_inputs_is_refused(small_bundle, new_writer):
    writer = new_writer()
    sources = [writer.tensor((1, 4), "INT8", 0.5) for _ in range(2)]
    target = writer.tensor((1, 4), "INT8", 0.5)
    options = writer.schema.AddOptionsT()
    writer.operator("ADD", sources, [target], options)
    with pytest.raises(BundleError, match="one input and one output; got 1, 2 and 1"):
        check_bundle(with_node(small_bundle, "mid", data=writer.bytes(sources, [target])))


def test_a_flatbuffer_of_another_scale_by_one_bit_is_refused(small_bundle):
    spec = small_bundle.nodes["angle"].output
    other = TensorSpec(spec.shape, "int8", np.nextafter(np.float32(spec.scale), np.float32(1)), 7)
    with pytest.raises(BundleError, match="node 'angle': its output must be"):
        check_bundle(with_node(small_bundle, "angle", output=other))
