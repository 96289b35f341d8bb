"""Weights of few distinct codes as indices of a few bits, and the tables that these name.

Belongs here: which form stores weights in the fewest bytes, its arrays, and what the code that
unpacks them takes. Does not belong here: how much is unpacked at a time (`blocks.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

__all__ = [
    "PACKED_KERNELS",
    "PACKING",
    "PackedWeights",
    "Saving",
    "pack_weights",
    "packed_code_bytes",
    "unpacked",
    "worthwhile",
]

PACKED_KERNELS = {
    "kt_conv2d": "kt_packed_conv2d",
    "kt_conv2d_1x1": "kt_packed_conv2d_1x1",
    "kt_depthwise_conv2d": "kt_packed_depthwise_conv2d",
    "kt_fully_connected": "kt_packed_fully_connected",
}
"""The function of `kt_packed.h` that runs each kernel on packed weights."""

PACKING = frozenset(
    (*PACKED_KERNELS.values(), *(f"kt_unpack_{bits}" for bits in (1, 2, 3, 4, "int4")))
)
"""All functions of `kt_packed.h`."""

_MOST_BITS = 4
_INT4 = (-8, 7)
# What each function adds to an image, in bytes: the most of Cortex-M0+, M4, M33 and M55, GCC -O2.
_CONVOLUTION_BYTES, _MOVING_BYTES = 1088, 96
_CODE_BYTES = {
    "kt_packed_conv2d": 32,
    "kt_packed_conv2d_1x1": 32,
    "kt_packed_depthwise_conv2d": 32,
    "kt_packed_fully_connected": 416,
}
_UNPACK_BYTES = 256
# Parameters of a packed layer beside those of the layer itself.
_PARAMETER_BYTES = 40


@dataclass(frozen=True)
class PackedWeights:
    """Weights as a stream of indices.

    Args:
        unpack: The function of `kt_packed.h` that unpacks them.
        bits: Of an index.
        indices: uint8 (rows * row_bytes,): each row from a byte on, least significant bits first.
        row_bytes: Of a row.
        table: int8 (channels, stride), or (entries,) where one serves all channels; None for int4
            codes, which are their own indices.
    """

    unpack: str
    bits: int
    indices: np.ndarray
    row_bytes: int
    table: np.ndarray | None

    @property
    def stride(self) -> int:
        """Entries from one channel's table to the next; 0 for one table."""
        return 0 if self.table is None or self.table.ndim == 1 else self.table.shape[1]

    @property
    def size_bytes(self) -> int:
        """Indices, tables, and the parameters that packing adds."""
        return self.indices.size + (0 if self.table is None else self.table.size) + _PARAMETER_BYTES


@dataclass(frozen=True)
class Saving:
    """What packing a layer's weights saves, the code aside.

    Args:
        functions: Of `kt_packed.h`: what runs the layer, and what unpacks its weights.
        saved_bytes: Constants and parameters that it takes less.
    """

    functions: frozenset[str]
    saved_bytes: int


def pack_weights(
    weights: np.ndarray, channel_axis: int, functions: frozenset[str] = PACKING
) -> PackedWeights | None:
    """Store weights in the form that takes the fewest bytes.

    Args:
        weights: int8 (rows, columns): (channels, filter), or (taps, channels) of a depthwise layer.
        channel_axis: 0 or 1: where the output channels are.
        functions: Those that may unpack them.

    Returns:
        The packed weights, or None where plain int8 is as small.
    """
    forms = [
        form
        for form in (
            _straight(weights),
            _one_table(weights),
            _tables(weights, channel_axis),
        )
        if form is not None and form.unpack in functions
    ]
    # Of equal forms the first, which is the fastest to unpack.
    best = min(forms, key=lambda form: form.size_bytes, default=None)
    return best if best is not None and best.size_bytes < weights.size else None


def packed_code_bytes(functions: Iterable[str]) -> int:
    """A bound on the code that packing adds to a program, in bytes.

    Args:
        functions: Every function that the program calls or points to.
    """
    called = set(functions)
    own = sum(_CODE_BYTES[name] for name in called & set(_CODE_BYTES))
    unpacking = sum(_UNPACK_BYTES for name in called if name.startswith("kt_unpack_"))
    if called & (set(_CODE_BYTES) - {"kt_packed_fully_connected"}):
        return own + unpacking + _CONVOLUTION_BYTES
    return own + unpacking + (_MOVING_BYTES if own else 0)


