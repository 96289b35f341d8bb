"""The ROM of one check, drawn: a strip to the scale of the limit, a treemap, and its legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.report.html.drawing import drawing, label
from deploy.report.html.fitting import fitted, text_width
from deploy.report.html.markup import Markup, tag
from deploy.report.html.rom_tiles import KINDS
from deploy.report.html.treemap import Box, PlacedTile, Tile, layout
from deploy.units import format_bytes

_WIDE = Box(0, 0, 1024, 440)
_NARROW = Box(0, 0, 340, 520)
_SHADES = 3
_NAME_SIZE, _SIZE_SIZE = 13.0, 12.0
_PADDING, _LINE = 7.0, 16.0


def strip(parts: Sequence[tuple[str, str, int]], limit_bytes: int, identity: str) -> Markup:
    """Return one bar of all parts side by side, to the scale of the limit.

    Args:
        parts: (name, kind, bytes) of what is used, in order.
        limit_bytes: The limit, above 0; where more is used, a line marks it.
        identity: As for `drawing`.
    """
    width, height = 1000.0, 26.0
    used = sum(size for _, _, size in parts)
    scale = width / max(used, limit_bytes)
    marks, x = [], 0.0
    for name, kind, size in parts:
        hover = tag("title", f"{name}: {_of(size, limit_bytes, 'the limit')}")
        marks.append(
            tag("rect", hover, x=x, y=3, width=size * scale, height=20, class_=f"tile {kind}")
        )
        x += size * scale
    if used < limit_bytes:
        free = limit_bytes - used
        hover = tag("title", f"free: {_of(free, limit_bytes, 'the limit')}")
        marks.append(tag("rect", hover, x=x, y=3, width=free * scale, height=20, class_="room"))
    limit_x = min(width - 1, limit_bytes * scale)
    marks.append(tag("line", x1=limit_x, x2=limit_x, y1=0, y2=height, class_="limit"))
    text = f"{format_bytes(used)} used of a limit of {format_bytes(limit_bytes)}."
    title = "Use of the limit, to scale"
    return drawing(width, height, identity, title, text, *marks, class_="strip", is_stretched=True)


def legend(entries: Sequence[tuple[str, str, str]]) -> Markup:
    """Return what the colours mean, as (name, kind, value) in words."""
    items = (
        tag(
            "li",
            tag("span", class_=f"swatch {kind}", aria_hidden="true"),
            tag("span", name),
            " ",
            tag("span", value, class_="value"),
        )
        for name, kind, value in entries
    )
    return tag("ul", *items, class_="legend")


def treemap(tiles: Sequence[Tile], identity: str) -> Markup:
    """Return the treemap twice: for wide screens and paper, and for narrow screens."""
    root = Tile("ROM", "model", sum(tile.size_bytes for tile in tiles), tuple(tiles))
    text = "Areas in proportion to bytes. " + ", ".join(
        f"{tile.name} {format_bytes(tile.size_bytes)}" for tile in tiles
    )
    drawings = []
    for name, box in (("wide", _WIDE), ("narrow", _NARROW)):
        own = f"{identity}-{name}"
        marks = list(_marks(layout(root, box), root.size_bytes, own))
        title = "ROM by node and cause"
        drawings.append(
            drawing(box.width, box.height, own, title, text, *marks, class_=f"treemap {name}")
        )
    return Markup("".join(drawings))


def _marks(placed: Sequence[PlacedTile], whole_bytes: int, identity: str) -> Iterator[Markup]:
    """Leaves with their labels, then the outlines of what they belong to."""
    shades: dict[str, int] = {}
    named: set[int] = set()
    for index, one in enumerate(placed):
        if one.tile.children:
            continue
        group = _group(one)
        shade = shades.setdefault(group.name, len(shades) % _SHADES)
        own = f"{identity}-{index}"
        yield tag(
            "rect",
            tag("title", f"{_full_name(one)}: {_of(one.tile.size_bytes, whole_bytes, 'all')}"),
            id=own,
            class_=f"tile {one.tile.kind} shade{shade}",
            **_rectangle(one.box),
        )
        yield from _labels(one, "" if id(group) in named else group.name, own)
        named.add(id(group))
    for one in placed:
        if one.tile.children:
            depth = "group" if not one.parents else "part"
            yield tag("rect", class_=f"outline {depth}", **_rectangle(one.box))


def _group(one: PlacedTile) -> Tile:
    """What a leaf is named after first: its node, the kernels, or itself."""
    family = (*one.parents, one.tile)
    return family[1] if one.tile.kind == "model" and len(family) > 1 else family[0]


def _labels(one: PlacedTile, group: str, identity: str) -> Iterator[Markup]:
    """The group's name where it begins, the leaf's own, its bytes; each where there is room."""
    room = one.box.width - 2 * _PADDING
    name = "" if one.tile.name == group else one.tile.name
    lines = [
        (fitted(group, room, _NAME_SIZE, is_bold=True), "name"),
        (fitted(name, room, _NAME_SIZE), "part"),
    ]
    size = format_bytes(one.tile.size_bytes)
    if text_width(size, _SIZE_SIZE) <= room and any(text for text, _ in lines):
        lines.append((size, "size"))
    shown = [(text, style) for text, style in lines if text]
    y = one.box.y + _PADDING + _NAME_SIZE
    for text, style in shown:
        if y + 4 > one.box.y + one.box.height:
            return
        yield label(text, one.box.x + _PADDING, y, class_=style, within=identity)
        y += _LINE


def _full_name(one: PlacedTile) -> str:
    family = (*one.parents, one.tile)
    names = [tile.name for tile in family if tile.name != KINDS["model"]]
    return " / ".join(names)


def _rectangle(box: Box) -> dict[str, float]:
    return {"x": box.x, "y": box.y, "width": box.width, "height": box.height}


def _of(size_bytes: int, whole_bytes: int, what: str) -> str:
    share = 100 * size_bytes / whole_bytes
    return f"{size_bytes:,} bytes ({format_bytes(size_bytes)}), {share:.1f}% of {what}"
