"""Constant arrays by content: equal ones are stored once, whichever nodes and tasks use them.

Belongs here: identity, names and alignment. Does not belong here: which arrays an operator needs
(`lowering/`), or how they are written (`emit_data.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from deploy.codegen.compiled import StoredConstant
from deploy.codegen.program import Constant

__all__ = ["ConstantStore"]

_SHORT_NAMES = {"int8": "i8", "uint8": "u8", "int32": "i32", "uint16": "u16"}
_NATURAL_ALIGNMENT = {"int8": 1, "uint8": 1, "int32": 4, "uint16": 2}
_DIGITS = 10


@dataclass
class _Entry:
    constant: Constant
    data: bytes
    alignment: int
    users: list[str] = field(default_factory=list)


class ConstantStore:
    """Collects a program's arrays.

    Example:
        >>> store = ConstantStore()
        >>> one = store.add(np.zeros(4, np.int8), "trunk: 0, weights")
        >>> one is store.add(np.zeros(4, np.int8), "digit: 2, weights")
        True
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._names: set[str] = set()

    def add(self, array: np.ndarray, user: str, alignment: int = 1) -> Constant:
        """Store an array, or find the one that is equal to it.

        Args:
            array: int8, uint8, int32 or uint16, of any shape; only the order of its elements
                counts.
            user: "node: operator number, field".
            alignment: Bytes that this use needs beyond the type's own; the largest of all uses
                holds.

        Returns:
            What stands for it in parameters and operands.
        """
        dtype = array.dtype.name
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        digest = hashlib.sha256(dtype.encode() + b";" + data).hexdigest()
        entry = self._entries.get(digest)
        if entry is None:
            constant = Constant(self._name(dtype, digest), dtype)
            entry = _Entry(constant, data, _NATURAL_ALIGNMENT[dtype])
            self._entries[digest] = entry
        entry.alignment = max(entry.alignment, alignment)
        entry.users.append(user)
        return entry.constant

    def stored(self) -> tuple[StoredConstant, ...]:
        """All arrays, in the order of their first use."""
        return tuple(
            StoredConstant(
                entry.constant.name,
                entry.constant.dtype,
                entry.data,
                entry.alignment,
                tuple(entry.users),
            )
            for entry in self._entries.values()
        )

    def _name(self, dtype: str, digest: str) -> str:
        """A name of the content's digest, long enough to be the only one."""
        for digits in range(_DIGITS, len(digest) + 1):
            name = f"kt_{_SHORT_NAMES[dtype]}_{digest[:digits]}"
            if name not in self._names:
                break
        self._names.add(name)
        return name
