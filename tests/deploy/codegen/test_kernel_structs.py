"""The table of structures is the header's."""

import re
import subprocess
from pathlib import Path

import pytest

from deploy.codegen.kernel_structs import STRUCTS, check_struct, struct_bytes
from deploy.codegen.program import CodegenError, Struct

INCLUDE = Path(__file__).resolve().parents[3] / "firmware_stubs" / "include"
HEADERS = ("kt_kernels.h", "kt_packed.h")


def declared() -> dict[str, list[tuple[str, bool, int, str]]]:
    """(type, pointer, count, name) of every field, by structure, as the headers declare them."""
    text = "".join((INCLUDE / name).read_text() for name in HEADERS)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    found = {}
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", text, re.DOTALL):
        fields = []
        for statement in body.split(";"):
            match = re.match(r"\s*(?:const )?(\w+) (.*)", statement, re.DOTALL)
            for one in match[2].split(",") if match else ():
                field = re.match(r"\s*(\*?)(\w+)(?:\[(\d+)\])?", one)
                base = re.sub(r"(int\d+)_t$", r"\1", match[1])
                fields.append((base, bool(field[1]), int(field[3] or 1), field[2]))
        found[name] = fields
    return found


def test_the_table_is_the_headers():
    table = {
        name: [(k.base, k.is_pointer, k.count, field) for k, fields in rows for field in fields]
        for name, rows in STRUCTS.items()
    }
    assert table == declared()


def test_sizes_are_those_of_a_32_bit_core(tmp_path):
    lines = [f'_Static_assert(sizeof({n}) == {struct_bytes(n)}, "{n}");' for n in STRUCTS]
    source = tmp_path / "sizes.c"
    source.write_text('#include "kt_packed.h"\n' + "\n".join(lines) + "\n")
    subprocess.run(
        ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c11", "-fsyntax-only",
         "-I", INCLUDE, source],
        check=True,
    )  # fmt: skip


def test_what_a_field_cannot_hold_is_refused():
    with pytest.raises(CodegenError, match=r"net, here: `count` must lie in 0\.\.4294967295"):
        check_struct(Struct("kt_maximum_t", {"broadcast": None, "count": 2**32}), "net, here")
    with pytest.raises(CodegenError, match="must have the fields broadcast, count"):
        check_struct(Struct("kt_maximum_t", {"count": 1}), "net, here")
