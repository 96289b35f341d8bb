"""Footprint: what a bundle costs on one board, split by node, by task and by cause.

Values only. How they are added up is in `accounting.py`, the models behind them in `rom.py`,
`ram.py` and `shared_arena.py`; limits and verdicts are in `deploy/budget.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.board import Board
from deploy.footprint.latency import Latency
from deploy.footprint.ram import Arena
from deploy.footprint.rom import RuntimeRom


@dataclass(frozen=True)
class NodeFootprint:
    """What one stored node costs.

    Args:
        name: The node.
        rom_bytes: Its flatbuffer.
        stripped_bytes: What the lossless strip took off it.
        share_bytes: By task that uses the node, that task's share of `rom_bytes`; they sum to it.
        arena: Its memory on this board, if it were allocated alone.
        recorded_arena_bytes: Its arena with reference kernels as recorded by TensorFlow Lite Micro
            when the bundle was written, corrected to 32 bits; None without a recording. A check of
            `arena`, independent of it.
    """

    name: str
    rom_bytes: int
    stripped_bytes: int
    share_bytes: dict[str, int]
    arena: Arena
    recorded_arena_bytes: int | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose paths use the node."""
        return tuple(self.share_bytes)


@dataclass(frozen=True)
class TaskFootprint:
    """What one task's path costs.

    Args:
        name: The task.
        path: Its nodes, trunk first.
        model_rom_bytes: Flatbuffers of the whole path: what this task alone, shared with nobody,
            would store.
        share_bytes: The task's share of the stored nodes; over all tasks they sum to the bundle's.
        arena_bytes: Arena to reserve when only this path is allocated, all its nodes in one shared
            allocator.
        latency: Time of one run of this path; None where nothing was published for the core and
            the kernels.
        instructions: Instructions that one run of this path executes, kernels compiled with -Os;
            None where none were counted for the core and the kernels.
    """

    name: str
    path: tuple[str, ...]
    model_rom_bytes: int
    share_bytes: int
    arena_bytes: int
    latency: Latency | None = None
    instructions: int | None = None

    @property
    def single_model_bytes(self) -> int:
        """Flatbuffers of a single-task model of the same architecture: every node of the path."""
        return self.model_rom_bytes


@dataclass(frozen=True)
class Footprint:
    """What a bundle, or some of its tasks, costs on one board.

    An error band (low, high) in percent says: the truth, measured on a linked and running image,
    lies between `estimate * (1 + low / 100)` and `estimate * (1 + high / 100)`.

    Args:
        board: The board.
        kernels: Kernel set: "reference", "cmsis-nn" or "cmsis-nn-int8".
        tasks: By task name.
        nodes: By node name, trunk first; only those that the tasks use.
        runtime: The runtime's code for the union of the nodes' operators.
        ram_parts: `ram_bytes` by cause, in bytes, for `allocate`.
        separate_model_bytes: Flatbuffers of one single-task model per task.
        rom_error_percent: Band of `rom_bytes`; flatbuffers are exact, so only the runtime's counts.
        ram_error_percent: Band of `ram_bytes`.
        notes: What a reader must know to trust the figures: stand-ins, fallbacks, differences.
        allocate: "all": every path lies in one shared allocator at once; "one": only the path that
            runs, allocated anew for each task, its trunk run again.
        all_paths_arena_bytes: Arena for "all", the copies of seams included.
        one_path_arena_bytes: Arena for "one": the largest of any task's.
        latency: Time of all tasks on one input, every node once; None as for a task.
    """

    board: Board
    kernels: str
    tasks: dict[str, TaskFootprint]
    nodes: dict[str, NodeFootprint]
    runtime: RuntimeRom
    ram_parts: dict[str, int]
    separate_model_bytes: int
    rom_error_percent: tuple[float, float]
    ram_error_percent: tuple[float, float]
    notes: tuple[str, ...] = ()
    allocate: str = "all"
    all_paths_arena_bytes: int = 0
    one_path_arena_bytes: int = 0
    latency: Latency | None = None

    @property
    def model_rom_bytes(self) -> int:
        """Flatbuffers of all distinct nodes."""
        return sum(node.rom_bytes for node in self.nodes.values())

    @property
    def rom_bytes(self) -> int:
        """Flatbuffers and runtime code together."""
        return self.model_rom_bytes + self.runtime.rom_bytes

    @property
    def ram_bytes(self) -> int:
        """All of `ram_parts`."""
        return sum(self.ram_parts.values())

    @property
    def slowest_task(self) -> TaskFootprint | None:
        """The task whose path takes longest; None where the time of one is not known."""
        times = {
            name: task.latency.microseconds for name, task in self.tasks.items() if task.latency
        }
        if not times or len(times) < len(self.tasks):
            return None
        return self.tasks[max(times, key=lambda name: times[name])]

    @property
    def has_times(self) -> bool:
        """Whether the time of any task is known."""
        return any(task.latency is not None for task in self.tasks.values())

    @property
    def saved_bytes(self) -> int:
        """Flatbuffer bytes that sharing saves against `separate_model_bytes`."""
        return self.separate_model_bytes - self.model_rom_bytes
