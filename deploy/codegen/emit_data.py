"""`kt_model_data.h` and `kt_model_data.c`: the constant arrays, each stored once."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from deploy.codegen.compiled import StoredConstant

__all__ = ["data_header", "data_source"]

_LINE = 98
_C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t", "uint16": "uint16_t"}
_MOST_USERS = 6


def data_header(constants: Sequence[StoredConstant]) -> str:
    """Declarations of the arrays, for the two sources of the model alone."""
    lines = [
        "/* Constant arrays of the model, named by their content. Generated: do not edit. */",
        "#ifndef KT_MODEL_DATA_H",
        "#define KT_MODEL_DATA_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        *(f"extern {_declaration(one)};" for one in constants),
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def data_source(constants: Sequence[StoredConstant]) -> str:
    """Definitions of the arrays."""
    stored = sum(one.size_bytes for one in constants)
    saved = sum(one.size_bytes * (len(one.users) - 1) for one in constants)
    lines = [
        f"/* Constant arrays of the model: {stored:,} bytes. Storing equal arrays once saves",
        f" * {saved:,} bytes. Generated: do not edit. */",
        '#include "kt_model.h"',
        '#include "kt_model_data.h"',
    ]
    for one in constants:
        lines += ["", *_users(one), f"{_aligned(one)}{_declaration(one)} = {{", *_rows(one), "};"]
    return "\n".join(lines) + "\n"


def _declaration(one: StoredConstant) -> str:
    count = one.size_bytes // np.dtype(one.dtype).itemsize
    return f"const {_C_TYPES[one.dtype]} {one.name}[{count}]"


def _aligned(one: StoredConstant) -> str:
    natural = np.dtype(one.dtype).itemsize
    return f"KT_ALIGN({one.alignment}) " if one.alignment > natural else ""


def _users(one: StoredConstant) -> list[str]:
    """Who uses the array, as a comment; names of nodes hold nothing that could end it."""
    shown = [user.replace("*/", "* /") for user in one.users[:_MOST_USERS]]
    more = len(one.users) - len(shown)
    text = "; ".join(shown) + (f"; and {more} more" if more else "")
    return textwrap.wrap(f"/* {text} */", _LINE, subsequent_indent=" * ", break_long_words=False)


def _rows(one: StoredConstant) -> list[str]:
    numbers = np.frombuffer(one.data, np.dtype(one.dtype).newbyteorder("<")).tolist()
    # -2147483648 is an operator and a number that no int32 holds.
    texts = ["(-2147483647 - 1)" if n == -(2**31) else str(n) for n in numbers]
    text = ", ".join(texts) + ","
    indent = " " * 4
    return textwrap.wrap(text, _LINE, initial_indent=indent, subsequent_indent=indent)
