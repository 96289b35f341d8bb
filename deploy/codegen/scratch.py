"""Scratch memory of the kernels, in bytes, by instruction set: the one place that states it.

Belongs here: how many bytes a kernel's `scratch` argument must point to. Does not belong here:
where they lie (`plan.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["ISAS", "scratch_bytes"]

ISAS = ("portable", "dsp", "mve")
"""The instruction sets that kernels are written for; `KT_ISA_...` in `kt_kernels.h`."""

Sizes = Mapping[str, int]


def _dsp_columns(sizes: Sizes) -> int:
    """Four widened columns, and one more of codes (kt_conv_dsp.c)."""
    depth = sizes["in_c"] // sizes["groups"]
    quads = -(-sizes["kernel_h"] * sizes["kernel_w"] * depth // 4)
    return _beyond_stack(32 * quads + (4 * quads if depth % 4 else 0))


def _dsp_strip(sizes: Sizes) -> int:
    """Pairs of weights, in one set or two, and of a strip of the input (kt_depthwise_dsp.c)."""
    width = min(8, sizes["out_w"]) if sizes["dilation_w"] == 1 else 1
    columns = (width - 1) * sizes["stride_w"] + sizes["kernel_w"]
    is_double = sizes["stride_h"] == sizes["dilation_h"] == 1 and sizes["kernel_h"] % 2 == 1
    weights = (1 + is_double) * sizes["kernel_w"]
    return _beyond_stack(16 * -(-sizes["kernel_h"] // 2) * (weights + columns))


def _beyond_stack(size: int) -> int:
    """0 where the kernel takes it from the stack (KT_STACK_WORDS in kt_dsp.h)."""
    return size if size > 1152 else 0


def _mve_windows(sizes: Sizes) -> int:
    """What four output positions see (kt_conv_mve.c)."""
    return 4 * sizes["kernel_h"] * sizes["kernel_w"] * (sizes["in_c"] // sizes["groups"])


def _mve_spread_windows(sizes: Sizes) -> int:
    """The same with a code for each output channel (kt_depthwise_mve.c)."""
    return 4 * sizes["kernel_h"] * sizes["kernel_w"] * sizes["out_c"]


# By instruction set and kernel; what is missing asks for none.
_FORMULAS: dict[str, dict[str, Callable[[Sizes], int]]] = {
    "portable": {},
    "dsp": {
        "kt_conv2d": _dsp_columns,
        "kt_conv2d_1x1": lambda sizes: _beyond_stack(32 * -(-sizes["in_c"] // 4)),
        "kt_depthwise_conv2d": _dsp_strip,
    },
    "mve": {"kt_conv2d": _mve_windows, "kt_depthwise_conv2d": _mve_spread_windows},
}


def scratch_bytes(function: str, sizes: Sizes, isa: str) -> int:
    """The scratch memory of one call.

    Args:
        function: The kernel, e.g. "kt_conv2d".
        sizes: The numbers among the fields of its parameter structure.
        isa: One of `ISAS`.

    Returns:
        Bytes; 0 where the kernel takes a null pointer.
    """
    formula = _FORMULAS[isa].get(function)
    return 0 if formula is None else formula(sizes)
