"""Tell what a bundle costs on a board: ROM, RAM, and whether it fits the budget.

Example:
    >>> from deploy import Check, check, load_board
    >>> from quantize import Bundle
    >>> report = check(Bundle.load("bundle"), [Check("kws", load_board("nano33ble"))])
    >>> report.fits
    True

The names are loaded when first used, so that a command which needs no numbers starts without NumPy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy.board import Board, BoardError, board_names, load_board
    from deploy.budget import BudgetError, BudgetReport, Check, check
    from deploy.footprint.footprint import Footprint

__all__ = [
    "Board",
    "BoardError",
    "BudgetError",
    "BudgetReport",
    "Check",
    "Footprint",
    "board_names",
    "check",
    "load_board",
]

_HOMES = {
    "Board": "deploy.board",
    "BoardError": "deploy.board",
    "BudgetError": "deploy.budget",
    "BudgetReport": "deploy.budget",
    "Check": "deploy.budget",
    "Footprint": "deploy.footprint.footprint",
    "board_names": "deploy.board",
    "check": "deploy.budget",
    "load_board": "deploy.board",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'deploy' has no attribute {name!r}")
