"""The folder of a bundle on disk: which files it has, written whole or not at all, read with care.

Here stands the file system's side: the temporary folder beside the target, the flush to disk, the
renaming into place, what is undone after a failure, what an error of the system means for the user,
and the comparison of a file with its listed length and digest. What the files hold is not known
here, but for the mark by which a folder is known as a bundle.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantize.storage.folder_swap import swapped_folder
from quantize.storage.parts import FORMAT, BundleError

MANIFEST = "manifest.json"
_NAME = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.-]{1,200}")
_OWN_FILE = re.compile(rf"{re.escape(MANIFEST)}|nodes/[^/]+\.tflite|golden/[^/]+\.npz|nodes|golden")
# What file browsers leave behind; nobody misses it.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class StoredFile:
    """A file of a bundle, as the manifest lists it.

    Args:
        owner: Whose it is, for messages, e.g. "node 'trunk'".
        path: Where it stands in the folder, with `/` between the parts.
        length_bytes: Its length.
        sha256: Hex digest of its bytes.
    """

    owner: str
    path: str
    length_bytes: int
    sha256: str

    @classmethod
    def of_node(cls, name: str, data: bytes) -> StoredFile:
        """Return the listing of a node's flatbuffer."""
        check_name(name, "node")
        return cls._of(f"node '{name}'", f"nodes/{name}.tflite", data)

    @classmethod
    def of_golden(cls, task: str, data: bytes) -> StoredFile:
        """Return the listing of a task's golden vectors."""
        check_name(task, "task")
        return cls._of(f"task '{task}'", f"golden/{task}.npz", data)

    @classmethod
    def _of(cls, owner: str, path: str, data: bytes) -> StoredFile:
        return cls(owner, path, len(data), hashlib.sha256(data).hexdigest())


def check_name(name: str, kind: str) -> None:
    """Raise unless the name of a node or task is safe as a file's name on every system."""
    if not _NAME.fullmatch(name):
        raise BundleError(
            f"The name of a {kind} must be 1 to 200 letters, digits, '_', '.' or '-', and not only "
            f"dots, because it becomes a file's name; got {name!r}. Rename the {kind}."
        )


