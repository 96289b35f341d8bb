"""Whose bytes an image's flash holds: node, constant, kernel. Everything sums to the sections."""

from __future__ import annotations

import re

from deploy.emulation.build import Build
from deploy.emulation.elf_sections import LinkedImage, Section, Symbol, defined_names
from deploy.emulation.measurement import RomPart

__all__ = ["rom_parts", "rom_sections"]

# Behind a node's function: step, call, and the field of a structure within a structure.
_PARAMETERS = re.compile(r"_\d+(c\d+)?(_[a-z]+)?(\.\w+)*")

HARNESS_SECTIONS = (".harness", ".golden")
"""What only the test needs; the linker scripts put it there."""


def rom_sections(image: LinkedImage) -> dict[str, int]:
    """Bytes in flash by section, without what only the test needs."""
    return {one.name: one.size_bytes for one in _counted(image)}


def rom_parts(image: LinkedImage, build: Build) -> tuple[RomPart, ...]:
    """Split the flash by what lies in it, in the order of the addresses.

    The parts of a section sum to the section: what no symbol names is "padding", the bytes between
    two symbols that align the second, and tables that the compiler left without a name.
    """
    sorting = _Sorting(build)
    parts = []
    for section in _counted(image):
        symbols = [one for one in image.symbols if one.section == section.name]
        parts += [sorting.part(one) for one in symbols]
        rest = section.size_bytes - sum(one.size_bytes for one in symbols)
        if rest:
            parts.append(RomPart("(padding)", "padding", section.name, rest))
    return tuple(parts)


def _counted(image: LinkedImage) -> list[Section]:
    return [one for one in image.sections if one.is_stored and one.name not in HARNESS_SECTIONS]


class _Sorting:
    """Knows whose a symbol is."""

    def __init__(self, build: Build) -> None:
        program = build.program
        self._constants = {one.name: one.nodes for one in program.constants}
        self._functions = {function: node for node, function in program.node_functions.items()}
        self._tasks = {task.run: task.path for task in program.tasks.values()}
        self._kinds = {
            name: kind
            for group, kind in (("library", "library"), ("kernels", "kernel"), ("generated", ""))
            for name in defined_names(build.objects[group])
        }

    def part(self, symbol: Symbol) -> RomPart:
        """What a symbol is, and the nodes that it is for."""
        kind, nodes = self._kind_and_nodes(symbol)
        return RomPart(symbol.name, kind, symbol.section, symbol.size_bytes, nodes)

    def _kind_and_nodes(self, symbol: Symbol) -> tuple[str, tuple[str, ...]]:
        name = symbol.name
        if name in self._constants:
            return "constant", self._constants[name]
        if name in self._functions:
            return "code", (self._functions[name],)
        if name in self._tasks:
            return "code", self._tasks[name]
        kind = self._kinds.get(name, "library")
        if kind:
            return kind, ()
        return "code" if symbol.section == ".text" else "parameters", self._owner(name)

    def _owner(self, name: str) -> tuple[str, ...]:
        """The node whose parameters a symbol holds: they are named after its function."""
        for function, node in self._functions.items():
            stem = function.removeprefix("kt_")
            if name.startswith(stem) and _PARAMETERS.fullmatch(name[len(stem) :]):
                return (node,)
        return ()
