"""Text that stays within a box of a drawing, whatever font the reader's machine has.

SVG neither wraps nor cuts text, and here nothing can be measured: widths are bounded from above.
"""

from __future__ import annotations

# Advance in em by letter: the widest of DejaVu Sans, Arial, Segoe UI and Roboto, rounded up.
_WIDTHS = {
    0.30: "ijl'I|",
    0.35: " .,:;/\\",
    0.42: "ft!()[]-r",
    0.56: 'J"?csLz*`_',
    0.65: "aeghnopqubdkvxyTF0123456789${}",
    0.70: "ABEKPSVXYZ",
    0.80: "CDGHNOQRU&",
    0.86: "Mw#+<=>^~",
    1.02: "mW@%",
}
_EM = {letter: width for width, letters in _WIDTHS.items() for letter in letters}
# Letters of other scripts; an emoji may be wider than it is high.
_OTHER_EM = 1.4
_BOLD_FACTOR = 1.2
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_FEWEST_LETTERS = 5


def text_width(text: str, size: float, is_bold: bool = False) -> float:
    """Return an upper bound of the width of `text`, in the unit of `size`, the font's size."""
    em = sum(_EM.get(letter, _OTHER_EM) for letter in text)
    return em * size * (_BOLD_FACTOR if is_bold else 1.0)


def fitted(text: str, width: float, size: float, is_bold: bool = False) -> str:
    """Return `text`, or its beginning with an ellipsis, or nothing, to keep within `width`."""
    if text_width(text, size, is_bold) <= width:
        return text
    shortened, used = "", text_width(_ELLIPSIS, size, is_bold)
    for letter in text:
        used += text_width(letter, size, is_bold)
        if used > width:
            break
        shortened += letter
    return f"{shortened.rstrip()}{_ELLIPSIS}" if len(shortened) >= _FEWEST_LETTERS else ""
