"""Write a firmware folder: whole or not at all, and never over files that are not its own.

Every folder holds a list of what was written, with digests. By it a later run knows which files are
its own, which of them a user changed, and which are the user's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from quantize.storage.folder_swap import swapped_folder

__all__ = ["MARKER", "FolderError", "WrittenFolder", "check_target", "write_folder"]

MARKER = ".keras-tree-firmware.json"
_FORMAT = "keras-tree-firmware"


class FolderError(ValueError):
    """A folder that may not, or cannot, be written; says why, and what to do."""


@dataclass(frozen=True)
class WrittenFolder:
    """What was written.

    Args:
        folder: Where, as an absolute path.
        kept: Files that a user had changed and that were left as they are, by path.
        replaced: Files that a user had changed and that were replaced, because it was asked for.
        own: How many files of the user's stay in the folder.
    """

    folder: Path
    kept: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    own: int = 0


def check_target(folder: Path) -> None:
    """Refuse a folder that is not ours to write, before any work.

    Raises:
        FolderError: It is a file, or holds files and no list of what was written.
    """
    _listed(Path(os.path.realpath(folder)))


def write_folder(folder: Path, files: Mapping[str, bytes], force: bool = False) -> WrittenFolder:
    """Write `files` as a folder, or write one that was written before anew.

    The new folder is made beside the old one and takes its place by a renaming; any failure leaves
    what was there. Files that a user added stay, also below folders such as `build`.

    Args:
        folder: Where; a symbolic link is followed.
        files: Contents by path within the folder, with "/".
        force: Replace files that a user changed, too.

    Raises:
        FolderError: The folder is foreign, or the system refuses to write.
    """
    target = Path(os.path.realpath(folder))
    listed = _listed(target)
    try:
        changed = tuple(sorted(name for name in listed if _is_changed(target / name, listed[name])))
        kept = () if force else changed
        own = _own_files(target, listed)
        clash = sorted(set(own) & set(files) - set(listed))
        if clash and not force:
            raise FolderError(
                f"'{target}' must not hold files of yours where new ones go, received "
                f"{', '.join(clash[:3])}. Move them away, or add --force to replace them."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        stays = [*kept, *(name for name in own if name not in files)]
        _swap_in(target, {**files, MARKER: _marker(files)}, stays)
    except OSError as error:
        raise FolderError(
            f"The folder '{target}' cannot be written: {error.strerror or error}. Mend that, or "
            "choose another one. What was there is as it was."
        ) from error
    replaced = tuple(name for name in changed if name in files) if force else ()
    return WrittenFolder(target, kept, replaced, len(own))


def _listed(target: Path) -> dict[str, str]:
    """Digests by path of what was written to a folder; empty for one that is new or empty."""
    if not os.path.lexists(target):
        return {}
    if not target.is_dir():
        raise FolderError(f"`--out` must be a folder, '{target}' is a file. Choose another path.")
    if not any(target.iterdir()):
        return {}
    try:
        marker = json.loads((target / MARKER).read_bytes())
        if marker["format"] == _FORMAT:
            digests = {str(name): str(digest) for name, digest in marker["files"].items()}
            return {name: digests[name] for name in digests if _is_within(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise FolderError(
        f"`--out` must be new, empty or a folder that this command wrote; '{target}' holds other "
        "files, and is left as it is. Choose another folder."
    )


def _is_within(name: str) -> bool:
    """Whether a path of the list stays within the folder; anyone may have edited it."""
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _marker(files: Mapping[str, bytes]) -> bytes:
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    return (
        json.dumps({"format": _FORMAT, "version": 1, "files": digests}, indent=1) + "\n"
    ).encode()


def _is_changed(path: Path, digest: str) -> bool:
    """Whether a file that was written is there with another content."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != digest


def _own_files(target: Path, listed: Mapping[str, str]) -> list[str]:
    """What a user, or a build, has added: files and links, by path."""
    if not target.is_dir():
        return []
    there = (path for path in target.rglob("*") if path.is_symlink() or not path.is_dir())
    names = (path.relative_to(target).as_posix() for path in there)
    return sorted(name for name in names if name not in listed and name != MARKER)


def _swap_in(target: Path, files: Mapping[str, bytes], stays: list[str]) -> None:
    """Make the new folder beside the target, and let it take the target's place."""
    with swapped_folder(target) as new:
        for name, data in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data)
        for name in stays:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).unlink(missing_ok=True)
            shutil.copy2(target / name, new / name, follow_symlinks=False)
