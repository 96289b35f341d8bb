"""The text of a manifest: strict JSON, laid out to be read by people and compared line by line.

Which fields it has is in `manifest.py`.
"""

from __future__ import annotations

import json
from typing import Any

from quantize.storage.parts import BundleError

_COLUMNS = 120


def json_text(value: dict[str, Any]) -> str:
    """Return JSON with two spaces of indentation, and on one line what fits on one."""
    return _layout(value, 0, 0) + "\n"


def parse_json(data: bytes) -> object:
    """Return what a JSON text in UTF-8 holds; NaN and doubled names are refused.

    Raises:
        BundleError: It is no such text.
    """
    try:
        text = data.decode("utf-8")
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"manifest.json must be JSON in UTF-8; reading it gave: {error}. It is damaged: write "
            "the bundle anew."
        ) from error


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a name occurs twice among {[name for name, _ in pairs]}")
    return dict(pairs)


def _layout(value: Any, indent: int, column: int) -> str:
    """Write JSON with every value that fits on one line on one line: shapes, specs, paths."""
    line = json.dumps(value, allow_nan=False, ensure_ascii=False)
    short = indent > 0 and column + len(line) < _COLUMNS
    if not isinstance(value, dict | list) or not value or short:
        return line
    inner = " " * (indent + 2)
    items: list[tuple[str, Any]]
    if isinstance(value, dict):
        items = [(json.dumps(key, ensure_ascii=False) + ": ", item) for key, item in value.items()]
    else:
        items = [("", item) for item in value]
    rows = [inner + key + _layout(item, indent + 2, indent + 2 + len(key)) for key, item in items]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return opening + "\n" + ",\n".join(rows) + "\n" + " " * indent + closing
