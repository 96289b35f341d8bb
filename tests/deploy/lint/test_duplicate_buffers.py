"""Equal weights in several nodes: counted once per further copy, by the nodes that hold them."""

import numpy as np
import pytest

WIDE = (1, 16)  # weights of a dense layer: 256 B, biases 64 B


def dense_node(flatbuffer, *seeds, shape=WIDE):
    """A node of one dense layer per seed."""
    return flatbuffer("FULLY_CONNECTED", shape=shape, seed=seeds[0])


def test_nodes_with_the_same_layer(flatbuffer, bundle_of, findings_of):
    same, other = dense_node(flatbuffer, 1), dense_node(flatbuffer, 2)
    bundle = bundle_of({"a": same, "b": same, "c": other, "d": same})
    (finding,) = findings_of(bundle, "duplicate-buffers")
    assert finding.where == ("a", "b", "d")
    assert (finding.memory, finding.saved_bytes) == ("ROM", 2 * (256 + 64))
    assert finding.text == "2 equal buffers, 320 B, stand in each of a, b and d"


def test_only_nodes_of_the_footprint_s_tasks_count(flatbuffer, bundle_of, findings_of):
    same = dense_node(flatbuffer, 1)
    bundle = bundle_of({"a": same, "b": same})
    assert findings_of(bundle, "duplicate-buffers", tasks=("a",)) == []


@pytest.mark.parametrize(("length", "saved"), [(15, 225), (16, 320), (7, 0), (8, 64)])
def test_buffers_of_64_bytes_or_more_count(flatbuffer, bundle_of, findings_of, length, saved):
    same = dense_node(flatbuffer, 1, shape=(1, length))
    findings = findings_of(bundle_of({"a": same, "b": same}), "duplicate-buffers")
    assert sum(finding.saved_bytes for finding in findings) == saved


def test_equal_zeros_are_no_equal_layer(made, bundle_of, findings_of):
    def node(seed):
        writer = made.FlatbufferWriter()
        source = writer.tensor(WIDE, "INT8", 0.1, 0)
        codes = np.random.default_rng(seed).integers(-127, 128, (16, 16)).astype(np.int8)
        weights = writer.tensor((16, 16), "INT8", 0.01, 0, codes)
        bias = writer.tensor((16,), "INT32", 0.001, 0, np.zeros(16, np.int32))
        output = writer.tensor(WIDE, "INT8", 0.1, 0)
        options = writer.schema.FullyConnectedOptionsT()
        writer.operator("FULLY_CONNECTED", [source, weights, bias], [output], options, 4)
        return writer.bytes([source], [output])

    assert findings_of(bundle_of({"a": node(1), "b": node(2)}), "duplicate-buffers") == []


def test_the_public_models_share_nothing(public_models, bundle_of, findings_of):
    assert findings_of(bundle_of(public_models), "duplicate-buffers") == []
    twice = {"kws": public_models["kws"], "again": public_models["kws"]}
    (finding,) = findings_of(bundle_of(twice), "duplicate-buffers")
    # 4 depthwise and 5 other convolutions of 64 channels, 12 classes; biases of 64 * 4 B but of the
    # classes, whose 48 B are too few.
    assert finding.saved_bytes == 64 * (40 + 4 * 9 + 4 * 64) + 12 * 64 + 9 * 256
