"""What lies where in a linked image: sections, symbols, the bytes to load, instructions.

Needs `pyelftools`. Belongs here: reading. What the bytes cost whom stands in `rom_account.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

__all__ = ["CodeRange", "LinkedImage", "Section", "Symbol", "defined_names", "read_linked_image"]

_WRITE, _ALLOC = 1, 2  # SHF_WRITE, SHF_ALLOC
_SIZED = ("STT_OBJECT", "STT_FUNC", "STT_NOTYPE")


@dataclass(frozen=True)
class Section:
    """A section that takes memory.

    Args:
        name: Such as ".text".
        address: Where it is used.
        size_bytes: Its length.
        is_stored: Whether it has contents, which lie in flash.
        is_written: Whether it lies in RAM.
    """

    name: str
    address: int
    size_bytes: int
    is_stored: bool
    is_written: bool


@dataclass(frozen=True)
class Symbol:
    """A function or an object.

    Args:
        name: Its name in C, with what the compiler added (".isra.0").
        address: Its first byte; of a function without the bit that marks Thumb.
        size_bytes: Its length.
        section: The section that it lies in.
    """

    name: str
    address: int
    size_bytes: int
    section: str


@dataclass(frozen=True)
class CodeRange:
    """Bytes of `.text` that are instructions, no constants."""

    start: int
    data: bytes


@dataclass(frozen=True)
class LinkedImage:
    """A linked image.

    Args:
        sections: Those that take memory, by address.
        symbols: Those with a size, by address; of several names for the same bytes the first.
        addresses: Of every name, also of those without a size; functions without the Thumb bit.
        segments: What is programmed: address in flash and bytes.
        code: The instructions.
    """

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    addresses: dict[str, int]
    segments: tuple[tuple[int, bytes], ...]
    code: tuple[CodeRange, ...]


def read_linked_image(path: Path) -> LinkedImage:
    """Read an ELF image.

    Raises:
        ImportError: pyelftools is not installed.
    """
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        elf = ELFFile(file)
        numbered = {
            index: Section(
                one.name,
                one["sh_addr"],
                one["sh_size"],
                one["sh_type"] != "SHT_NOBITS",
                bool(one["sh_flags"] & _WRITE),
            )
            for index, one in enumerate(elf.iter_sections())
            if one["sh_flags"] & _ALLOC and one["sh_size"]
        }
        table = list(elf.get_section_by_name(".symtab").iter_symbols())
        segments = [
            (one["p_paddr"], one.data())
            for one in elf.iter_segments()
            if one["p_type"] == "PT_LOAD" and one["p_filesz"]
        ]
        text = next(one for one in elf.iter_sections() if one.name == ".text")
        code = _code_ranges(table, text["sh_addr"], text.data(), elf["e_machine"] == "EM_ARM")
    thumb = 1 if elf["e_machine"] == "EM_ARM" else 0
    return LinkedImage(
        tuple(sorted(numbered.values(), key=lambda one: one.address)),
        tuple(_symbols(table, numbered, thumb)),
        {one.name: _address(one, thumb) for one in table if one["st_shndx"] != "SHN_UNDEF"},
        tuple(segments),
        tuple(code),
    )


def defined_names(objects: Iterable[Path]) -> set[str]:
    """The names of the functions and objects that object files define."""
    from elftools.elf.elffile import ELFFile

    names = set()
    for path in objects:
        with path.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            names |= {
                one.name
                for one in table.iter_symbols()
                if one["st_size"] and one["st_shndx"] != "SHN_UNDEF"
            }
    return names


def _address(symbol: Any, thumb: int) -> int:
    is_function = symbol["st_info"]["type"] == "STT_FUNC"
    return symbol["st_value"] & ~thumb if is_function else symbol["st_value"]


def _symbols(table: list[Any], sections: dict[int, Section], thumb: int) -> Iterable[Symbol]:
    """Sized symbols that do not overlap, by address."""
    found = sorted(
        (
            (_address(one, thumb), -one["st_size"], one.name, sections[one["st_shndx"]].name)
            for one in table
            if one["st_size"]
            and one["st_shndx"] in sections
            and one["st_info"]["type"] in _SIZED
        ),
    )  # fmt: skip
    end = 0
    for address, negative_size, name, section in found:
        if address >= end:
            end = address - negative_size
            yield Symbol(name, address, -negative_size, section)


def _code_ranges(table: list[Any], start: int, text: bytes, is_arm: bool) -> Iterable[CodeRange]:
    """Split `.text` by the mapping symbols: `$t` and `$x` begin instructions, `$d` constants.

    "ELF for the Arm Architecture", section 5.5.5. Without any, all of it is instructions: GCC
    marks no RISC-V code, which has no constants between instructions.
    """
    end = start + len(text)
    marks = sorted(
        {
            one["st_value"]: one.name[1]
            for one in table
            if one.name[:2] in ("$t", "$d", "$x") and start <= one["st_value"] < end
        }.items()
    )
    if not marks or not is_arm:
        return [CodeRange(start, text)]
    edges = [*marks, (end, "d")]
    return [
        CodeRange(first, text[first - start : last - start])
        for (first, kind), (last, _) in pairwise(edges)
        if kind != "d"
    ]
