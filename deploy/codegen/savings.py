"""What packing saves in a program, layer by layer.

Belongs here: bytes of a compiled program. Does not belong here: what is made of them
(`packing.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.codegen.compiled import CProgram
from deploy.codegen.kernel_structs import struct_bytes
from deploy.codegen.packing import PACKING, Saving
from deploy.codegen.program import Constant, Field, Struct

__all__ = ["savings"]


def savings(program: CProgram) -> Iterator[Saving]:
    """What each packed layer saves, the code aside; arrays of several layers with the first."""
    sizes = {one.name: one.size_bytes for one in program.constants}
    seen = set[tuple[Field, Field]]()
    # Several calls of a step are the images of a batch: their parameters are the same.
    for call in (step.calls[0] for node in program.nodes.values() for step in node.steps):
        packed = call.arguments[0]
        if call.function not in PACKING or not isinstance(packed, Struct):
            continue
        arrays = packed.fields["indices"], packed.fields["table"]
        stored = sum(sizes[one.name] for one in arrays if isinstance(one, Constant))
        saved = 0 if arrays in seen else _weights(call.function, packed) - stored
        seen.add(arrays)
        yield Saving(call.functions & PACKING, saved - struct_bytes(packed.type))


def _weights(function: str, packed: Struct) -> int:
    """Bytes of a layer's weights as int8."""
    layer = packed.fields["op"]
    fields = layer.fields if isinstance(layer, Struct) else {}
    sizes = {name: one for name, one in fields.items() if isinstance(one, int)}
    if function == "kt_packed_fully_connected":
        return sizes["out_c"] * sizes["in_c"]
    taps = sizes["kernel_h"] * sizes["kernel_w"]
    depth = 1 if "depthwise" in function else sizes["in_c"] // sizes["groups"]
    return sizes["out_c"] * taps * depth
