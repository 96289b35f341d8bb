"""The budget file: `keras-tree.toml`, or the table `[tool.keras-tree]` of a `pyproject.toml`.

    [project]
    bundle = "build/bundle"         # relative to this file; a list: several on one device
    reserve_rom = "180 KiB"         # what the rest of the firmware takes: application, RTOS, radio
    reserve_ram = "24 KiB"
    kernels = "cmsis-nn-int8"       # left out: the best measured for each board's core
    margin = "5 %"                  # what must stay free below every limit
    baseline = "baseline.json"      # written by `keras-tree check --write-baseline`
    allow_growth = "2 KiB"          # against the baseline; left out: up to the limit
    allocate = "all"                # "one": only the path that runs lies in the arena

    [[board]]
    use = "nano33ble"               # a built-in board, or a .toml file, with limits of your own
    rom = "400 KiB"                 # left out: the board's application slot
    ram = "96 KiB"                  # left out: the board's main block
    latency = "120 ms"              # left out: no limit
    clock = "32 MHz"                # any other field of the board may be overridden

    [[board]]                       # a board of your own; `rom` and `ram` are what it has
    name = "gate-sensor"
    core = "cortex-m4"
    clock = "80 MHz"
    rom = "512 KiB"
    ram = "96 KiB"

    [[check]]                       # no check at all: every board, with all tasks
    name = "kws-only"
    board = "nano33ble"             # a board of this file, or a built-in one
    tasks = ["kws"]                 # or "*"
    image = "build/firmware.elf"    # ROM is read from the linked image

Several bundles are `[[bundle]]` tables with `name` and `path`, and a check names its `bundle`, or
runs for each. Which keys there are is in `reading.py`, what a value may look like in `tables.py`,
on which line it stands in `lines.py`, what follows from all of it in `checks.py`, and the file
that `keras-tree init` writes in `template.py`; limits are held against a bundle in
`deploy/budget.py`.
"""

from deploy.budget_file.checks import BudgetFile
from deploy.budget_file.reading import (
    FILE_NAME,
    budget_file_from,
    find_budget_file,
    read_budget_file,
)

__all__ = ["FILE_NAME", "BudgetFile", "budget_file_from", "find_budget_file", "read_budget_file"]
