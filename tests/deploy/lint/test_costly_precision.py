"""int4 weights and int16 activations that take more flash than int8 on a board."""

import pytest
from made_forms import with_int4, with_int16

from deploy.board import load_board
from deploy.footprint import footprint
from quantize.strip import strip

NANO = load_board("nano33ble")


@pytest.fixture(scope="module")
def convolution_of(made):
    """A 3x3 convolution on 8x8 pixels."""

    def make(channels: int) -> bytes:
        writer = made.FlatbufferWriter()
        first = writer.tensor((1, 8, 8, channels), "INT8", 0.1, -128)
        last = made.convolution(writer, first, (1, 8, 8, channels), channels, 0.1, 1)
        return strip(writer.bytes([first], [last]))

    return make


def test_int4_pays_where_its_weights_outweigh_its_kernels(convolution_of, bundle_of, findings_of):
    (finding,) = findings_of(bundle_of({"trunk": with_int4(convolution_of(8))}), "costly-precision")
    plain = footprint(bundle_of({"trunk": convolution_of(8)}), NANO)
    small = footprint(bundle_of({"trunk": with_int4(convolution_of(8))}), NANO)
    assert finding.saved_bytes == small.rom_bytes - plain.rom_bytes > 0
    assert finding.text.startswith("the int4 weights of trunk take 288 B less of flatbuffers and ")
    assert (finding.where, finding.memory, finding.board) == (("trunk",), "ROM", "nano33ble")
    large = bundle_of({"trunk": with_int4(convolution_of(64))})
    assert findings_of(large, "costly-precision") == []


def test_reference_kernels_bring_int4_with_them(convolution_of, bundle_of, findings_of):
    bundle = bundle_of({"trunk": with_int4(convolution_of(8))})
    assert findings_of(bundle, "costly-precision", kernels="reference") == []


def test_int16_takes_more_of_everything_with_reference_kernels(
    convolution_of, bundle_of, findings_of
):
    bundle = bundle_of({"trunk": with_int16(convolution_of(8))})
    (finding,) = findings_of(bundle, "costly-precision", kernels="reference")
    assert finding.text.startswith("the int16 activations of trunk take 32 B more of flatbuffers")
    assert finding.text.endswith("1.0 KiB more of RAM than int8 would")


def test_int8_has_no_finding(convolution_of, public_models, bundle_of, findings_of):
    bundle = bundle_of({"trunk": convolution_of(8), **public_models})
    assert findings_of(bundle, "costly-precision") == []
