"""What a bundle costs on a board: ROM and RAM, by node and by cause, with the stated error.

`rom.py` has the runtime's code, `ram.py` the memory of one node, `accounting.py` puts them together
for a bundle on a board. Budgets are held against these values in `deploy/budget.py`.

Example:
    >>> from deploy.footprint import runtime_rom
    >>> runtime = runtime_rom(["CONV_2D", "FULLY_CONNECTED"], "cortex-m4", "cmsis-nn-int8")
    >>> runtime.rom_bytes == runtime.core_bytes + runtime.kernel_bytes
    True
"""

from deploy.footprint.accounting import footprint
from deploy.footprint.footprint import Footprint, NodeFootprint, TaskFootprint
from deploy.footprint.latency import Latency, latency
from deploy.footprint.latency_instructions import instructions
from deploy.footprint.ram import Arena, node_arena
from deploy.footprint.rom import RuntimeRom, runtime_rom

__all__ = [
    "Arena",
    "Footprint",
    "Latency",
    "NodeFootprint",
    "RuntimeRom",
    "TaskFootprint",
    "footprint",
    "instructions",
    "latency",
    "node_arena",
    "runtime_rom",
]
