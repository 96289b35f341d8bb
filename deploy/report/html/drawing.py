"""What every drawing of the page has: a title and a text for those who do not see it."""

from __future__ import annotations

from deploy.report.html.markup import Child, Markup, tag


def drawing(
    width: float,
    height: float,
    identity: str,
    title: str,
    description: str,
    *marks: Child,
    class_: str = "",
    is_stretched: bool = False,
) -> Markup:
    """Return an SVG image that scales with the page.

    Args:
        width: Its width, in its own unit.
        height: Its height, in the same unit.
        identity: Unique on the page; letters, digits and hyphens.
        title: What it is, in a few words.
        description: What it shows, in a sentence.
        marks: What is drawn.
        class_: For the style.
        is_stretched: Whether it fills its place without keeping its proportions.
    """
    return tag(
        "svg",
        tag("title", title, id=f"{identity}-title"),
        tag("desc", description, id=f"{identity}-desc"),
        *marks,
        class_=class_ or None,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        preserveAspectRatio="none" if is_stretched else None,
        role="img",
        aria_labelledby=f"{identity}-title {identity}-desc",
    )


def label(
    text: str, x: float, y: float, *, class_: str = "", anchor: str = "", within: str = ""
) -> Markup:
    """Return a text.

    Args:
        text: What it says.
        x: Where it begins, or ends, or its middle, by `anchor`.
        y: Its base line.
        class_: For the style.
        anchor: "middle" or "end"; empty for the start.
        within: Identity of the rectangle that it must keep within.
    """
    return tag(
        "text",
        text,
        x=x,
        y=y,
        class_=class_ or None,
        text_anchor=anchor or None,
        data_within=within or None,
    )
