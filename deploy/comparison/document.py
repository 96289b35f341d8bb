"""A JSON document of keras-tree, read back with everything in it doubted.

A report may come as an artifact of somebody else's pull request. Here stand the reading of the
file and of single values; what the keys mean is in `baseline_file.py` and `comparand.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

SCHEMA_VERSION = 1
"""Version of the keys of reports and baselines."""

_MOST_BYTES = 16 * 1024**2
_MOST = 2**53  # JSON's readers agree on whole numbers up to here
_LONGEST_NAME = 200
WRITE_IT_ANEW = "Write it anew: keras-tree check --write-baseline FILE."
"""What to do about a baseline that cannot be used."""


class BaselineError(ValueError):
    """A baseline or report that cannot be read or written; says what is wrong with it."""


def read_document(path: str | Path) -> dict[str, Any]:
    """Read a file of this schema version as JSON values; what is in it is not checked yet.

    Raises:
        BaselineError: It cannot be read, is too large, no JSON object, or of another version.
    """
    text = _file_text(path)
    try:
        document = json.loads(text, parse_constant=lambda name: _refuse_constant(path, name))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BaselineError):
            raise
        raise BaselineError(f"{path}: {_why_no_json(text, error)}") from error
    if not isinstance(document, dict):
        raise BaselineError(
            f"{path}: a baseline must be a JSON object, received {_kind(document)}. {WRITE_IT_ANEW}"
        )
    version = document.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise BaselineError(
            f"{path}: `schema_version` must be {SCHEMA_VERSION}, received {_shown(version)}. "
            "Write the baseline anew with this version of keras-tree, or use the version that "
            "wrote it."
        )
    return document


def _file_text(path: str | Path) -> str:
    """The file's text. A pipe is read too, as in `--baseline <(git show main:baseline.json)`."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BaselineError(
            f"{path}: a baseline must be a file that can be read, received: {error.strerror}. "
            "Check the path."
        ) from error
    if len(data) > _MOST_BYTES:
        raise BaselineError(
            f"{path}: a baseline must be at most {_MOST_BYTES // 1024**2} MiB, received more. "
            "Give the file that keras-tree wrote."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BaselineError(
            f"{path}: a baseline must be UTF-8 text, received other bytes at {error.start}. "
            f"{WRITE_IT_ANEW}"
        ) from error


def _why_no_json(text: str, error: Exception) -> str:
    if "\n<<<<<<< " in f"\n{text}":
        return (
            "a baseline must be JSON, received one with an open merge conflict. Take either side, "
            "then write it anew: keras-tree check --write-baseline FILE."
        )
    reason = (
        f"{error.msg} in line {error.lineno}"
        if isinstance(error, json.JSONDecodeError)
        else "lists too deep or numbers too long"
    )
    return f"a baseline must be JSON, received: {reason}. {WRITE_IT_ANEW}"


def _refuse_constant(path: str | Path, name: str) -> NoReturn:
    raise BaselineError(
        f"{path}: every figure must be a finite number, received {name}. {WRITE_IT_ANEW}"
    )


def table(value: Any, place: str) -> dict[str, Any]:
    """`value` if it is a JSON object.

    Raises:
        BaselineError: It is something else.
    """
    if not isinstance(value, dict):
        raise BaselineError(
            f"{place}: a JSON object is expected, received {_shown(value)}. {WRITE_IT_ANEW}"
        )
    return value


_NAMES = {dict: "an object", list: "a list", str: "a text", int: "a whole number", bool: "a bool"}


def value_of(
    entry: Mapping[str, Any], key: str, kind: type, place: str, default: Any = None
) -> Any:
    """The value of a key, of exactly the type `kind`; `default` where the key is missing.

    Raises:
        BaselineError: It has another type, or is missing without a default.
    """
    value = entry.get(key, default)
    if type(value) is not kind:
        refuse(place, key, _NAMES[kind], value)
    return value


def count_of(entry: Mapping[str, Any], key: str, place: str) -> int:
    """A number of bytes or operations, 0 to 2**53.

    Raises:
        BaselineError: It is something else.
    """
    value: Any = entry.get(key)
    if type(value) is not int or not 0 <= value <= _MOST:
        refuse(place, key, "a whole number, at least 0", value)
    return value


def time_of(entry: Mapping[str, Any], key: str, place: str) -> float:
    """A time in microseconds, at least 0.

    Raises:
        BaselineError: It is something else.
    """
    value: Any = entry.get(key)
    if type(value) not in (int, float) or not 0 <= value <= _MOST:
        refuse(place, key, "a time in microseconds, at least 0", value)
    return float(value)


def name_of(entry: Mapping[str, Any], key: str, place: str) -> str:
    """A name that can be shown anywhere: no control characters, not longer than a line or two.

    Raises:
        BaselineError: It is something else.
    """
    value: Any = entry.get(key)
    if not is_name(value):
        refuse(place, key, f"a printable text of 1 to {_LONGEST_NAME} letters", value)
    return value


def is_name(value: Any) -> bool:
    """Whether `value` is a text that can be shown anywhere."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and value.isprintable()


def share_of(entry: Mapping[str, Any], key: str, place: str) -> float:
    """A finite number; NaN where it is null, as the report writes "no such figure".

    Raises:
        BaselineError: It is something else.
    """
    value: Any = entry.get(key)
    if value is None:
        return math.nan
    if type(value) not in (int, float) or not abs(value) < _MOST:
        refuse(place, key, "a number or null", value)
    return float(value)


def refuse(place: str, key: str, expected: str, received: Any) -> NoReturn:
    """Say what was expected under a key.

    Raises:
        BaselineError: Always.
    """
    raise BaselineError(
        f"{place}: `{key}` must be {expected}, received {_shown(received)}. {WRITE_IT_ANEW}"
    )


def _kind(value: Any) -> str:
    return _NAMES.get(type(value), "null" if value is None else "a number")


def _shown(value: Any) -> str:
    """A value for a message: short ones as they are, others by their kind."""
    if value is None:
        return "nothing"
    if isinstance(value, str | int | float) and len(repr(value)) <= 40:
        return repr(value)
    return _kind(value)
