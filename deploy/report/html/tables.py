"""The tables of the page: checks, nodes, tasks, tiles, steps, parts. Words and figures only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deploy.report.html.markup import Child, Markup, tag


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Child]],
    align: str,
    class_: str = "",
    is_stacked: bool = False,
) -> Markup:
    """Return a table that scrolls by itself where the page is too narrow for it.

    Args:
        caption: What it shows.
        head: Names of the columns.
        rows: Cells, equally many in each row; the first names the row.
        align: A letter per column: "l" for words, "r" for figures.
        class_: For the style.
        is_stacked: Whether each row becomes a paragraph on a narrow screen, with the names of the
            columns in it.
    """
    sides = [{"l": None, "r": "figure"}[side] for side in align]
    heads = (
        tag("th", name, scope="col", class_=side) for name, side in zip(head, sides, strict=True)
    )
    body = (
        tag(
            "tr",
            tag("th", row[0], scope="row", class_=sides[0]),
            *(
                tag("td", cell, class_=side, data_head=name if is_stacked else None)
                for cell, side, name in zip(row[1:], sides[1:], head[1:], strict=True)
            ),
        )
        for row in rows
    )
    whole = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *heads)),
        tag("tbody", *body),
        class_=f"{class_} stacked".strip() if is_stacked else class_ or None,
    )
    return scrolled(whole, caption)


def scrolled(content: Markup, name: str) -> Markup:
    """Return content in a region of its own that scrolls sideways, also by keyboard."""
    return tag("div", content, class_="scroll", role="region", aria_label=name, tabindex="0")


def folded(summary: str, *content: Child) -> Markup:
    """Return content that is shown when its summary is opened."""
    return tag("details", tag("summary", summary), *content)
