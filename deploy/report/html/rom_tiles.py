"""The ROM of one check as tiles of a treemap: nodes and their parts, runtime, reserve, free space.

What a check counts, and nothing else: the tiles sum to what is used, and with the free space to the
limit. Drawing them is in `rom_chart.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.report.html.treemap import Tile
from deploy.verdict import Verdict
from quantize.bundle import Node
from quantize.flatbuffer import FlatbufferError, anatomy

KINDS = {
    "model": "model nodes",
    "core": "runtime core",
    "kernels": "kernels by operator",
    "image": "linked image",
    "reserve": "reserve",
    "free": "free",
}
"""What each kind of tile is called."""

# Of what is in use; a larger free part would leave too little of the drawing to what it is about.
_MOST_FREE = 1.0


def rom_tiles(verdict: Verdict) -> tuple[Tile, ...]:
    """Return the first level: what is used, in the order of `KINDS`, and what is free."""
    rom = verdict.rom
    tiles = []
    nodes = tuple(
        _node(verdict.bundle.nodes[part.name], part.size_bytes)
        for part in rom.parts
        if part.group == "nodes"
    )
    if nodes:
        tiles.append(Tile(KINDS["model"], "model", rom.group_bytes("nodes"), nodes))
    by_operator = verdict.footprint.runtime.by_operator
    for part in rom.parts:
        if part.group == "runtime":
            kind = "kernels" if part.name == "kernels" else "core"
            inner = _parts(by_operator, part.size_bytes, kind) if kind == "kernels" else ()
            tiles.append(Tile(part.name, kind, part.size_bytes, inner))
    image = {part.name: part.size_bytes for part in rom.parts if part.group == "image"}
    if image:
        total = sum(image.values())
        tiles.append(Tile(KINDS["image"], "image", total, _parts(image, total, "image")))
    if rom.group_bytes("reserve"):
        tiles.append(Tile(KINDS["reserve"], "reserve", rom.group_bytes("reserve")))
    if rom.limit_bytes > rom.used_bytes:
        tiles.append(Tile(KINDS["free"], "free", rom.limit_bytes - rom.used_bytes))
    return tuple(tiles)


def drawn_tiles(tiles: tuple[Tile, ...]) -> tuple[Tile, ...]:
    """Return the tiles that a treemap draws: all, or those in use where most of it is free."""
    used = tuple(tile for tile in tiles if tile.kind != "free")
    free_bytes = sum(tile.size_bytes for tile in tiles) - sum(tile.size_bytes for tile in used)
    return tiles if free_bytes <= _MOST_FREE * sum(tile.size_bytes for tile in used) else used


def _node(node: Node, size_bytes: int) -> Tile:
    return Tile(node.name, "model", size_bytes, _parts(_anatomy(node.data), size_bytes, "model"))


def _parts(sizes: Mapping[str, int], total_bytes: int, kind: str) -> tuple[Tile, ...]:
    """Tiles that sum to `total_bytes`; none where the sizes say something else."""
    if sum(sizes.values()) != total_bytes or len(sizes) < 2:
        return ()
    return tuple(Tile(name, kind, size) for name, size in sizes.items() if size > 0)


def _anatomy(data: bytes) -> Mapping[str, int]:
    """Bytes by part of a flatbuffer; none where it cannot be read, and then it is drawn whole."""
    try:
        return anatomy(data)
    except FlatbufferError:
        return {}
