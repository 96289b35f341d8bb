"""ROM on a board as a function of a bundle: that of the footprint, with one kernel set for all."""

import dataclasses

import pytest

from deploy import board_rom
from deploy.board import load_board
from deploy.board_rom import BoardRom
from deploy.footprint import footprint
from deploy.footprint.cores import CoreError
from quantize.bundle import Bundle
from quantize.rom.budget import RomModelError


@pytest.fixture(scope="module")
def bundle(bundle_folder) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.mark.parametrize("name", ["nano33ble", "esp32-c3", "pico"])
def test_it_is_what_the_check_counts(bundle, name):
    board = load_board(name)
    assert BoardRom(board)(bundle) == footprint(bundle, board).rom_bytes


def test_kernels_stay_those_of_the_first_bundle(bundle, monkeypatch):
    """What the first kernels do not run is refused, not counted with smaller, slower ones."""
    asked = []

    def counted(one, board, kernels=None):
        asked.append(kernels)
        if kernels is not None and one.name == "other":
            raise CoreError("`kernels` must run every operator.")
        return footprint(one, board, kernels=kernels)

    monkeypatch.setattr(board_rom, "footprint", counted)
    model = BoardRom(load_board("nano33ble"))
    model(bundle)
    model(bundle)
    assert asked == [None, "cmsis-nn-int8"]
    with pytest.raises(RomModelError, match="must run every operator"):
        model(dataclasses.replace(bundle, name="other"))
