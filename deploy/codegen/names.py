"""C identifiers for nodes and tasks: readable, unique, and none of C's or of the kernels' own.

Belongs here: names. Does not belong here: what is declared under them (`emit_header.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

__all__ = ["CNames", "c_names", "mangled"]

_TAKEN = frozenset({"KT_MODEL_BUFFER_BYTES", "KT_MODEL_TASK_COUNT", "KT_ALIGN", "KT_ISA"})


class CNames:
    """The identifiers of one program.

    Args:
        bundle: The bundle's, in upper case, for its macro.
        nodes: By node: `kt_node_<...>` runs it.
        tasks: By task: stands in `kt_run_<...>` and the other names.
    """

    def __init__(self, bundle: str, nodes: Mapping[str, str], tasks: Mapping[str, str]) -> None:
        self.bundle = bundle
        self.nodes = dict(nodes)
        self.tasks = dict(tasks)

    def run_node(self, node: str) -> str:
        """The function that runs a node."""
        return f"kt_node_{self.nodes[node]}"

    def enumerator(self, task: str) -> str:
        """The task's number."""
        return f"KT_TASK_{self.tasks[task].upper()}"

    def macro(self, task: str, what: str) -> str:
        """A constant of a task, e.g. its input's scale."""
        return f"KT_{self.tasks[task].upper()}_{what}"

    def goes_on(self, task: str, after: str | None) -> str:
        """The function that runs the rest of a path; after the trunk, no node is named."""
        end = "" if after is None else f"_after_{self.nodes[after]}"
        return f"kt_continue_{self.tasks[task]}{end}"


def c_names(bundle: str, nodes: Iterable[str], tasks: Iterable[str]) -> CNames:
    """Choose the identifiers of a program.

    Args:
        bundle: The bundle's name.
        nodes: Names of its nodes.
        tasks: Names of its tasks.

    Returns:
        The names; equal ones are told apart by a number.
    """
    taken = set(_TAKEN)
    nodes = list(nodes)
    by_node = {name: _unique(name, taken, _of_node) for name in nodes}

    def of_task(text: str) -> list[str]:
        return _of_task(text, list(by_node.values()))

    by_task = {name: _unique(name, taken, of_task) for name in tasks}
    return CNames(mangled(bundle).upper(), by_node, by_task)


def mangled(name: str) -> str:
    """A name with all that C does not allow replaced by underscores."""
    return re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", name)).strip("_") or "x"


def _of_node(text: str) -> list[str]:
    return [f"kt_node_{text}".upper()]


def _of_task(text: str, nodes: list[str]) -> list[str]:
    """Everything that is declared for a task, in one case: macros and functions may not meet."""
    names = [f"kt_run_{text}", f"kt_continue_{text}", f"kt_task_{text}", f"kt_{text}_labels"]
    names += [f"kt_{text}_{side}" for side in ("input", "output")]
    names += [f"kt_continue_{text}_after_{node}" for node in nodes]
    ends = ("BYTES", "OFFSET", "SCALE", "ZERO_POINT")
    names += [f"kt_{text}_{side}_{end}" for side in ("input", "output") for end in ends]
    names.append(f"kt_{text}_label_count")
    return [name.upper() for name in names]


def _unique(name: str, taken: set[str], declared: Callable[[str], list[str]]) -> str:
    """The mangled name, with the lowest number that makes all of its identifiers new."""
    base, number = mangled(name), 1
    text = base
    while taken & set(declared(text)):
        number += 1
        text = f"{base}_{number}"
    taken.update(declared(text))
    return text
