"""What a bundle costs on a board: ROM and RAM, by node and by cause, with the stated error.

`rom.py` has the runtime's code, `ram.py` the memory of one node, `footprint.py` puts them together
for a bundle on a board. Budgets are held against these values in `deploy/budget.py`.
"""

from deploy.footprint.footprint import Footprint, NodeFootprint, TaskFootprint
from deploy.footprint.ram import Arena
from deploy.footprint.rom import RuntimeRom

__all__ = [
    "Arena",
    "Footprint",
    "NodeFootprint",
    "RuntimeRom",
    "TaskFootprint",
]
