"""A treemap: nested rectangles whose areas are in proportion to bytes. Geometry only.

The layout is that of Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000), section 3: rows
along the shorter side, each closed when one more rectangle would make its worst one longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """Something that takes bytes, and what it is made of.

    Args:
        name: What it is.
        kind: Its colour's name.
        size_bytes: What it takes; with children, their sum.
        children: Its parts.
    """

    name: str
    kind: str
    size_bytes: int
    children: tuple[Tile, ...] = ()


@dataclass(frozen=True)
class Box:
    """A rectangle, in the unit of the drawing.

    Args:
        x: Left edge.
        y: Upper edge.
        width: Its width.
        height: Its height.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height


@dataclass(frozen=True)
class PlacedTile:
    """A tile and where it lies.

    Args:
        tile: The tile.
        box: Its rectangle.
        parents: The tiles that it lies in, the outermost first, without the root.
    """

    tile: Tile
    box: Box
    parents: tuple[Tile, ...]


def layout(root: Tile, box: Box) -> tuple[PlacedTile, ...]:
    """Return every tile below `root` with its rectangle, parents before their children.

    Args:
        root: Fills `box`; tiles of no bytes have no place and are left out.
        box: The whole drawing.
    """
    return tuple(_layout(root, box, ()))


def _layout(tile: Tile, box: Box, parents: tuple[Tile, ...]) -> list[PlacedTile]:
    children = sorted((one for one in tile.children if one.size_bytes > 0), key=_by_size)
    placed = []
    for one, inner in zip(children, squarify([c.size_bytes for c in children], box), strict=True):
        placed.append(PlacedTile(one, inner, parents))
        placed += _layout(one, inner, (*parents, one))
    return placed


def _by_size(tile: Tile) -> tuple[bool, int]:
    """Descending by size; free space last, so that it lies in the corner."""
    return tile.kind == "free", -tile.size_bytes


def squarify(sizes: Sequence[int], box: Box) -> list[Box]:
    """Divide `box` among `sizes`.

    Args:
        sizes: Above 0, best in descending order.
        box: What is divided.

    Returns:
        One box per size, in their order: areas in proportion, no overlap, nothing left.
    """
    boxes: list[Box] = []
    rest, left = list(sizes), box
    while rest:
        is_wide = left.width >= left.height
        count = _row_length(rest, left)
        row, rest = rest[:count], rest[count:]
        strip, left = _cut(left, sum(row) / (sum(row) + sum(rest)), is_wide)
        boxes += _divided(row, strip, not is_wide)
    return boxes


def _row_length(sizes: Sequence[int], box: Box) -> int:
    """How many of `sizes` go into the next row: as long as its worst rectangle gets no longer."""
    side = min(box.width, box.height)
    scale = box.area / sum(sizes)
    best, count, row = float("inf"), 0, 0
    for size in sizes:
        row += size
        thickness = row * scale / side if side else 0.0
        worst = max(_ratio(one * scale, thickness) for one in (sizes[0], size))
        if worst > best:
            break
        best, count = worst, count + 1
    return max(1, count)


def _ratio(area: float, thickness: float) -> float:
    """Longer side over shorter side of a rectangle; 1 where it has no area."""
    if not area or not thickness:
        return 1.0
    length = area / thickness
    return max(length / thickness, thickness / length)


def _cut(box: Box, share: float, is_wide: bool) -> tuple[Box, Box]:
    """A share of a box, from its left where it is wide, from its top otherwise; and the rest."""
    if is_wide:
        width = box.width * share
        return (
            Box(box.x, box.y, width, box.height),
            Box(box.x + width, box.y, box.width - width, box.height),
        )
    height = box.height * share
    return (
        Box(box.x, box.y, box.width, height),
        Box(box.x, box.y + height, box.width, box.height - height),
    )


def _divided(sizes: Sequence[int], strip: Box, is_wide: bool) -> list[Box]:
    """A strip divided among `sizes`, from left to right or from top to bottom."""
    boxes, left, rest = [], strip, sum(sizes)
    for size in sizes:
        one, left = _cut(left, size / rest, is_wide)
        rest -= size
        boxes.append(one)
    return boxes
