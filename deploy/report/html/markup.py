"""HTML and SVG elements as text, in which whatever is not markup already is escaped.

Names that users choose reach the page only through `tag` or `escape`, so none can become markup.
Nothing of budgets belongs here.
"""

from __future__ import annotations

import html
import math
import re

# Control characters, and halves of surrogate pairs, which no file in UTF-8 can hold.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset({"link", "meta"})
_SVG_SHAPES = frozenset({"circle", "line", "path", "rect"})


class Markup(str):
    """Text that is markup: it goes into the page as it is."""

    __slots__ = ()


Child = str | None
"""Markup as it is, any other text escaped, None for nothing."""


def escape(text: str) -> Markup:
    """Return `text` as markup that shows it, control characters replaced."""
    return Markup(html.escape(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text), quote=True))


def joined(*children: Child, separator: str = "") -> Markup:
    """Return children one after another."""
    parts = [one if isinstance(one, Markup) else escape(one) for one in children if one is not None]
    return Markup(separator.join(parts))


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """Return an element.

    Args:
        name: Its name.
        children: What stands in it.
        attributes: Its attributes; a trailing underscore is dropped, others become hyphens. Numbers
            are written with at most two decimals; True gives the bare name, False and None nothing.

    Raises:
        ValueError: A number is not finite.
    """
    start = "".join([f"<{name}", *(_attribute(key, one) for key, one in attributes.items())])
    if name in _SVG_SHAPES and not children:
        return Markup(f"{start}/>")
    if name in _VOID:
        return Markup(f"{start}>")
    return Markup(f"{start}>{joined(*children)}</{name}>")


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    text = escape(value) if isinstance(value, str) else number(value)
    return f' {name}="{text}"'


def number(value: float) -> str:
    """Return a coordinate as text, at most two decimals.

    Raises:
        ValueError: It is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(
            f"A coordinate must be finite, received {value}. Leave the mark out of the drawing."
        )
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
