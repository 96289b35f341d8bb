"""What to do when a bundle is over a limit: steps that were tried, with what each saves.

Every figure here is a second footprint with one thing changed, so a step that says "then ROM
fits" is right. Rendering stands in `report/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deploy.board import board_names, load_board
from deploy.footprint import Footprint, footprint
from deploy.footprint.cores import KERNEL_SETS, CoreError, default_kernels
from deploy.footprint.latency import latency
from deploy.lint.finding import listed
from deploy.lint.form_costs import form_costs, other_forms
from deploy.lint.kernel_code import SUBSTITUTES, droppable_operators, freed_bytes
from deploy.units import format_bytes, format_microseconds

if TYPE_CHECKING:
    from deploy.board import Board
    from deploy.usage import Timing, Usage
    from deploy.verdict import Check
    from quantize.bundle import Bundle

_SHOWN_PER_MEMORY = 3
_FITS = {
    "ROM": "ROM fits", "RAM": "RAM fits", "both": "ROM and RAM fit", "time": "the latency fits",
}  # fmt: skip
_KERNEL_ADVICE = {
    "reference": "use the reference kernels, which are slower",
    "cmsis-nn": "use the CMSIS-NN kernels",
    "cmsis-nn-int8": "register the int8-only CMSIS-NN kernels",
}


@dataclass(frozen=True)
class Step:
    """One thing to change.

    Args:
        memory: What it is for: "ROM", "RAM", "both" memories, or "time".
        text: What to do, without figures.
        saved_bytes: What it saves of that memory; 0 where only doing it tells.
        is_enough: Whether that memory then fits; of "both", whether both do.
    """

    memory: str
    text: str
    saved_bytes: int
    is_enough: bool

    def __str__(self) -> str:
        """One line for people."""
        saved = f" (saves {format_bytes(self.saved_bytes)} of {self.memory})"
        saves = saved if self.saved_bytes else ""
        return f"{self.text}{saves}{f', then {_FITS[self.memory]}' if self.is_enough else ''}"


def next_steps(
    bundle: Bundle,
    one: Check,
    found: Footprint,
    rom: Usage,
    ram: Usage,
    time: Timing | None = None,
) -> tuple[Step, ...]:
    """Try what could bring a bundle below the limits that it passes.

    Args:
        bundle: The bundle.
        one: The check that it fails.
        found: Its footprint in that check.
        rom: Flash against its limit.
        ram: RAM against its limit.
        time: Latency against its limit, or None.

    Returns:
        Up to three steps per memory that is over, those that are enough first, and last a board
        that takes the bundle as it is.
    """
    steps: list[Step] = []
    for usage in (rom, ram):
        if usage.fits:
            continue
        tried = [
            *_other_kernels(bundle, one, found, usage),
            *_fewer_tasks(bundle, one, found, usage),
            *_in_int8(bundle, found, usage),
            *(
                _costly_operator(bundle, found, usage)
                if usage.memory == "ROM"
                else _one_path_at_a_time(bundle, one, found, usage)
            ),
        ]
        useful = [step for step in tried if step.saved_bytes > 0]
        ordered = sorted(useful, key=lambda step: (not step.is_enough, -step.saved_bytes))
        if usage.memory == "RAM":
            ordered.append(_smaller_activations(found))
        steps += ordered[:_SHOWN_PER_MEMORY]
    if not (rom.fits and ram.fits):
        steps += _board_that_fits(bundle, one, rom, ram)
    if time is not None and not time.fits:
        steps += _faster(bundle, one, time)
    return tuple(steps)


def _step(usage: Usage, text: str, saved_bytes: int) -> Step:
    return Step(usage.memory, text, saved_bytes, saved_bytes >= usage.over_bytes)


def _saved(usage: Usage, before: Footprint, after: Footprint) -> int:
    """Bytes of the usage's memory between two footprints."""
    if usage.memory == "ROM":
        return before.rom_bytes - after.rom_bytes
    return before.ram_bytes - after.ram_bytes


def _other_kernels(bundle: Bundle, one: Check, found: Footprint, usage: Usage) -> Iterator[Step]:
    """Another kernel set, where it was measured for the core."""
    for kernels in KERNEL_SETS:
        if kernels == found.kernels:
            continue
        try:
            after = footprint(bundle, one.board, one.tasks, kernels, one.allocate)
        except CoreError:  # CMSIS-NN is made for Cortex-M only
            continue
        yield _step(usage, _KERNEL_ADVICE[kernels], _saved(usage, found, after))


def _fewer_tasks(bundle: Bundle, one: Check, found: Footprint, usage: Usage) -> Iterator[Step]:
    """Leaving one task out: its nodes, and the kernels that only they need."""
    if len(found.tasks) < 2:
        return
    for left_out in found.tasks:
        rest = tuple(name for name in found.tasks if name != left_out)
        after = footprint(bundle, one.board, rest, found.kernels, one.allocate)
        yield _step(usage, f"ship without task {left_out}", _saved(usage, found, after))


def _in_int8(bundle: Bundle, found: Footprint, usage: Usage) -> Iterator[Step]:
    """int8 instead of a form that takes more: the code of its kernels, or memory to decode into."""
    for form in other_forms(bundle, found):
        costs = form_costs(bundle, found, form.int8)
        if costs is None:
            continue
        saved = costs.rom_bytes if usage.memory == "ROM" else costs.ram_bytes
        yield _step(usage, f"quantize {listed(form.nodes)} in int8, without {form.kind}", saved)


