"""Wrong usage: the error that ends a command with exit code 2, and the parser that explains itself.

Here stands what every command shares before it starts to work. Nothing of boards, bundles or trees.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

FITS, OVER_BUDGET, WRONG_USAGE, INTERNAL_FAILURE, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """\
exit codes:
  0  it worked; for check and demo: everything fits
  1  the answer is no: over budget, grown too much, not valid, an output that differs
  2  wrong usage or configuration: an option, a file, a name
  3  an internal failure of keras-tree (--debug shows the traceback)
"""


class UsageError(ValueError):
    """A wrong option, file or configuration: what was expected, received, and what to do."""


@contextmanager
def as_usage_error(
    *errors: type[Exception], but: type[Exception] | tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn the `errors` that a user's input causes into a `UsageError` with the same message.

    Those of `but` are let through.
    """
    try:
        yield
    except but:
        raise
    except errors as error:
        raise UsageError(_message(error)) from error


def _message(error: Exception) -> str:
    """What the error says; for the operating system's errors without the number."""
    if isinstance(error, OSError) and error.strerror:
        if error.filename is None:
            return f"cannot read or write a file: {error.strerror}. Check the paths and the disk."
        return f"cannot read or write '{error.filename}': {error.strerror}. Check the path."
    return str(error)


def check_folder(folder: Path, option: str) -> None:
    """Refuse a folder that could not be made, before the work whose result goes there.

    Raises:
        UsageError: It is a file, lies below one, or may not be written to.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"`{option}` must be a folder, '{there}' is a file. Choose another path.")
    if not os.access(there, os.W_OK):
        raise UsageError(
            f"`{option}` must be a folder that can be written, '{there}' cannot. Choose another "
            "path."
        )


def near_name(name: str, known: Iterable[str], kind: str) -> str:
    """Offer what may have been meant.

    Args:
        name: the unknown name.
        known: the names that exist.
        kind: what they are, in the plural, for the list.

    Returns:
        A sentence: "Did you mean 'digit'?", or the list of the names.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"The {kind} are: {', '.join(known)}."


class CommandParser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and offers near names for misspelt ones."""

    def __init__(self, **settings: object) -> None:
        settings.setdefault("allow_abbrev", False)
        settings.setdefault("formatter_class", _HelpFormatter)
        super().__init__(**settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Print one sentence, a near name and where to read more; exit with code 2."""
        self.exit(
            WRONG_USAGE,
            f"{self.prog}: {message}{self._advice(message)}\nTry '{self.prog} --help'.\n",
        )

    def _advice(self, message: str) -> str:
        """Near names for the unknown options and choices that `message` quotes."""
        known_options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", self.format_help()))
        unknown = re.search(r"unrecognized arguments: (.*)", message)
        wrong_options = re.findall(r"--[\w-]+", unknown[1]) if unknown else []
        pairs = [(option, known_options) for option in wrong_options]
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice:
            pairs.append((choice[1], set(re.findall(r"[\w-]+", choice[2]))))
        near = [difflib.get_close_matches(name, sorted(known), n=1) for name, known in pairs]
        found = [f"'{match[0]}'" for match in near if match]
        return f". Did you mean {' and '.join(found)}?" if found else ""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Descriptions and examples as they stand in the source, options in a wide column."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=96)
