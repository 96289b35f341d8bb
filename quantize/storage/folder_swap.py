"""A new folder beside an old one, which takes its place whole or not at all.

Nothing of what the folder holds is known here.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def swapped_folder(target: Path, check_old: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Give the path of a folder to write; when the block ends well, it takes `target`'s place.

    On any failure, also an interrupt, `target` is as it was before.

    Args:
        target: The folder that is replaced, or new.
        check_old: Called with the old folder once it is out of the way; may refuse by raising.

    Yields:
        A path beside `target` at which nothing is yet.
    """
    stem = f".{target.name}.{secrets.token_hex(4)}"
    new, old = target.with_name(f"{stem}.new"), target.with_name(f"{stem}.old")
    try:
        yield new
        if target.exists():
            os.rename(target, old)
            if check_old is not None:
                check_old(old)
        os.rename(new, target)
    except BaseException:
        # The state is read from the disk: an interrupt may fall between a renaming and the next
        # statement. A swap that was completed stays.
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
