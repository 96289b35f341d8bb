"""The picture of a tree in plain text, as `Tree.summary` prints it.

Numbers of a float32 tree stand here. What a tree costs on a board, as int8, is the deployment's
report.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from keras_tree.nodes import is_frozen

if TYPE_CHECKING:
    from keras_tree.tree import Tree

HEADER = ("node", "parameters", "bytes (float32)", "share", "tasks")
BYTES_PER_PARAMETER = 4  # float32


def draw(tree: "Tree") -> str:
    """Return the picture of a tree: its nodes with parameters, bytes and share, and their tasks.

    Paths that do not form a tree are drawn as a list of nodes and a list of paths, the nodes that
    several paths share marked with a star.
    """
    counts = {name: node.count_params() for name, node in tree.nodes.items()}
    total = sum(counts.values())
    lines = outline(tree.paths)
    labels = dict(lines) if lines is not None else {name: name for name in counts}
    rows = [
        (
            labels[name],
            f"{counts[name]:,}",
            f"{counts[name] * BYTES_PER_PARAMETER:,}",
            f"{counts[name] / total:.1%}" if total else "-",
            users(tree, name),
        )
        for name in labels
    ]
    parts = [title(tree, total), table([HEADER, *rows])]
    if lines is None:
        parts.append(list_paths(tree.paths))
    return "\n\n".join(parts) + "\n"


def title(tree: "Tree", total: int) -> str:
    """Return the line that counts tasks, nodes and parameters."""
    trained = sum(int(weight.value.shape.num_elements()) for weight in tree.trainable_variables)
    frozen = "" if trained == total else f" ({trained:,} trainable)"
    size = f"{total:,} parameters{frozen}, {total * BYTES_PER_PARAMETER:,} bytes as float32"
    parts = f"{counted(tree.tasks, 'task')}, {counted(tree.nodes, 'node')}"
    return f"Tree {tree.name!r}: {parts}, {size}"


def counted(things: Mapping[str, object], noun: str) -> str:
    """Return the number of things with the noun in the right form."""
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")


def users(tree: "Tree", node: str) -> str:
    """Return the tasks that run a node: which end there, which are auxiliary; is it frozen."""
    named = []
    for task, path in tree.paths.items():
        if node in path:
            ends = path[-1] == node and node != task
            notes = ["ends here"] * ends + ["auxiliary"] * tree.tasks[task].auxiliary
            named.append(f"{task} ({', '.join(notes)})" if notes else task)
    frozen = "  [frozen]" if is_frozen(tree.nodes[node]) else ""
    return ", ".join(named) + frozen


def outline(paths: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]] | None:
    """Return (node, its indented label) from the root down; None if the paths are not a tree."""
    children: dict[str, list[str]] = {}
    parents: dict[str, set[str]] = {}
    for path in paths.values():
        for before, node in zip(("", *path), path, strict=False):
            parents.setdefault(node, set()).add(before)
            if node not in children.setdefault(before, []):
                children[before].append(node)
    if any(len(above) > 1 for above in parents.values()):
        return None
    lines: list[tuple[str, str]] = []

    def add(node: str, lead: str, below: str) -> None:
        lines.append((node, lead + node))
        last = len(children.get(node, [])) - 1
        for index, child in enumerate(children.get(node, [])):
            corner, bar = ("└── ", "    ") if index == last else ("├── ", "│   ")
            add(child, below + corner, below + bar)

    add(children[""][0], "", "")
    return lines


def list_paths(paths: Mapping[str, tuple[str, ...]]) -> str:
    """Return one line per path, the nodes that several paths share marked with a star."""
    shared = {n for n in flat(paths) if sum(n in path for path in paths.values()) > 1}
    width = max(len(task) for task in paths)
    lines = ["paths (* = a node that several paths share)"]
    for task, path in paths.items():
        marked = " -> ".join(f"{node}*" if node in shared else node for node in path)
        lines.append(f"  {task:<{width}}  {marked}")
    return "\n".join(lines)


def flat(paths: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return every node on a path."""
    return {node for path in paths.values() for node in path}


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows of text in columns, numbers to the right; the first row is the head."""
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *numbers, last = row
        cells = [first.ljust(widths[0])]
        cells += [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=False)]
        lines.append("  ".join([*cells, last]).rstrip())
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)
