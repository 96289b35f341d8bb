"""Columns of text, as wide as their content; the last one takes what is left and wraps.

Nothing of budgets or bundles: rows in, lines out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

_NARROWEST = 12


def columns(rows: Sequence[Sequence[str]], align: str, width: int) -> Iterator[str]:
    """Lay rows out, the first as heading, two spaces between the columns.

    Args:
        rows: Cells, equally many in each row.
        align: A letter per column, "l" or "r".
        width: Columns of the screen. Where they are too few, names in the first column are cut;
            figures between it and the last never are.

    Yields:
        One line per row, or more where its last cell wraps.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    figures = sum(widths[1:]) + 2 * len(widths)
    widths[0] = min(widths[0], max(_NARROWEST, width - figures - _NARROWEST))
    indent = widths[0] + figures
    room = max(_NARROWEST, width - indent)
    for row in rows:
        cells = [
            f"{cell:>{size}}  " if side == "r" else f"{shortened(cell, size):{size}}  "
            for cell, size, side in zip(row, widths, align, strict=False)
        ]
        last = textwrap.wrap(row[-1], room, break_on_hyphens=False)
        yield ("".join(cells) + "".join(last[:1])).rstrip()
        yield from (" " * indent + rest for rest in last[1:])


def widest(rows: Sequence[Sequence[str]]) -> int:
    """Columns that rows take when no last cell wraps."""
    return sum(max(len(row[i]) for row in rows) + 2 for i in range(len(rows[0]))) - 2


def shortened(text: str, width: int) -> str:
    """The text, or its beginning and two dots where it is wider than `width`."""
    return text if len(text) <= width else f"{text[: width - 2]}.."
