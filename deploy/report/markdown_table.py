"""A table in GitHub-flavoured Markdown; whoever fills the cells knows how to escape them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

_ALIGNMENT = {"l": "---", "r": "---:"}


def table(rows: Sequence[Sequence[str]], align: str, escape: Callable[[str], str]) -> Iterator[str]:
    """Lay rows out, the first as heading.

    Args:
        rows: Cells, equally many in each row.
        align: A letter per column, "l" or "r".
        escape: What every cell is put through.

    Yields:
        One line per row, and the one below the heading.
    """
    head, *body = rows
    yield _row([escape(cell) for cell in head])
    yield _row([_ALIGNMENT[side] for side in align])
    for row in body:
        yield _row([escape(cell) for cell in row])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
