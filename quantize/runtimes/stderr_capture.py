"""Catch what C++ code writes to the process's standard error.

Belongs here: the file descriptor's detour. Does not belong here: reading the text.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_STDERR = 2
# One descriptor serves the whole process, so one detour at a time.
_LOCK = threading.Lock()


class CapturedText:
    """What was written so far; complete once the capture has ended."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._final: str | None = None

    def read(self) -> str:
        """The text caught so far, undecodable bytes replaced."""
        if self._final is not None:
            return self._final
        self._file.seek(0)
        return self._file.read().decode("utf-8", "replace")

    def close(self) -> None:
        """Keep the text, which outlives the file."""
        self._final = self.read()


@contextmanager
def captured_stderr() -> Iterator[CapturedText]:
    """Turn file descriptor 2 aside for the duration of the block.

    Python's own `sys.stderr` is caught too where it writes to that descriptor, and so is what other
    threads write meanwhile: keep the block short.

    Yields:
        The text that was caught.
    """
    with _LOCK, tempfile.TemporaryFile() as file:
        text = CapturedText(file)
        _flush()
        try:
            saved: int | None = os.dup(_STDERR)
        except OSError:
            # The process runs without a standard error.
            saved = None
        os.dup2(file.fileno(), _STDERR)
        try:
            yield text
        finally:
            _flush()
            if saved is None:
                os.close(_STDERR)
            else:
                os.dup2(saved, _STDERR)
                os.close(saved)
            text.close()


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
