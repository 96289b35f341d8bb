"""Dead channels of nodes: which of them may go, and the bytes that they hold."""

import numpy as np
import pytest

from deploy.lint.dead_channels import DeadChannels, count_dead_channels
from quantize.flatbuffer import pack, unpack


def with_zeros(data, layers, every):
    """The same file, `every`-th output channel of its `layers` (operator numbers) all zero."""
    model = unpack(data)
    graph = model.subgraphs[0]
    for index in layers:
        operator = graph.operators[index]
        weights = graph.tensors[operator.inputs[1]]
        buffer = model.buffers[weights.buffer]
        codes = np.frombuffer(bytes(buffer.data), np.int8).reshape(weights.shape).copy()
        if weights.shape[0] == 1:
            codes[..., ::every] = 0
        else:
            codes[::every] = 0
        buffer.data = np.frombuffer(codes.tobytes(), np.uint8)
    return pack(model)


KWS_LAYERS = (*range(9), 11)


def test_the_zeros_of_kws_and_their_bytes_by_hand(public_models):
    data = with_zeros(public_models["kws"], KWS_LAYERS, 3)
    # 22 of 64 channels in 9 layers; the 12 classes are followed by a softmax and stay. A channel
    # holds its weights, a bias of 4 B, and two scales and zero points of 4 and 8 B.
    held = 22 * ((40 + 28) + 4 * (9 + 28) + 4 * (64 + 28))
    assert count_dead_channels(data, True) == DeadChannels(588, 198, 198, held)


def test_the_finding_says_how_many_and_how_much(public_models, bundle_of, findings_of):
    data = with_zeros(public_models["kws"], KWS_LAYERS, 3)
    bundle = bundle_of({"kws": data, "whole": public_models["kws"]})
    (finding,) = findings_of(bundle, "dead-channels")
    assert finding.where == ("kws",)
    assert finding.text == (
        "198 of 588 channels of kws are dead (198 have only zero weights) and hold at least "
        "12.5 KiB"
    )
    assert (finding.memory, finding.saved_bytes, finding.board) == ("ROM", 12_848, "")


@pytest.mark.parametrize(
    ("layer", "dead"),
    [(0, 0), (1, 8), (2, 0), (4, 16), (5, 0), (14, 0)],
    ids=["into an addition", "to a convolution", "addition", "second block", "addition 2", "class"],
)
def test_channels_that_an_addition_or_a_task_needs_stay(public_models, layer, dead):
    data = with_zeros(public_models["resnet"], (layer,), 2)
    assert count_dead_channels(data, True).dead == dead


@pytest.mark.parametrize(("ends_task", "dead"), [(True, 0), (False, 4)])
def test_a_seam_may_become_narrower_and_a_task_s_output_not(made, ends_task, dead):
    writer = made.FlatbufferWriter()
    image = writer.tensor((1, 8, 8, 1), "INT8", 0.02, -5)
    output = made.convolution(writer, image, (1, 8, 8, 1), 8, 0.04, 1)
    data = with_zeros(writer.bytes([image], [output]), (0,), 2)
    assert count_dead_channels(data, ends_task).dead == dead


def test_live_nodes_give_no_finding(device_bundle, findings_of):
    assert findings_of(device_bundle, "dead-channels") == []