def _costly_operator(bundle: Bundle, found: Footprint, usage: Usage) -> Iterator[Step]:
    """The operator whose kernel would free the most code if no node used it."""
    names = droppable_operators(bundle, found)
    saved = {name: freed_bytes(bundle, found, (name,)) for name in names}
    if not saved:
        return
    name = max(saved, key=lambda name: saved[name])
    nodes = [node for node in found.nodes if name in bundle.nodes[node].operators]
    users = " and ".join(nodes) if len(nodes) < 3 else f"{len(nodes)} nodes"
    hint = f"; {SUBSTITUTES[name]}" if name in SUBSTITUTES else ""
    yield _step(usage, f"do without {name} (in {users}{hint})", saved[name])


def _one_path_at_a_time(
    bundle: Bundle, one: Check, found: Footprint, usage: Usage
) -> Iterator[Step]:
    """Allocating only the path that runs, at the price of running the trunk for every task."""
    if len(found.tasks) < 2 or one.allocate == "one":
        return
    after = footprint(bundle, one.board, one.tasks, found.kernels, "one")
    text = 'allocate one task\'s path at a time, trunk included (`allocate = "one"`)'
    yield _step(usage, text, _saved(usage, found, after))


def _smaller_activations(found: Footprint) -> Step:
    """Another architecture of the node whose activations fill the shared part of the arena."""
    node = max(found.nodes.values(), key=lambda node: node.arena.head_bytes)
    text = (
        f"shrink the largest activations, {format_bytes(node.arena.head_bytes)} in {node.name}: a "
        "smaller input, or a stride in an earlier layer"
    )
    return Step("RAM", text, 0, False)


def _board_that_fits(bundle: Bundle, one: Check, rom: Usage, ram: Usage) -> Iterator[Step]:
    """The built-in board with the least flash that takes the bundle as it is.

    Only where a board's own limit is passed: another board does not lift a limit that the user set.
    """
    if any(usage.is_own_limit and not usage.fits for usage in (rom, ram)):
        return
    boards = sorted(map(load_board, board_names()), key=lambda b: (b.rom_slot_bytes, b.ram_bytes))
    seen: dict[tuple[str, str, bool], tuple[int, int]] = {}
    for board in boards:
        core = (board.core, board.fpu, board.runs_from_ram)
        if core not in seen:
            try:
                after = _priced(_Same(bundle), _Same(board), one.tasks, one.kernels, one.allocate)
            except CoreError:  # the check's kernels are not made for it
                continue
            seen[core] = _with_reserves(one, board, after)
        if _is_enough(one, board, *seen[core]):
            yield Step("both", f"take a larger board: {board.name}", 0, True)
            return


class _Same:
    """A value that equals itself alone, so that what was found for it is found once."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


@lru_cache(maxsize=256)
def _priced(
    bundle: _Same, board: _Same, tasks: tuple[str, ...] | None, kernels: str | None, allocate: str
) -> Footprint:
    """A footprint; many checks of one run try the same boards."""
    return footprint(bundle.value, board.value, tasks, kernels, allocate)


def _with_reserves(one: Check, board: Board, found: Footprint) -> tuple[int, int]:
    """ROM and RAM of a footprint on a board, with those of the rest of the firmware."""
    return (
        found.rom_bytes + one.reserve_rom_bytes,
        found.ram_bytes + one.ram_reserve_bytes(board),
    )


def _is_enough(one: Check, board: Board, rom_bytes: int, ram_bytes: int) -> bool:
    """Whether a board takes so much and keeps the check's margin free."""
    return all(
        used + one.margin.of(limit) <= limit
        for used, limit in ((rom_bytes, board.rom_slot_bytes), (ram_bytes, board.ram_bytes))
    )


def _faster(bundle: Bundle, one: Check, time: Timing) -> Iterator[Step]:
    """What takes the time, and the slowest built-in board that is fast enough and takes it."""
    costs = time.latency.by_operator
    operator = max(costs, key=lambda name: costs[name])
    share = 100 * costs[operator] / time.used_us
    yield Step(
        "time",
        f"shrink what {operator} works on in the path of {time.task}: it takes {share:.0f} % of "
        "the time; use a stride, or fewer channels, in an early layer",
        0,
        False,
    )
    usable_us = (time.limit_us or 0.0) - time.margin_us
    boards = sorted(map(load_board, board_names()), key=lambda b: (b.clock_hz, b.rom_slot_bytes))
    path = {name: bundle.nodes[name] for name in time.latency.by_node}
    for board in boards:
        try:
            alone = latency(path, board, one.kernels or default_kernels(board.core))
            if alone is None or alone.microseconds > usable_us:
                continue
            after = _priced(_Same(bundle), _Same(board), one.tasks, one.kernels, one.allocate)
        except CoreError:  # the check's kernels are not made for it
            continue
        slowest = after.slowest_task
        if slowest is None or slowest.latency is None or slowest.latency.microseconds > usable_us:
            continue
        if _is_enough(one, board, *_with_reserves(one, board, after)):
            took = format_microseconds(slowest.latency.microseconds)
            yield Step("time", f"take a faster board: {board.name}, about {took}", 0, True)
            return
