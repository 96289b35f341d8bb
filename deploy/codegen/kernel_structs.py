"""The parameter structures of the kernels' headers as data: fields in order, types and sizes.

A structure is written by position, because C99's designators are no C++; a test compares this table
with `kt_kernels.h` and `kt_packed.h`.

Belongs here: layout and ranges. Does not belong here: values (`lowering/`), or C text (`emit.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.codegen.program import CodegenError, Struct

__all__ = ["STRUCTS", "FieldType", "check_struct", "struct_bytes"]

# One structure a block; one line a row of C, which is also how its values are grouped.
_TEXT = """
kt_conv2d_t
    *int8 weights
    *int32 bias
    *int32 multiplier
    *int8 shift
    uint16 in_h in_w in_c
    uint16 out_h out_w out_c
    uint16 kernel_h kernel_w
    uint16 stride_h stride_w
    uint16 dilation_h dilation_w
    uint16 pad_top pad_left
    uint16 groups
    uint8 per_channel
    int8 input_zero_point
    int8 output_zero_point
    int8 lowest highest
kt_fully_connected_t
    *int8 weights
    *int32 bias
    *int32 multiplier
    *int8 shift
    uint32 rows in_c
    uint16 out_c
    uint8 per_channel
    int8 output_zero_point
    int8 lowest highest
kt_pool2d_t
    uint16 in_h in_w channels
    uint16 out_h out_w
    uint16 kernel_h kernel_w
    uint16 stride_h stride_w
    uint16 pad_top pad_left
    int8 lowest highest
kt_reduce_t
    uint32 outer reduced inner
    int32 bias
    int32 multiplier
    int8 shift
    int8 output_zero_point
kt_broadcast_t
    uint32[4] size
    uint32[4] stride_a stride_b
kt_add_t
    *kt_broadcast_t broadcast
    uint32 count
    int32 multiplier_a multiplier_b multiplier_output
    int8 shift_a shift_b shift_output
    int8 zero_point_a zero_point_b output_zero_point
    int8 lowest highest
kt_mul_t
    *kt_broadcast_t broadcast
    uint32 count
    int32 multiplier
    int8 shift
    int8 zero_point_a zero_point_b output_zero_point
    int8 lowest highest
kt_maximum_t
    *kt_broadcast_t broadcast
    uint32 count
kt_prelu_t
    *int8 slope
    uint32 outer inner
    int32 multiplier_positive multiplier_negative
    int8 shift_positive shift_negative
    int8 input_zero_point slope_zero_point output_zero_point
kt_softmax_t
    uint32 rows columns
    int32 multiplier
    int8 shift
    int16 smallest_difference
kt_copy_t
    uint32[4] size
    int32[4] input_stride output_stride
kt_resize_nearest_t
    *uint16 row
    *uint16 column
    uint16 in_w channels
    uint16 out_h out_w
kt_resize_bilinear_t
    int32 scale_h scale_w
    int32 offset_h offset_w
    uint16 in_h in_w channels
    uint16 out_h out_w
kt_packed_conv2d_t
    *kt_conv2d_t op
    *kt_unpack_t unpack
    *uint8 indices
    *int8 table
    uint32 row_bytes
    uint32 weights_at output_at input_at
    uint16 block
    uint16 rows
    uint8 bits
    uint8 stride
kt_packed_fully_connected_t
    *kt_fully_connected_t op
    *kt_unpack_t unpack
    *uint8 indices
    *int8 table
    uint32 row_bytes
    uint32 output_at
    uint16 block
    uint16 rows
    uint8 stride
"""

_BITS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32}
_POINTER_BYTES = 4


@dataclass(frozen=True)
class FieldType:
    """The type of a field.

    Args:
        base: "int8", ..., "uint32", or the structure that it points to.
        is_pointer: Whether it points to constants.
        count: Elements of an array, else 1.
    """

    base: str
    is_pointer: bool
    count: int

    @property
    def element_bytes(self) -> int:
        """Bytes of one element, which is also its alignment, on a 32-bit core."""
        return _POINTER_BYTES if self.is_pointer else _BITS[self.base] // 8

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest number that it holds."""
        bits = _BITS[self.base]
        return (
            (0, 2**bits - 1) if self.base[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )


def _read(text: str) -> dict[str, tuple[tuple[FieldType, tuple[str, ...]], ...]]:
    structs: dict[str, list[tuple[FieldType, tuple[str, ...]]]] = {}
    rows: list[tuple[FieldType, tuple[str, ...]]] = []
    for line in text.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            rows = structs.setdefault(words[0], [])
            continue
        base, _, count = words[0].lstrip("*").partition("[")
        kind = FieldType(base, words[0].startswith("*"), int(count.rstrip("]") or 1))
        rows.append((kind, tuple(words[1:])))
    return {name: tuple(rows) for name, rows in structs.items()}


STRUCTS = _read(_TEXT)
"""Rows of fields of one type, by structure, in the header's order."""


def struct_bytes(name: str) -> int:
    """The size of a structure on a 32-bit core."""
    size, widest = 0, 1
    for kind, fields in STRUCTS[name]:
        step = kind.element_bytes
        size = -(-size // step) * step + step * kind.count * len(fields)
        widest = max(widest, step)
    return -(-size // widest) * widest


def check_struct(struct: Struct, where: str) -> None:
    """Check that a structure's fields are those of the header and hold their values.

    Args:
        struct: What a lowering made.
        where: The node and the operator, for the error.

    Raises:
        CodegenError: A size or a zero point is beyond its field.
    """
    rows = STRUCTS[struct.type]
    names = [name for _, fields in rows for name in fields]
    if sorted(names) != sorted(struct.fields):
        raise CodegenError(
            f"{where}: {struct.type} must have the fields {', '.join(names)}, received "
            f"{', '.join(struct.fields)}. Compare the lowering with kt_kernels.h."
        )
    for kind, fields in rows:
        for name in fields:
            value = struct.fields[name]
            if isinstance(value, Struct):
                check_struct(value, where)
            numbers = value if isinstance(value, tuple) else (value,)
            for number in numbers:
                if isinstance(number, int) and not kind.limits[0] <= number <= kind.limits[1]:
                    raise CodegenError(
                        f"{where}: `{name}` must lie in {kind.limits[0]}..{kind.limits[1]}, "
                        f"received {number}. Use --runtime tflm, or a smaller layer."
                    )