def worthwhile(layers: Iterable[Saving]) -> frozenset[str]:
    """The functions of `kt_packed.h` that together save the most, their own code counted.

    Args:
        layers: Every layer that may be packed.

    Returns:
        The functions that layers may use; none where packing saves nothing.
    """
    layers = list(layers)
    names = sorted(frozenset().union(*(layer.functions for layer in layers)))
    best, most_bytes = frozenset[str](), 0
    for count in range(1, len(names) + 1):
        for chosen in map(frozenset, combinations(names, count)):
            saved = sum(one.saved_bytes for one in layers if one.functions <= chosen)
            if saved - packed_code_bytes(chosen) > most_bytes:
                best, most_bytes = chosen, saved - packed_code_bytes(chosen)
    return best


def unpacked(packed: PackedWeights, columns: int, channel_axis: int) -> np.ndarray:
    """The codes again: int8 (rows, columns), by arithmetic of its own; the inverse of packing."""
    rows = packed.indices.reshape(-1, packed.row_bytes)
    bits = np.unpackbits(rows, axis=1, bitorder="little")[:, : columns * packed.bits]
    weights = 1 << np.arange(packed.bits)
    indices = (bits.reshape(len(rows), columns, packed.bits) * weights).sum(2)
    if packed.table is None:
        order = np.argsort(_int4_order(columns))
        return (indices[:, order] + _INT4[0]).astype(np.int8)
    if packed.table.ndim == 1:
        return packed.table[indices]
    channels = np.arange(len(packed.table))
    return packed.table[channels[:, None] if channel_axis == 0 else channels[None, :], indices]


def _straight(weights: np.ndarray) -> PackedWeights | None:
    """Codes of int4, which need no table."""
    if not weights.size or weights.min() < _INT4[0] or weights.max() > _INT4[1]:
        return None
    ordered = weights[:, _int4_order(weights.shape[1])]
    indices, row_bytes = _stream(ordered.astype(np.int64) - _INT4[0], 4)
    return PackedWeights("kt_unpack_int4", 4, indices, row_bytes, None)


def _int4_order(columns: int) -> np.ndarray:
    """Which code stands where in a row: four bytes hold eight, the last four in their high halves.

    So eight codes are unpacked as two words. What is left at the end stands in order.
    """
    whole = columns // 8 * 8
    eights = np.arange(whole).reshape(-1, 2, 4).transpose(0, 2, 1)
    return np.append(eights.ravel(), np.arange(whole, columns))


def _one_table(weights: np.ndarray) -> PackedWeights | None:
    codes, indices = np.unique(weights, return_inverse=True)
    if len(codes) > 1 << _MOST_BITS:
        return None
    return _indexed(indices.reshape(weights.shape), codes)


def _tables(weights: np.ndarray, channel_axis: int) -> PackedWeights | None:
    """A table for each output channel, all as long as the longest."""
    channels = weights if channel_axis == 0 else weights.T
    found = [np.unique(channel, return_inverse=True) for channel in channels]
    stride = max((len(codes) for codes, _ in found), default=0)
    if not 0 < stride <= 1 << _MOST_BITS:
        return None
    table = np.zeros((len(channels), stride), np.int8)
    for row, (codes, _) in zip(table, found, strict=True):
        row[: len(codes)] = codes
    indices = np.array([inverse.ravel() for _, inverse in found])
    return _indexed(indices if channel_axis == 0 else indices.T, table)


def _indexed(indices: np.ndarray, table: np.ndarray) -> PackedWeights:
    bits = max(1, (table.shape[-1] - 1).bit_length())
    stream, row_bytes = _stream(indices, bits)
    return PackedWeights(f"kt_unpack_{bits}", bits, stream, row_bytes, table)


def _stream(indices: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Rows of indices as bytes, and the bytes of a row."""
    spread = indices.astype(np.uint8)[:, :, None] >> np.arange(bits, dtype=np.uint8) & 1
    rows = np.packbits(spread.reshape(len(indices), -1), axis=1, bitorder="little")
    return np.ascontiguousarray(rows).ravel(), rows.shape[1]
