"""Sizes of the structures that TensorFlow Lite Micro keeps in its arena, on 32-bit cores.

The numbers are data (`struct_sizes.json`, whose provenance stands in it), measured with the
compiler for two ways of storing an enum. Which structures a node needs is in `operator_memory.py`
and `arena.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_TABLE = Path(__file__).with_name("struct_sizes.json")


@dataclass(frozen=True)
class Struct:
    """Size and alignment of one structure, in bytes."""

    size_bytes: int
    alignment_bytes: int


@lru_cache(maxsize=2)
def struct_sizes(short_enums: bool) -> Mapping[str, Struct]:
    """Return the structures by name.

    Args:
        short_enums: Whether the compiler stores an enum in the fewest bytes, as for bare Arm
            targets; otherwise in four.
    """
    raw = json.loads(_TABLE.read_text(encoding="utf-8"))
    key = "short_enums" if short_enums else "plain_enums"
    return {name: Struct(*size) for name, size in raw[key].items()}
