"""Rule: what the tasks share is lighter than what each has of its own, so sharing saves little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.footprint import Footprint
from deploy.footprint.footprint import TaskFootprint
from deploy.lint.finding import Finding, listed
from deploy.units import format_bytes
from quantize.bundle import Bundle


def light_trunk(bundle: Bundle, found: Footprint) -> Iterator[Finding]:
    """Of every tree of two tasks or more: nodes on all its paths against the rest of a path."""
    trees: dict[str, list[TaskFootprint]] = {}
    for task in found.tasks.values():
        trees.setdefault(task.path[0], []).append(task)
    for tasks in trees.values():
        if len(tasks) > 1:
            yield from _weigh(bundle, tasks)


def _weigh(bundle: Bundle, tasks: Sequence[TaskFootprint]) -> Iterator[Finding]:
    """One tree, by the bytes of its flatbuffers."""
    paths = [dict.fromkeys(task.path) for task in tasks]
    shared = tuple(name for name in paths[0] if all(name in path for path in paths))
    trunk_bytes = sum(bundle.nodes[name].rom_bytes for name in shared)
    path_bytes = [sum(bundle.nodes[name].rom_bytes for name in path) for path in paths]
    branch_bytes = sum(path_bytes) // len(tasks) - trunk_bytes
    if trunk_bytes >= branch_bytes:
        return
    again = len(tasks) - 1
    saved_percent = 100 * again * trunk_bytes / sum(path_bytes)
    macs = sum(bundle.nodes[name].macs for path in paths for name in path)
    trunk_macs = again * sum(bundle.nodes[name].macs for name in shared)
    work = f" and {100 * trunk_macs / macs:.0f} % of the work" if macs else ""
    verb = "holds" if len(shared) == 1 else "hold"
    yield Finding(
        "light-trunk",
        shared,
        f"{listed(shared)} {verb} {format_bytes(trunk_bytes)}, and the rest of a path "
        f"{format_bytes(branch_bytes)} on average: sharing saves {saved_percent:.0f} % of the bytes"
        f"{work}",
        "let the tasks part later, so that they share more layers",
    )
