"""The arena over one task's path, drawn: bytes upwards, steps to the right."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from deploy.report.html.arena_picture import ArenaPicture, Block, nice_step
from deploy.report.html.drawing import drawing, label
from deploy.report.html.fitting import fitted, text_width
from deploy.report.html.markup import Markup, joined, number, tag
from deploy.units import format_bytes

_WIDTH, _LEFT, _RIGHT = 1024.0, 84.0, 4.0
_TOP, _PLOT, _NODES = 26.0, 300.0, 28.0
_LONGEST_NAME = 150.0
_WIDEST_COLUMN = 110.0
_NARROWEST_NAMED_COLUMN = 13.0
_SIZE, _SMALL = 12.0, 11.0
# A limit further up than this many arenas would leave nothing to see of the arena.
_HIGHEST_LIMIT = 1.6

BLOCK_KINDS = {
    "seam": "input or output of a node",
    "activation": "between operators",
    "decoded": "decoded weights",
    "scratch": "scratch memory of a kernel",
    "unused": "a tensor that no operator touches",
    "whole": "a node whose steps are not known",
}
"""What each kind of block is called."""

BLOCK_CLASSES = {"decoded": "ram4"}
"""The class that gives a kind its colour, where that is not named as the kind is."""


class _Scale:
    """Columns and bytes to coordinates."""

    def __init__(self, picture: ArenaPicture) -> None:
        self.has_limit = 0 <= picture.limit_bytes <= _HIGHEST_LIMIT * picture.arena_bytes
        limit = picture.limit_bytes if self.has_limit else 0
        self.most_bytes = max(1, 1.04 * max(picture.arena_bytes, limit))
        room = _WIDTH - _LEFT - _RIGHT
        self.column = min(_WIDEST_COLUMN, room / max(1, len(picture.columns)))
        self.right = _LEFT + self.column * len(picture.columns)
        self.is_named = self.column >= _NARROWEST_NAMED_COLUMN
        longest = max(text_width(column.label, _SMALL) for column in picture.columns)
        self.names = min(_LONGEST_NAME, longest) + 20 if self.is_named else 8.0

    def x(self, column: float) -> float:
        return _LEFT + column * self.column

    def y(self, size_bytes: float) -> float:
        return _TOP + _PLOT - self.height(size_bytes)

    def height(self, size_bytes: float) -> float:
        return _PLOT * size_bytes / self.most_bytes


def arena_chart(picture: ArenaPicture, identity: str) -> Markup:
    """Return the drawing.

    Args:
        picture: What to draw.
        identity: As for `drawing`.
    """
    scale = _Scale(picture)
    peak = picture.columns[picture.peak_column]
    text = (
        f"{len(picture.columns)} steps. The head is fullest in step {picture.peak_column}, "
        f"{peak.label} of {peak.node}, up to {format_bytes(peak.top_bytes)}. "
        f"Reserved are {format_bytes(picture.arena_bytes)}."
    )
    return drawing(
        _WIDTH,
        _TOP + _PLOT + scale.names + _NODES,
        identity,
        f"Arena over the path of {picture.task}",
        text,
        _hatching(identity),
        *_axis(scale),
        *_tails(picture, scale, identity),
        *_blocks(picture, scale, identity),
        *_levels(picture, scale),
        *_peak(picture, scale),
        *_sizes(picture, scale, identity),
        *_names(picture, scale),
        class_="arena",
    )


def _hatching(identity: str) -> Markup:
    """Stripes, so that scratch memory is not told by its colour alone."""
    stripe = tag("path", d="M-1 7L7 -1M3 11L11 3M-5 3L3 -5", class_="stripe")
    return tag(
        "defs",
        tag(
            "pattern",
            stripe,
            id=f"{identity}-stripes",
            width=8.0,
            height=8.0,
            patternUnits="userSpaceOnUse",
        ),
    )


def _axis(scale: _Scale) -> Iterator[Markup]:
    step = nice_step(scale.most_bytes, 6)
    for size in range(0, int(scale.most_bytes) + 1, step):
        y = scale.y(size)
        yield tag("line", x1=_LEFT, x2=scale.right, y1=y, y2=y, class_="grid")
        yield label(format_bytes(size), _LEFT - 8, y + 4, anchor="end", class_="tick")


def _tails(picture: ArenaPicture, scale: _Scale, identity: str) -> Iterator[Markup]:
    """What the nodes keep, from the end of the arena downwards, and what is left for planning."""
    end = picture.arena_bytes
    is_right = 2 * picture.peak_column < len(picture.columns)
    for index, tail in enumerate(picture.tails):
        other = "" if tail.is_on_path else ", which is not on this path"
        text = f"kept by {tail.node}{other}: {format_bytes(tail.size_bytes)}"
        style = "tile tail" if tail.is_on_path else "tile tail other"
        own = f"{identity}-tail{index}"
        yield from _band(text, end, tail.size_bytes, scale, style, own, is_right)
        end -= tail.size_bytes
    if picture.planning_bytes > 0:
        text = f"planning and alignment: {format_bytes(picture.planning_bytes)}"
        style, own = "tile planning", f"{identity}-planning"
        yield from _band(text, end, picture.planning_bytes, scale, style, own, is_right)


def _band(
    text: str,
    end_bytes: int,
    size_bytes: int,
    scale: _Scale,
    style: str,
    identity: str,
    is_right: bool,
) -> Iterator[Markup]:
    y, height, width = scale.y(end_bytes), scale.height(size_bytes), scale.right - _LEFT
    yield tag(
        "rect",
        tag("title", text),
        id=identity,
        x=_LEFT,
        y=y,
        width=width,
        height=height,
        class_=style,
    )
    if height >= _SMALL + 5:
        shown = fitted(text, width - 12, _SMALL)
        middle = y + height / 2 + 4
        # Away from the line that marks the peak.
        x, anchor = (scale.right - 6, "end") if is_right else (_LEFT + 6, "")
        yield label(shown, x, middle, class_="size", anchor=anchor, within=identity)


def _blocks(picture: ArenaPicture, scale: _Scale, identity: str) -> Iterator[Markup]:
    for index, block in enumerate(picture.blocks):
        box = _rectangle(block, scale)
        name = f"{identity}-block{index}"
        hover = tag("title", block.text)
        colour = BLOCK_CLASSES.get(block.kind, block.kind)
        yield tag("rect", hover, id=name, class_=f"tile block {colour}", **box)
        if block.kind in ("scratch", "whole"):
            fill = f"url(#{identity}-stripes)"
            yield tag("rect", class_="stripes", fill=fill, **box)


def _sizes(picture: ArenaPicture, scale: _Scale, identity: str) -> Iterator[Markup]:
    """How large each block is, where there is room in it."""
    for index, block in enumerate(picture.blocks):
        box, text = _rectangle(block, scale), format_bytes(block.size_bytes)
        if text_width(text, _SMALL) + 8 <= box["width"] and box["height"] >= _SMALL + 5:
            yield label(
                text,
                box["x"] + box["width"] / 2,
                box["y"] + box["height"] / 2 + 4,
                anchor="middle",
                class_=f"size on-{block.kind}",
                within=f"{identity}-block{index}",
            )


def _rectangle(block: Block, scale: _Scale) -> dict[str, float]:
    return {
        "x": scale.x(block.first_column),
        "y": scale.y(block.offset_bytes + block.size_bytes),
        "width": scale.column * block.columns,
        "height": scale.height(block.size_bytes),
    }


def _levels(picture: ArenaPicture, scale: _Scale) -> Iterator[Markup]:
    """Lines at the top of the head, at the end of the arena, and at the limit."""
    levels = [(picture.head_bytes, "head"), (picture.arena_bytes, "end")]
    if scale.has_limit:
        levels.append((picture.limit_bytes, "limit"))
        top = scale.y(scale.most_bytes)
        height = scale.y(picture.limit_bytes) - top
        hover = tag("title", "above the limit")
        width = scale.right - _LEFT
        yield tag("rect", hover, x=_LEFT, y=top, width=width, height=height, class_="beyond")
    for size, style in levels:
        y = scale.y(size)
        yield tag("line", x1=_LEFT, x2=scale.right, y1=y, y2=y, class_=f"level {style}")
    if scale.has_limit:
        is_right = 2 * picture.peak_column >= len(picture.columns)
        x, anchor = (scale.right - 6, "end") if is_right else (_LEFT + 6, "")
        text = f"limit {format_bytes(picture.limit_bytes)}"
        yield label(text, x, scale.y(picture.limit_bytes) + 14, class_="limit", anchor=anchor)


def _peak(picture: ArenaPicture, scale: _Scale) -> Iterator[Markup]:
    column = picture.peak_column
    one = picture.columns[column]
    x, bottom = scale.x(column), _TOP + _PLOT
    y = scale.y(one.top_bytes)
    yield tag("rect", x=x, y=y, width=scale.column, height=bottom - y, class_="peak")
    text = (
        f"\N{BLACK DOWN-POINTING SMALL TRIANGLE} peak: {format_bytes(one.top_bytes)}, {one.label}"
    )
    middle = x + scale.column / 2
    is_left = middle < _WIDTH / 2
    yield tag("line", x1=middle, x2=middle, y1=_TOP - 6, y2=y, class_="level peakline")
    x = max(4.0, middle - 5) if is_left else min(_WIDTH - 4, middle + 5)
    yield label(
        fitted(text, (_WIDTH - x if is_left else x) - 4, _SIZE + 1, is_bold=True),
        x,
        _TOP - 10,
        anchor="" if is_left else "end",
        class_="name",
    )


def _names(picture: ArenaPicture, scale: _Scale) -> Iterator[Markup]:
    """The operators, turned, and below them the nodes that they belong to."""
    bottom = _TOP + _PLOT
    if scale.is_named:
        for index, column in enumerate(picture.columns):
            x = scale.x(index + 0.5) + 4
            shown = fitted(column.label, _LONGEST_NAME, _SMALL)
            turned = f"rotate(-90 {number(x)} {number(bottom + 8)})"
            yield tag(
                "text",
                shown,
                x=x,
                y=bottom + 8,
                transform=turned,
                text_anchor="end",
                class_="tick",
            )
    starts = [index for index, column in enumerate(picture.columns) if column.is_first]
    y = bottom + scale.names
    for index, (start, end) in enumerate(pairwise([*starts, len(picture.columns)])):
        x, width = scale.x(start), scale.column * (end - start)
        yield tag("line", x1=x + 1, x2=x + width - 1, y1=y, y2=y, class_=f"span span{index % 2}")
        shown = fitted(picture.columns[start].node, width - 4, _SIZE, is_bold=True)
        if shown:
            yield label(shown, x + width / 2, y + 16, anchor="middle", class_="name")


def arena_caption(picture: ArenaPicture) -> Markup:
    """Return the figures of the drawing in words."""
    tails = ", ".join(f"{tail.node} {format_bytes(tail.size_bytes)}" for tail in picture.tails)
    peak = picture.columns[picture.peak_column]
    limit = (
        f"The RAM limit leaves {format_bytes(picture.limit_bytes)} for it."
        if picture.limit_bytes >= 0
        else "The RAM limit leaves nothing for it."
    )
    own = (
        ""
        if peak.top_bytes == picture.head_bytes
        else f"; the head is as large as another path's, {format_bytes(picture.head_bytes)}"
    )
    return joined(
        f"Peak {format_bytes(peak.top_bytes)} in step {picture.peak_column} ({peak.label} of "
        f"{peak.node}){own}. Kept at the end of the arena: {tails}. "
        f"Reserved {format_bytes(picture.arena_bytes)}. {limit}"
    )
