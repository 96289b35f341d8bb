"""The firmware of the small bundle, in both runtimes; and what builds a folder."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from deploy.board import Board, load_board
from deploy.firmware import Firmware, firmware
from deploy.models import load_models
from quantize.bundle import Bundle

HERE = Path(__file__).parent


def _loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_loaded("folder_building", HERE / "folder_building.py")
writers = _loaded("folder_writers", HERE.parents[1] / "quantize" / "conftest.py")


@pytest.fixture(scope="session")
def nano33ble() -> Board:
    return load_board("nano33ble")


@pytest.fixture(scope="session")
def few_valued(tmp_path_factory) -> Bundle:
    """A model of two dense layers whose weights have four codes."""
    random, writer = np.random.default_rng(0), writers.FlatbufferWriter()
    source = last = writer.tensor((1, 300), "INT8", 0.02, 3)
    for length, units in ((300, 90), (90, 10)):
        codes = random.choice(np.array([-90, -3, 4, 77], np.int8), (units, length))
        weights = writer.tensor(codes.shape, "INT8", 0.01, 0, codes)
        bias = writer.tensor((units,), "INT32", 2e-4, 0, random.integers(-999, 999, units, "i4"))
        target = writer.tensor((1, units), "INT8", 0.3, 0)
        options = writer.schema.FullyConnectedOptionsT()
        writer.operator("FULLY_CONNECTED", [last, weights, bias], [target], options)
        last = target
    path = tmp_path_factory.mktemp("few-valued") / "dense.tflite"
    path.write_bytes(writer.bytes([source], [last]))
    return load_models([path])


@pytest.fixture(scope="session")
def in_c(device_bundle, nano33ble) -> Firmware:
    return firmware(device_bundle, nano33ble)


@pytest.fixture(scope="session")
def on_tflm(device_bundle, nano33ble) -> Firmware:
    return firmware(device_bundle, nano33ble, "tflm")
