"""ROM and RAM of a firmware that is already linked, read from its ELF image: exact, no estimate.

The sizes are those of the image's sections, as GNU `size -A` lists them; padding between sections
is not counted. What a bundle alone costs before it is linked is in `rom.py` and `ram.py`. Only the
headers are read, a few kilobytes even of an image with debug information, and nothing in them is
trusted. Layout: System V ABI, chapters 4 and 5 (https://refspecs.linuxfoundation.org/elf/).
"""

from __future__ import annotations

import stat
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

_NOTHING, _NOBITS = 0, 8  # SHT_NULL; SHT_NOBITS: memory without contents in the file
_ARRAYS = (14, 15, 16)  # SHT_INIT_ARRAY, SHT_FINI_ARRAY, SHT_PREINIT_ARRAY
_WRITE, _ALLOC = 1, 2  # SHF_WRITE, SHF_ALLOC
_LOAD = 1  # PT_LOAD
_LINKED = (2, 3)  # ET_EXEC, ET_DYN
_MACHINES = {  # by the beginning of a core's name: EM_ARM, EM_XTENSA, EM_RISCV
    "cortex": (40, "Arm"), "xtensa": (94, "Xtensa"), "rv32": (243, "RISC-V"),
}  # fmt: skip
_OTHERS = {1: "an object file that is not linked yet", 4: "a memory dump"}  # ET_REL, ET_CORE
_MOST_HEADERS = 0xFF00  # SHN_LORESERVE; firmware has tens
_LONGEST_NAME = 200
_FORMATS = (  # what is often taken for an image
    (b"!<arch>", "a library of object files"),
    (b":", "an Intel HEX file"),
    (b"S0", "a Motorola S-record file"),
    (b"UF2\n", "a UF2 file"),
    (b"MZ", "a Windows program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
)
_WHAT_TO_GIVE = "Give the .elf, .axf or .out file that the linker wrote."


class ImageError(ValueError):
    """A file that is no linked ELF image."""


@dataclass(frozen=True)
class Image:
    """What a linked image occupies.

    Args:
        rom_sections: Bytes in flash by section, `.data`'s initial values included.
        ram_sections: Bytes in RAM by section.
        machine: What its code is made for, as ELF numbers it (`e_machine`).
    """

    rom_sections: dict[str, int]
    ram_sections: dict[str, int]
    machine: int


class _Header(NamedTuple):
    """What is needed of the file's header."""

    machine: int
    program_offset: int
    section_offset: int
    program_size: int
    program_count: int
    section_size: int
    section_count: int
    names_index: int


class _Section(NamedTuple):
    """One section header."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


class _Segment(NamedTuple):
    """One program header: where a piece of the file is programmed, and where it is used."""

    offset: int
    address: int
    programmed_address: int
    file_size: int


class _Layout(NamedTuple):
    """How structures are packed in a 32-bit or a 64-bit file, as `struct` writes it."""

    header: str
    section: str
    segment: str


# The header from `e_type` on. What is skipped: of a section all behind its link; of a segment its
# size in memory, flags (which stand second in 64-bit files) and alignment.
_LAYOUTS = {
    1: _Layout("HHIIIIIHHHHHH", "IIIIIII12x", "IIIII12x"),
    2: _Layout("HHIQQQIHHHHHH", "IIQQQQI20x", "I4xQQQQ16x"),
}


def read_image(path: Path) -> Image:
    """Read what a linked image occupies.

    ROM is every allocated section with contents. RAM is every allocated section that is written or
    has no contents (`.data`, `.bss`, stack, heap), and what is copied to another address than it is
    programmed at, such as code that runs from RAM. Constructors' addresses that lie in flash among
    constants are ROM alone. Code that a boot loader copies to RAM without the image saying so, as
    on an ESP32, counts as ROM alone too.

    Args:
        path: An ELF file, 32 or 64 bits, of either byte order.

    Raises:
        ImageError: The file cannot be read, or is no linked ELF image.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ImageError(f"{path}: an ELF image is expected, this is no file. {_WHAT_TO_GIVE}")
        with path.open("rb") as file:
            return _Reader(path, file).image()
    except OSError as error:
        raise ImageError(
            f"{path}: a readable ELF image is expected; {error.strerror}. Check the path."
        ) from error


def refuse_other_machine(image: Image, path: Path, core: str) -> None:
    """Refuse an image that is made for another architecture than a board's core.

    Raises:
        ImageError: It is.
    """
    number, name = next(found for prefix, found in _MACHINES.items() if core.startswith(prefix))
    if image.machine != number:
        known = dict(_MACHINES.values())
        received = known.get(image.machine, f"machine {image.machine}")
        raise ImageError(
            f"{path}: an image for {core} ({name}) is expected, received one for {received}. Give "
            "the image that was linked for this board."
        )


class _Reader:
    """Reads one file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.file_size = file.seek(0, 2)
        start = self._bytes(0, min(16, self.file_size))
        self._check_start(start)
        self.bits, self.order = start[4], "<>"[start[5] - 1]
        self.layout = _LAYOUTS[self.bits]

    def image(self) -> Image:
        """ROM and RAM of all sections."""
        header = self._header()
        sections = self._sections(header)
        segments = self._segments(header)
        homes = [_home(section, segments) for section in sections]
        constant = {
            home
            for section, home in zip(sections, homes, strict=True)
            if home is not None and not section.flags & _WRITE and section.type not in _ARRAYS
        }
        rom: dict[str, int] = {}
        ram: dict[str, int] = {}
        names = sections[header.names_index] if header.names_index < len(sections) else None
        for index, (section, home) in enumerate(zip(sections, homes, strict=True)):
            if not section.flags & _ALLOC or not section.size or section.type == _NOTHING:
                continue
            self._check_section(section)
            name = self._name(section, names) or f"section {index}"
            has_contents = section.type != _NOBITS
            if has_contents:
                rom[name] = rom.get(name, 0) + section.size
            is_copied = home is not None and home.address != home.programmed_address
            stays = section.type in _ARRAYS and home in constant and not is_copied
            if not has_contents or is_copied or (section.flags & _WRITE and not stays):
                ram[name] = ram.get(name, 0) + section.size
        if not rom:
            raise self._wrong("sections to program into flash are expected, there are none")
        return Image(rom, ram, header.machine)

    def _check_start(self, start: bytes) -> None:
        """Refuse what is no ELF file."""
        if start[:4] != b"\x7fELF":
            known = [what for magic, what in _FORMATS if start.startswith(magic)]
            raise self._wrong(f"it is {known[0]}" if known else "it does not begin like one")
        if len(start) < 16 or start[4] not in _LAYOUTS or start[5] not in (1, 2) or start[6] != 1:
            raise self._wrong("its first 16 bytes say neither 32 nor 64 bits in a known order")

    def _header(self) -> _Header:
        (
            kind, machine, version, _, program_offset, section_offset, _, _, program_size,
            program_count, section_size, section_count, names_index,
        ) = self._unpacked(self.layout.header, 16)  # fmt: skip
        if version != 1:
            raise self._wrong(f"it is of the unknown version {version}")
        if kind not in _LINKED:
            raise self._wrong(f"it is {_OTHERS.get(kind, f'of the unknown type {kind}')}")
        if section_offset == 0:
            raise self._wrong("its section headers were removed; strip it with `strip` instead")
        if section_count == 0 or names_index == 0xFFFF:  # too many for 16 bits: in the first one
            first = _Section(*self._unpacked(self.layout.section, section_offset))
            section_count = section_count or first.size
            names_index = first.link if names_index == 0xFFFF else names_index
        return _Header(
            machine, program_offset, section_offset, program_size, program_count, section_size,
            section_count, names_index,
        )  # fmt: skip

    def _sections(self, header: _Header) -> list[_Section]:
        rows = self._table(
            self.layout.section, header.section_offset, header.section_size, header.section_count
        )
        return [_Section(*row) for row in rows]

    def _segments(self, header: _Header) -> list[_Segment]:
        """The pieces that are programmed, in the order of the file."""
        rows = self._table(
            self.layout.segment, header.program_offset, header.program_size, header.program_count
        )
        loaded = sorted(_Segment(*row[1:]) for row in rows if row[0] == _LOAD and row[4])
        # Some linkers leave the second address out: everything is then used where it is programmed.
        if any(segment.programmed_address for segment in loaded):
            return loaded
        return [one._replace(programmed_address=one.address) for one in loaded]

    def _table(self, layout: str, offset: int, size: int, count: int) -> list[tuple[int, ...]]:
        """Headers of one kind, each of `size` bytes."""
        least = struct.calcsize(self.order + layout)
        if count == 0:
            return []
        if not least <= size <= 256 or count > _MOST_HEADERS:
            raise self._wrong(f"{count:,} headers of {size} bytes are no table of a firmware")
        data = self._bytes(offset, size * count)
        return [
            struct.unpack_from(self.order + layout, data, at) for at in range(0, len(data), size)
        ]

    def _check_section(self, section: _Section) -> None:
        """Refuse a section beyond the file or beyond all addresses."""
        if section.type != _NOBITS and section.offset + section.size > self.file_size:
            raise self._wrong("it ends before its sections do; it was cut short")
        if section.address + section.size > 1 << (32 if self.bits == 1 else 64):
            raise self._wrong("a section ends beyond the last address")

    def _unpacked(self, layout: str, offset: int) -> tuple[int, ...]:
        return struct.unpack(
            self.order + layout, self._bytes(offset, struct.calcsize(self.order + layout))
        )

    def _bytes(self, offset: int, size: int) -> bytes:
        """Bytes of the file; refuses what lies beyond its end."""
        if offset + size > self.file_size:
            raise self._wrong("it ends before its headers do; it was cut short")
        self.file.seek(offset)
        data = self.file.read(size)
        if len(data) < size:
            raise self._wrong("it became shorter while it was read")
        return data

    def _name(self, section: _Section, names: _Section | None) -> str:
        """A section's name in printable characters; empty where the file has none for it."""
        if names is None or names.type == _NOBITS or section.name >= names.size:
            return ""
        offset = names.offset + section.name
        size = min(_LONGEST_NAME, self.file_size - offset)
        raw = self._bytes(offset, size).split(b"\0", 1)[0] if size > 0 else b""
        text = raw.decode("ascii", "replace")
        return "".join(letter if letter.isprintable() else "?" for letter in text)

    def _wrong(self, what: str) -> ImageError:
        return ImageError(
            f"{self.path}: a linked ELF image is expected, received {self.file_size:,} bytes: "
            f"{what}. {_WHAT_TO_GIVE}"
        )


def _home(section: _Section, segments: Sequence[_Segment]) -> _Segment | None:
    """The segment that a section's contents lie in; `segments` in the order of the file."""
    if section.type == _NOBITS or not section.flags & _ALLOC or not section.size:
        return None
    at = bisect_right(segments, section.offset, key=lambda segment: segment.offset) - 1
    if at < 0:
        return None
    end = segments[at].offset + segments[at].file_size
    return segments[at] if section.offset + section.size <= end else None
