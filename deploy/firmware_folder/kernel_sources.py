"""Which of the plain C kernels a program needs: files by the functions that it calls.

Read from the sources themselves, so that a kernel in a new file needs no entry anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from deploy.firmware_sources import firmware_folder

__all__ = ["default_isa", "included", "instruction_sets", "kernel_files"]

_DEFINITION = re.compile(r"^(?!static)[a-z][\w *]*?\b(kt_\w+)\((?:[^;{]|\n)*?\)\s*\{", re.MULTILINE)
_GUARD = re.compile(r"^#if KT_ISA == KT_ISA_([A-Z]+)\b(?!.*\|\|)", re.MULTILINE)
_INCLUDE = re.compile(r'^#include "([\w/]+\.h)"', re.MULTILINE)
_WORD = re.compile(r"\bkt_\w+")

# Cores with Helium have the DSP extension too, but the kernels for it are made for those without.
_CORES_WITH = {
    "mve": ("cortex-m52", "cortex-m55", "cortex-m85"),
    "dsp": ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m35p"),
}


@dataclass(frozen=True)
class _Source:
    """A C file of `firmware_stubs/src`.

    Args:
        name: Its name.
        isa: The only instruction set that it has code for; empty where it has for all.
        defines: Functions that other files may call.
        mentions: All names of the library in it.
    """

    name: str
    isa: str
    defines: frozenset[str]
    mentions: frozenset[str]


def instruction_sets(core: str) -> tuple[str, ...]:
    """The instruction sets that kernels for a core may use, the best first."""
    return (*(isa for isa, cores in _CORES_WITH.items() if core in cores), "portable")


def default_isa(core: str) -> str:
    """The best instruction set of a core that there are kernels for."""
    there = {source.isa for source in _sources(firmware_folder())} | {"portable"}
    return next(isa for isa in instruction_sets(core) if isa in there)


def kernel_files(functions: Iterable[str], isa: str, for_host: bool = True) -> tuple[str, ...]:
    """The C files that define `functions` and what these call, sorted.

    Args:
        functions: Kernels that a program calls.
        isa: Its instruction set.
        for_host: Add the portable kernels, which stand in for the others where the self-test runs
            on a host.

    Returns:
        Names within `firmware_stubs/src`.
    """
    isas = ("", "portable", isa) if for_host else ("", isa)
    sources = [one for one in _sources(firmware_folder()) if one.isa in isas]
    wanted, chosen = set(functions), set[str]()
    while True:
        found = [one for one in sources if one.name not in chosen and one.defines & wanted]
        if not found:
            return tuple(sorted(chosen))
        chosen |= {one.name for one in found}
        wanted |= {name for one in found for name in one.mentions}


def included(files: Iterable[str]) -> tuple[str, ...]:
    """The headers that C files include, and those that these do, as paths in `firmware_stubs`.

    Args:
        files: Paths within `firmware_stubs`, such as "src/kt_conv.c".

    Returns:
        "include/..." or "src/...", sorted; a header of neither folder is left out.
    """
    root, found, left = firmware_folder(), set[str](), list(files)
    while left:
        text = (root / left.pop()).read_text(encoding="utf-8")
        for name in _INCLUDE.findall(text):
            for path in (f"src/{name}", f"include/{name}"):
                if path not in found and (root / path).is_file():
                    found.add(path)
                    left.append(path)
    return tuple(sorted(found))


@lru_cache(maxsize=4)
def _sources(folder: Path) -> tuple[_Source, ...]:
    return tuple(_read(path) for path in sorted((folder / "src").glob("*.c")))


def _read(path: Path) -> _Source:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    guard = _GUARD.search(text)
    return _Source(
        path.name,
        guard[1].lower() if guard else "",
        frozenset(_DEFINITION.findall(text)),
        frozenset(_WORD.findall(text)),
    )
