"""How long each activation is needed on every path, and which of them may be one piece of memory.

A content is what one value holds from its writing to its last reading, on one path; a storage is a
set of values that begin at the same byte: the two sides of a seam, and an operator's output that
is written over its dying input.

Belongs here: lifetimes and storages. Does not belong here: offsets (`plan.py`, `placing.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from deploy.codegen.program import Call, CodegenError, NodeProgram, Operand, Step, Struct, Value

__all__ = ["Content", "Key", "Paths", "Storages", "kept_prefixes", "path_contents", "staged"]

Key = tuple[str, int]
"""A value by its node's name and its number there; a scratch buffer has -1 - step for a number."""

Paths = Mapping[str, Sequence[str]]


@dataclass
class Content:
    """What a storage holds for a while.

    Args:
        keys: The values that name it: one, or both sides of a seam.
        first: The path's step that writes it; -1 for what the caller puts in.
        last: The last step that needs it.
        writer: The node that writes it, None for the caller.
        over: Values that its writer may start at the same byte with.
    """

    keys: list[Key]
    first: int
    last: int
    writer: str | None = None
    over: tuple[Key, ...] = ()


def kept_prefixes(paths: Paths, producers: Mapping[str, int]) -> frozenset[tuple[str, ...]]:
    """The beginnings of paths that go on in several ways, from a seam that one node alone writes.

    Args:
        paths: Nodes by task.
        producers: By node, how many nodes write the seam behind it.
    """
    after: dict[tuple[str, ...], set[str | None]] = {}
    for path in paths.values():
        for length in range(1, len(path) + 1):
            following = path[length] if length < len(path) else None
            after.setdefault(tuple(path[:length]), set()).add(following)
    return frozenset(
        prefix
        for prefix, following in after.items()
        if len(following) > 1 and producers[prefix[-1]] == 1
    )


def path_contents(
    path: Sequence[str],
    nodes: Mapping[str, NodeProgram],
    kept: frozenset[tuple[str, ...]] = frozenset(),
) -> list[Content]:
    """Everything that is held while a path runs, scratch buffers included.

    Args:
        path: Its nodes.
        nodes: All nodes.
        kept: Beginnings of paths whose last output is needed until the path has ended.
    """
    count = sum(len(nodes[name].steps) for name in path)
    passed = Content([], -1, -1)
    contents, now, forever = [passed], 0, []
    for position, name in enumerate(path):
        node = nodes[name]
        passed.keys.append((name, node.input))
        held = {node.input: passed}
        for index, step in enumerate(node.steps):
            for value in step.reads:
                held[value].last = now
            for value in step.writes:
                over = tuple((name, one) for one in step.in_place)
                held[value] = Content([(name, value)], now, now, name, over)
                contents.append(held[value])
            if step.scratch_bytes:
                contents.append(Content([(name, -1 - index)], now, now, name))
            now += 1
        passed = held[node.output]
        passed.last = max(passed.last, now - 1)
        if tuple(path[: position + 1]) in kept:
            forever.append(passed)
    for content in (*forever, passed):
        content.last = count
    return contents


class Storages:
    """Values sorted into storages.

    Args:
        nodes: All nodes.
        contents: What is held, by path.
    """

    def __init__(
        self, nodes: Mapping[str, NodeProgram], contents: Iterable[Sequence[Content]]
    ) -> None:
        self._root: dict[Key, Key] = {}
        self._held: dict[Key, list[list[Content]]] = {}
        self._size: dict[Key, int] = {}
        self.contents = [list(path) for path in contents]
        for number, path in enumerate(self.contents):
            for content in path:
                for key in content.keys:
                    if key not in self._root:
                        self._root[key] = key
                        self._held[key] = [[] for _ in self.contents]
                        self._size[key] = _size_bytes(nodes[key[0]], key[1])
                self._held[content.keys[0]][number].append(content)
        for content in (one for path in self.contents for one in path):
            for key in content.keys[1:]:
                self._union(content.keys[0], key)

    def of(self, key: Key) -> Key:
        """The storage of a value, named by one of its values."""
        return self._root[key]

    def size_bytes(self, storage: Key) -> int:
        """The length of a storage."""
        return self._size[storage]

    def held(self, storage: Key) -> list[list[Content]]:
        """What a storage holds, by path."""
        return self._held[storage]

    def all(self) -> list[Key]:
        """The storages, in the order in which they are first met."""
        return list(self._held)

    def keys(self) -> list[Key]:
        """All values and scratch buffers."""
        return list(self._root)

    def clash(self) -> str | None:
        """A node that writes over what is still needed, or None."""
        for held in self._held.values():
            wrong = self._wrong(held)
            if wrong is not None:
                return wrong.writer
        return None

    def join(self, one: Key, other: Key) -> bool:
        """Make two storages one, if neither then loses what it holds."""
        a, b = self._root[one], self._root[other]
        if a == b or self._size[a] != self._size[b]:
            return False
        together = [x + y for x, y in zip(self._held[a], self._held[b], strict=True)]
        if self._wrong(together) is not None:
            return False
        self._union(a, b)
        return True

    def _wrong(self, held: Sequence[Sequence[Content]]) -> Content | None:
        for path in held:
            ordered = sorted(path, key=lambda content: (content.first, content.last))
            for before, after in pairwise(ordered):
                is_over = after.first == before.last and set(before.keys) & set(after.over)
                if after.first <= before.last and not is_over:
                    return after
        return None

    def _union(self, one: Key, other: Key) -> None:
        a, b = self._root[one], self._root[other]
        if a == b:
            return
        if self._size[a] != self._size[b]:
            raise CodegenError(
                f"nodes '{one[0]}' and '{other[0]}': one seam of equal length is expected on both "
                f"sides, received {self._size[a]} and {self._size[b]} codes. Check the bundle."
            )
        for mine, theirs in zip(self._held[a], self._held.pop(b), strict=True):
            mine += theirs
        for key, root in self._root.items():
            if root == b:
                self._root[key] = a


def _size_bytes(node: NodeProgram, number: int) -> int:
    if number >= 0:
        return node.values[number].size_bytes
    return node.steps[-1 - number].scratch_bytes


def staged(node: NodeProgram) -> NodeProgram:
    """The node with its output made elsewhere and brought into place by a last step.

    Needed where a node's input and output are one seam, because another path passes it by, and the
    output's first code is written before the input's last is read.
    """
    size = node.values[node.output].size_bytes
    value = Value(len(node.values), size, "output in place")
    struct = Struct(
        "kt_copy_t",
        {"size": (1, 1, 1, size), "input_stride": (0, 0, 0, 1), "output_stride": (0, 0, 0, 1)},
    )
    call = Call("kt_copy", (struct, Operand(node.output), Operand(value.index)))
    step = Step("output to its seam", "COPY", (call,), (node.output,), (value.index,))
    return replace(
        node, values=(*node.values, value), steps=(*node.steps, step), output=value.index
    )
