"""ROM of a firmware that is already linked, read from its ELF image: exact, nothing estimated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class ImageError(ValueError):
    """A file that is no linked ELF image."""


@dataclass(frozen=True)
class Image:
    """What a linked image occupies.

    Args:
        rom_sections: Bytes in flash by section, `.data`'s initial values included.
        ram_sections: Bytes in RAM by section.
    """

    rom_sections: dict[str, int]
    ram_sections: dict[str, int]


def read_image(path: Path) -> Image:
    """Read what a linked image occupies.

    Raises:
        ImageError: The file cannot be read, or is no linked ELF image.
    """
    raise ImageError(f"{path}: an ELF image is expected.")
