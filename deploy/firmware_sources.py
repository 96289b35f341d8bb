"""Where the plain C sources of `firmware_stubs/` are: in a checkout, or in an installation.

A wheel brings them as data files, below `share/keras-tree/` of the installation's prefix; an
editable installation and a checkout have them beside the packages.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

__all__ = ["FirmwareSourceError", "firmware_file", "firmware_folder"]

_INSTALLED = Path("share", "keras-tree", "firmware_stubs")


class FirmwareSourceError(FileNotFoundError):
    """The C sources are not where an installation or a checkout has them."""


def firmware_folder() -> Path:
    """Return the folder `firmware_stubs`.

    Raises:
        FirmwareSourceError: It is nowhere; the installation is incomplete.
    """
    places = list(_places())
    for place in places:
        if (place / "include" / "kt_kernels.h").is_file():
            return place
    looked = ", ".join(f"'{place}'" for place in places)
    raise FirmwareSourceError(
        f"The C sources must be in one of {looked}; none has them. Install keras-tree anew: "
        "`pip install --force-reinstall --no-deps keras-tree`."
    )


def firmware_file(name: str) -> Path:
    """Return one of the plain files.

    Args:
        name: Its path within `firmware_stubs`, such as "include/kt_kernels.h".

    Raises:
        FirmwareSourceError: There is no such file.
    """
    path = firmware_folder() / name
    if not path.is_file():
        raise FirmwareSourceError(
            f"`name` must be a file of '{firmware_folder()}', received '{name}'. Install "
            "keras-tree anew, or check the name."
        )
    return path


def _places() -> Iterator[Path]:
    """Where to look: beside the packages, in the prefix, in a prefix around the packages."""
    packages = Path(__file__).resolve().parents[1]
    yield packages / "firmware_stubs"
    prefixes = [Path(sysconfig.get_path("data")), Path(sys.prefix)]
    # `pip install --user`, `--prefix` and `--target` leave the packages somewhere below a prefix.
    prefixes += [packages, *packages.parents[:4]]
    for prefix in dict.fromkeys(prefixes):
        yield prefix / _INSTALLED
