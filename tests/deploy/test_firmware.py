"""What stands in a firmware folder; building it is tested in `firmware_folder/`."""

import hashlib
import re

import numpy as np
import pytest

from deploy.board import load_board
from deploy.firmware import FirmwareError, firmware
from deploy.firmware_folder.cross_compiler import cross_compiler
from deploy.firmware_folder.golden import with_golden_vectors
from deploy.models import load_models
from deploy.packed_image import encode, pack_bundle
from quantize.bundle import Bundle, BundleError


@pytest.fixture(scope="module")
def nano33ble():
    return load_board("nano33ble")


@pytest.mark.parametrize("runtime", ["c", "tflm"])
def test_the_same_arguments_give_the_same_bytes(device_bundle, nano33ble, runtime):
    first, second = (firmware(device_bundle, nano33ble, runtime) for _ in range(2))
    assert first.files == second.files
    assert list(first.files) == sorted(first.files)


@pytest.mark.parametrize("runtime", ["c", "tflm"])
def test_the_image_is_the_bundle(device_bundle, nano33ble, runtime):
    made = firmware(device_bundle, nano33ble, runtime)
    assert made.files["bundle.bin"] == encode(pack_bundle(device_bundle))
    readme = made.files["README.md"].decode()
    assert hashlib.sha256(made.files["bundle.bin"]).hexdigest() in readme
    assert all(node.sha256 in readme for node in device_bundle.nodes.values())


def test_tasks_can_be_chosen(device_bundle, nano33ble):
    for runtime in ("c", "tflm"):
        made = firmware(device_bundle, nano33ble, runtime, tasks=["angle"])
        assert not [name for name in made.files if "softmax" in name]
        assert b"digit" not in made.files["README.md"]
        assert b"digit" not in made.files["bundle.bin"]
    with pytest.raises(BundleError, match="angel"):
        firmware(device_bundle, nano33ble, tasks="angel")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tfml"}, "`runtime` must be one of c, tflm; received 'tfml'. Did you mean"),
        ({"isa": "dps"}, "received 'dps'. Did you mean 'dsp'"),
        ({"isa": "mve"}, "`isa` must be one that cortex-m4 has, dsp, portable; received 'mve'"),
        ({"kernels": "reference"}, "`kernels` is for the runtime tflm"),
        ({"allocate": "one"}, "`allocate` is for the runtime tflm"),
        ({"pack_weights": "always"}, "`pack_weights` must be one of auto, never; received"),
        (
            {"runtime": "tflm", "pack_weights": "never"},
            "`pack_weights` is for the runtime c, received 'never'",
        ),
        ({"runtime": "tflm", "isa": "dsp"}, "`isa` is for the runtime c, received 'dsp'"),
    ],
)
def test_wrong_options_are_refused(device_bundle, nano33ble, options, message):
    with pytest.raises(FirmwareError, match=re.escape(message)):
        firmware(device_bundle, nano33ble, **options)


@pytest.mark.parametrize("name", ["pico", "esp32-c3", "esp32-s3", "max78000fthr"])
@pytest.mark.parametrize("runtime", ["c", "tflm"])
def test_every_kind_of_board_has_a_folder(device_bundle, runtime, name):
    made = firmware(device_bundle, load_board(name), runtime)
    assert f"{cross_compiler(load_board(name)).prefix}-gcc" in made.files["README.md"].decode()
    assert b"@" not in re.sub(rb"\$@|@test|@mkdir|@echo", b"", made.files["Makefile"])
    assert not re.search(rb"@[A-Z_]+@", made.files["README.md"] + made.files["CMakeLists.txt"])


def test_a_bundle_of_one_node_and_no_labels(shared, nano33ble):
    speech: Bundle = load_models([shared / "models" / "tflm__micro_speech_quantized.tflite"])
    made = firmware(speech, nano33ble)
    assert "runs only the" not in made.files["README.md"].decode()
    codes = with_golden_vectors(speech).tasks[speech.name].golden_inputs
    assert codes.dtype == np.int8
    assert len(np.unique(codes)) > 200
