"""ROM of a bundle on a board as a function, for the search for precisions in `quantize`.

Belongs here: the footprint's ROM with one kernel set for all bundles that are compared. Does not
belong here: the figures (`deploy/footprint`), or the search (`quantize/rom`).
"""

from __future__ import annotations

from deploy.board import Board
from deploy.footprint import Footprint, footprint
from deploy.footprint.cores import CoreError
from deploy.footprint.ram import RamError
from deploy.footprint.rom import RomError
from quantize.bundle import Bundle
from quantize.rom.budget import RomModelError


class BoardRom:
    """What bundles take on a board, the runtime's code included, as `check` counts it.

    All are counted with the kernels of the first. A form that those do not run is refused: the
    reference kernels that would take their place are smaller and many times slower, and a search
    for bytes would take that for a gain.

    Args:
        board: The board.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._kernels: str | None = None

    def __call__(self, bundle: Bundle) -> int:
        """Return ROM in bytes.

        Raises:
            RomModelError: The kernels do not run a node, or what it takes is not known.
        """
        return self.footprint(bundle).rom_bytes

    def footprint(self, bundle: Bundle) -> Footprint:
        """Return all that a bundle costs on the board, with the same kernels.

        Raises:
            RomModelError: The kernels do not run a node, or what it takes is not known.
        """
        try:
            found = footprint(bundle, self.board, kernels=self._kernels)
        except (CoreError, RamError, RomError) as error:
            raise RomModelError(str(error)) from error
        self._kernels = found.kernels
        return found
