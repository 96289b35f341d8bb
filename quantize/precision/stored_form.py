"""Bring a node into its precision while it is converted.

Belongs here: which edit of which step each precision is. Does not belong here: the edits
themselves, each in a file of its own, or the order of the conversion (`conversion/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from quantize.conversion.freezing import FrozenNode
from quantize.conversion.pinning import node_specs
from quantize.conversion.refusal import check_wide
from quantize.interpreter import tflm_version
from quantize.precision.choice import LUT_BITS, PrecisionError
from quantize.precision.int4 import with_int4_weights
from quantize.precision.lookup_tables import with_lookup_tables
from quantize.precision.wide_activations import prepared, with_int8_ends

_PROVING_SAMPLES = 16


class Quantizer(Protocol):
    """The converter's second step, in both widths (`convert.Converter`)."""

    def quantize(self, node: FrozenNode, calibrated: bytes) -> bytes:
        """Return the int8 flatbuffer of a calibrated one."""

    def quantize_wide(self, node: FrozenNode, calibrated: bytes) -> bytes:
        """Return the flatbuffer of int16 activations of a calibrated one."""


def check_installed(precisions: Iterable[str]) -> None:
    """Raise where lookup tables are wanted and their compressor is not installed.

    Raises:
        PrecisionError: It says on which systems it is.
    """
    wanted = [precision for precision in precisions if precision in LUT_BITS]
    if wanted and tflm_version() is None:
        raise PrecisionError(
            f"`precision` '{wanted[0]}' must have the compressor of tflite_micro; it is not "
            "installed. Quantize on Linux on x86-64 with CPython 3.10 to 3.13, where it comes with "
            "keras-tree (the bundle then runs on every device), or take 'int8', 'int4' or '16x8'."
        )


def quantize_step(
    quantizer: Quantizer, node: FrozenNode, precision: str
) -> Callable[[bytes], bytes]:
    """Return the step from a calibrated flatbuffer to one with int8 ends.

    Whatever the precision, the ends get the scales and zero points that they get in int8.

    Args:
        quantizer: The converter.
        node: The node.
        precision: Its precision; lookup tables come later, with `with_tables`.
    """

    def int4(calibrated: bytes) -> bytes:
        return with_int4_weights(quantizer.quantize(node, calibrated), calibrated)

    def wide(calibrated: bytes) -> bytes:
        check_wide(node, calibrated)
        source, target = node_specs(quantizer.quantize(node, calibrated))
        data = quantizer.quantize_wide(node, prepared(calibrated))
        return with_int8_ends(data, source, target)

    def int8(calibrated: bytes) -> bytes:
        return quantizer.quantize(node, calibrated)

    return {"int4": int4, "16x8": wide}.get(precision, int8)


def with_tables(data: bytes, bits: int, features: np.ndarray) -> bytes:
    """Store a node's weights as lookup tables, compared with its plain ones on real features.

    Args:
        data: The node's int8 flatbuffer, its seams exact.
        bits: Bits per index.
        features: float32 (n, *input shape without batch): what the node is calibrated on.

    Raises:
        PrecisionError: The compressed flatbuffer computes something else.
    """
    places = np.linspace(0, len(features) - 1, min(len(features), _PROVING_SAMPLES)).astype(int)
    codes = node_specs(data)[0].quantize(features[places])
    return with_lookup_tables(data, bits, codes)