def read_manifest_file(folder: Path) -> bytes:
    """Return the bytes of a bundle's manifest.

    Raises:
        BundleError: There is no such folder, or no manifest in it.
    """
    if not folder.is_dir():
        left = interrupted_save(folder)
        raise BundleError(
            f"`folder` must be a bundle's folder; there is no folder '{folder}'. "
            + (f"A save that was cut off left the bundle at '{left}': rename it." if left else "")
            + ("" if left else "Write one with Bundle.save, or mend the path.")
        )
    try:
        return (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise BundleError(
            f"`folder` must be a bundle's folder; '{folder}' has no {MANIFEST}. Give the folder "
            "that Bundle.save wrote."
        ) from None
    except OSError as error:
        raise BundleError(f"{MANIFEST} cannot be read: {error.strerror or error}.") from error


def read_stored(folder: Path, file: StoredFile) -> bytes:
    """Return the bytes of a listed file.

    Raises:
        BundleError: It is missing, or has another length or digest than the manifest says.
    """
    path = folder / file.path
    try:
        # The length first: a file that was exchanged for a huge one is not read.
        length_bytes = path.stat().st_size
        data = path.read_bytes() if length_bytes == file.length_bytes else b""
    except OSError as error:
        raise BundleError(
            f"{file.owner}: file '{file.path}' cannot be read: {error.strerror or error}. "
            "Copy the whole folder again, or write the bundle anew."
        ) from error
    if length_bytes != file.length_bytes:
        raise BundleError(
            f"{file.owner}: file '{file.path}' must have {file.length_bytes} bytes as the manifest "
            f"says; it has {length_bytes}. Copy the whole folder again, or write the bundle anew."
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise BundleError(
            f"{file.owner}: file '{file.path}' must have the SHA-256 {file.sha256} as the manifest "
            f"says; it has {digest}. Copy the whole folder again, or write the bundle anew."
        )
    return data


def write_folder(
    folder: str | os.PathLike[str], files: Mapping[str, bytes], overwrite: bool
) -> Path:
    """Write `files` as the folder `folder`, so that nothing half-written is ever at that path.

    The files are written and flushed to disk in a hidden folder beside the target, which is then
    renamed into place. An older folder is first renamed aside and removed last; any failure, and
    Ctrl-C, puts it back and removes what was written.

    Args:
        folder: Where the folder shall stand. Missing parents are made. A symbolic link is followed.
        files: Contents by path relative to the folder, with `/` between the parts.
        overwrite: Whether a bundle that is already there may be replaced.

    Returns:
        The folder, as an absolute path.

    Raises:
        BundleError: The target is there and may not be replaced, or the system refuses to write.
    """
    target = Path(os.path.realpath(folder))
    try:
        _check_target(target, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_beside(target, files, overwrite)
    except OSError as error:
        raise BundleError(_explain(error, target, sum(map(len, files.values())))) from error
    return target


def interrupted_save(folder: Path) -> Path | None:
    """Return the older bundle that a killed save of `folder` left aside, or None.

    Only a process that is killed between the two renamings of an overwrite leaves one.
    """
    target = Path(os.path.realpath(folder))
    left = sorted(target.parent.glob(f".{target.name}.*.old")) if target.parent.is_dir() else []
    return left[0] if left else None


def _check_target(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return
    foreign = _foreign(target)
    if foreign:
        raise BundleError(
            f"`folder` must be new, empty or an earlier bundle; '{target}' {foreign}, and is left "
            "as it is. Choose another folder."
        )
    if not overwrite:
        raise BundleError(
            f"`folder` must be new or empty; '{target}' holds a bundle already. Pass "
            "overwrite=True to replace it, or choose another folder."
        )


def _foreign(target: Path) -> str:
    """Say what keeps an existing path from being replaced: it is no bundle, or holds more."""
    if not target.is_dir():
        return "is a file"
    try:
        mark = json.loads((target / MANIFEST).read_bytes())["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        mark = None
    if mark != FORMAT:
        return "is a folder that is no bundle"
    names = sorted(path.relative_to(target).as_posix() for path in target.rglob("*"))
    others = [n for n in names if not _OWN_FILE.fullmatch(n) and Path(n).name not in _LITTER]
    return f"holds what is no part of a bundle ({', '.join(others[:3])})" if others else ""


def _write_beside(target: Path, files: Mapping[str, bytes], overwrite: bool) -> None:
    """Write the new folder beside `target` and swap it in; on any failure restore `target`."""

    def check_old(old: Path) -> None:
        if not overwrite and any(old.iterdir()):
            raise BundleError(
                f"`folder` must be new or empty; '{target}' was written by another process at "
                "the same time, and is left as it is. Choose another folder."
            )

    with swapped_folder(target, check_old) as new:
        _write_files(new, files)
    with contextlib.suppress(OSError):
        # The bundle stands; a system that cannot flush a folder's names loses at most the swap.
        _flush_folder(target.parent)


def _write_files(new: Path, files: Mapping[str, bytes]) -> None:
    os.mkdir(new)
    for folder in sorted({(new / name).parent for name in files} - {new}):
        os.mkdir(folder)
    for name, data in files.items():
        with open(new / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for folder in sorted({(new / name).parent for name in files} | {new}):
        _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    """Make the folder's list of names durable, where the system can (Windows cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, target: Path, needed_bytes: int) -> str:
    """Say which path could not be written, how many bytes it needs, and what to do."""
    if error.errno in _FULL:
        advice = f"{_free_space(target)}. Free some space, or choose a folder on another disk."
    elif error.errno in _FORBIDDEN:
        advice = f"'{target.parent}' cannot be written to. Choose a folder that you may write to."
    elif error.errno in {errno.ENOTDIR, errno.EEXIST}:
        advice = f"'{target.parent}' is not a folder. Choose a path whose parents are folders."
    else:
        advice = "Mend the cause, or choose another folder."
    return (
        f"Bundle folder '{target}' ({needed_bytes} bytes) could not be written: "
        f"{error.strerror or error}. {advice} Nothing there was changed."
    )


def _free_space(target: Path) -> str:
    """Say how much is free where `target` should stand; a quota may be lower than that."""
    place = next(folder for folder in target.parents if folder.is_dir())
    try:
        free_bytes = shutil.disk_usage(place).free
    except OSError:
        return f"'{place}' is full"
    return f"'{place}' has {free_bytes} bytes free on its disk, less where a quota or limit applies"
