"""The layout of packed images is one in SPEC.md, Python and C; and the C compiles anywhere."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.packed_image.layout import RECORDS

HERE = Path(__file__).parent


def loaded(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = loaded(HERE / "image_fixtures.py")
STUBS = made.STUBS


def tables_of_spec() -> dict[str, tuple[int, list[tuple[int, str, str]]]]:
    """(length, [(offset, kind, name)]) of each record that SPEC.md lays out."""
    text = (STUBS / "SPEC.md").read_text(encoding="utf-8")
    found = {}
    sections = re.split(r"^### .*?`kt_(\w+)_t`, (\d+) bytes.*$", text, flags=re.MULTILINE)
    for name, length, body in zip(sections[1::3], sections[2::3], sections[3::3], strict=True):
        body = body.split("\n#")[0]
        rows = re.findall(r"^\| (\d+) \| ([\w\[\]]+) \| `(\w+)` \|", body, flags=re.MULTILINE)
        found[name] = (int(length), [(int(at), kind, field) for at, kind, field in rows])
    return found


def test_the_specification_states_the_layout_that_python_writes() -> None:
    assert tables_of_spec() == {
        record.name: (
            record.length_bytes,
            [(field.offset, field.kind, field.name) for field in record.fields],
        )
        for record in RECORDS
    }


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_records_have_no_gaps(record) -> None:
    place = 0
    for field in record.fields:
        assert field.offset == place, field.name
        place += field.length_bytes
    assert place == record.length_bytes


@pytest.mark.parametrize("compiler", made.compilers())
def test_c_lays_records_out_as_python_does(compiler: str, tmp_path: Path) -> None:
    lines = ["#include <stdio.h>", '#include "kt_record.h"', "int main(void) {"]
    expected = []
    for record in RECORDS:
        kind = f"kt_{record.name}_t"
        lines.append(f'printf("%u\\n", (unsigned)sizeof({kind}));')
        expected.append(record.length_bytes)
        for field in record.fields:
            lines.append(f'printf("%u %u\\n", (unsigned)offsetof({kind}, {field.name}),')
            lines.append(f"(unsigned)sizeof((({kind} *)0)->{field.name}));")
            expected += [field.offset, field.length_bytes]
    source = tmp_path / "offsets.c"
    source.write_text("\n".join([*lines, "return 0;", "}", ""]))
    program = tmp_path / "offsets"
    subprocess.run(
        [compiler, *made.C99, f"-I{STUBS}/include", "-o", program, source],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert [int(word) for word in made.output_of(program).split()] == expected


def test_the_header_refuses_another_layout(tmp_path: Path) -> None:
    text = (STUBS / "include" / "kt_image.h").read_text()
    (tmp_path / "kt_image.h").write_text(text.replace("uint16_t output;", "uint32_t output;"))
    source = tmp_path / "packed.c"
    source.write_text('#include "kt_image.h"\n')
    command = ["gcc", *made.C99, "-c", "-o", "/dev/null", source]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    assert "kt_pin_kt_image_node_t_" in run.stderr


# It compiles wherever C99 or C++ does.

COMMANDS = {
    **{name: [name, *made.C99] for name in made.compilers()},
    "c++": ["g++", "-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wconversion"],
    "messages left out": ["gcc", *made.C99, "-DKT_NO_MESSAGES"],
    "cortex-m0plus": ["arm-none-eabi-gcc", *made.C99, "-mthumb", "-mcpu=cortex-m0plus", "-Os"],
    "cortex-m4": ["arm-none-eabi-gcc", *made.C99, "-mthumb", "-mcpu=cortex-m4", "-Os"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_compiles_without_warnings(name: str, tmp_path: Path) -> None:
    for source in made.UPDATE:
        command = [*COMMANDS[name], f"-I{STUBS}/include", "-c", "-o", tmp_path / f"{source}.o"]
        run = subprocess.run(
            [*command, STUBS / "src" / f"{source}.c"], capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, run.stderr


def sections(objects: list[Path]) -> dict[str, int]:
    """Bytes by kind (text, data, bss) of compiled files."""
    run = subprocess.run(
        ["arm-none-eabi-size", *objects], check=True, capture_output=True, text=True, timeout=60
    )
    rows = [line.split()[:3] for line in run.stdout.splitlines()[1:]]
    names = ("text", "data", "bss")
    return {name: sum(int(row[i]) for row in rows) for i, name in enumerate(names)}


@pytest.mark.parametrize(("core", "most_bytes"), [("cortex-m0plus", 2_900), ("cortex-m4", 2_500)])
def test_code_is_small_and_has_no_memory_of_its_own(core, most_bytes, tmp_path: Path) -> None:
    objects = []
    for source in ("kt_crc32", "kt_bundle", "kt_bundle_read", "kt_image_check"):
        objects.append(tmp_path / f"{source}.o")
        command = [*COMMANDS[core], f"-I{STUBS}/include", "-c", "-o", objects[-1]]
        subprocess.run([*command, STUBS / "src" / f"{source}.c"], check=True, timeout=60)
    found = sections(objects)
    assert found["text"] <= most_bytes
    assert (found["data"], found["bss"]) == (0, 0)
    names = subprocess.run(
        ["arm-none-eabi-nm", "-u", *objects], check=True, capture_output=True, text=True, timeout=60
    )
    used = {line.split()[1] for line in names.stdout.splitlines() if line.startswith(" ")}
    outside = {name for name in used if not name.startswith("kt_")}
    # Division is the core's library's where the core has none.
    assert outside <= {"memcmp", "memcpy", "memset", "strcmp", "__aeabi_uidiv", "__aeabi_uidivmod"}
