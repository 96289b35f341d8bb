"""The firmware of the small bundle, in both runtimes; and what builds a folder."""

import importlib.util
import sys
from pathlib import Path

import pytest

from deploy.board import Board, load_board
from deploy.firmware import Firmware, firmware

_SPEC = importlib.util.spec_from_file_location(
    "folder_building", Path(__file__).with_name("folder_building.py")
)
sys.modules["folder_building"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules["folder_building"])


@pytest.fixture(scope="session")
def nano33ble() -> Board:
    return load_board("nano33ble")


@pytest.fixture(scope="session")
def in_c(device_bundle, nano33ble) -> Firmware:
    return firmware(device_bundle, nano33ble)


@pytest.fixture(scope="session")
def on_tflm(device_bundle, nano33ble) -> Firmware:
    return firmware(device_bundle, nano33ble, "tflm")
