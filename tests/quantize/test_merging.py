import numpy as np
import pytest

from quantize.flatbuffer import FlatbufferError, pack, read_graph, unpack
from quantize.interpreter import run_path
from quantize.merging import SeamError, merge
from quantize.strip import strip


def codes_for(data, count, seed=0):
    graph = read_graph(data)
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    return np.random.default_rng(seed).integers(-128, 128, (count, *shape)).astype(np.int8)


@pytest.fixture
def leaf_bytes(new_writer):
    """A leaf on the branch: (1, 5) -> softmax; its input tensor is not the first of its tensors."""
    writer = new_writer()
    output = writer.tensor((1, 5), "INT8", 1 / 256, -128)
    source = writer.tensor((1, 5), "INT8", 1 / 256, -128)
    options = writer.schema.SoftmaxOptionsT()
    options.beta = 30.0
    writer.operator("SOFTMAX", [source], [output], options, 2)
    return writer.bytes([source], [output])


def assert_whole_is_composition(nodes, count=64):
    codes = codes_for(nodes[0], count)
    whole = run_path([merge(nodes)], codes)
    np.testing.assert_array_equal(whole, run_path(nodes, codes))
    assert len(np.unique(whole)) > 5


def test_whole_is_composition_on_tflm(trunk_bytes, branch_bytes, leaf_bytes):
    assert_whole_is_composition([trunk_bytes, branch_bytes])
    assert_whole_is_composition([trunk_bytes, branch_bytes, leaf_bytes])


def test_stripped_nodes_merge_too(trunk_bytes, branch_bytes, leaf_bytes):
    nodes = [strip(data) for data in (trunk_bytes, branch_bytes, leaf_bytes)]
    assert_whole_is_composition(nodes)


def test_the_merged_graph_has_no_tensor_to_spare(trunk_bytes, branch_bytes, leaf_bytes):
    nodes = [trunk_bytes, branch_bytes, leaf_bytes]
    graphs = [read_graph(data) for data in nodes]
    merged = read_graph(merge(nodes))
    assert len(merged.tensors) == sum(len(graph.tensors) for graph in graphs) - 2
    assert [op.name for op in merged.operators] == [
        op.name for graph in graphs for op in graph.operators
    ]
    used = {i for op in merged.operators for i in op.inputs + op.outputs}
    assert used == set(range(len(merged.tensors)))


def test_one_node_merges_to_itself(branch_bytes):
    assert read_graph(merge([branch_bytes])) == read_graph(branch_bytes)


def with_input(data, **changes):
    model = unpack(data)
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    for name, value in changes.items():
        setattr(tensor if hasattr(tensor, name) else tensor.quantization, name, value)
    return pack(model)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # One unit in the last place of float32.
        (
            {"scale": np.nextafter(np.float32([0.05]), np.float32(1))},
            r"scale 0\.0500000007.*scale 0\.0500000044",
        ),
        ({"zeroPoint": np.array([-127], np.int64)}, "zero point -128 .*zero point -127"),
        ({"shape": np.array([1, 8, 4, 4], np.int32)}, r"\(1, 4, 4, 8\).*\(1, 8, 4, 4\)"),
        ({"type": 3, "zeroPoint": np.array([0], np.int64)}, "from node 0 int8.*node 1 uint8"),
        ({"type": 3}, "at node 1: `zero_point`"),
        ({"scale": None}, "at node 1: `tensor` 0 must have exactly one scale, received 0"),
    ],
)
def test_unequal_seams_are_refused_with_the_figures(trunk_bytes, branch_bytes, changes, words):
    with pytest.raises(SeamError, match=words):
        merge([trunk_bytes, with_input(branch_bytes, **changes)])


def test_what_is_no_chain_is_refused(trunk_bytes, branch_bytes, writer):
    with pytest.raises(ValueError, match="at least one flatbuffer"):
        merge([])
    with pytest.raises(FlatbufferError, match="TFL3"):
        merge([trunk_bytes, b"not a flatbuffer"])
    with pytest.raises(SeamError, match=r"\(1, 5\).*\(1, 8, 8, 1\)"):
        merge([branch_bytes, trunk_bytes])
    ends = [writer.tensor((1, 4), "INT8", 0.1) for _ in range(3)]
    writer.operator("ADD", ends[:2], ends[2:], writer.schema.AddOptionsT())
    with pytest.raises(FlatbufferError, match="received 2, 1 and 1 in node 1"):
        merge([trunk_bytes, writer.bytes(ends[:2], ends[2:])])


def test_compressed_tensors_are_refused(trunk_bytes, new_writer):
    writer = new_writer()
    tensor = writer.tensor((1, 4, 4, 8), "INT8", 0.05, -128)
    writer.metadata(b"COMPRESSION_METADATA", b"x")
    with pytest.raises(FlatbufferError, match="compressed ones in node 1"):
        merge([trunk_bytes, writer.bytes([tensor], [tensor])])
