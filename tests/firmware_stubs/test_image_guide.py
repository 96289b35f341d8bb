"""The sources in docs/image.md compile, and its figures are those of the compiler."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "firmware_stubs"
GUIDE = (ROOT / "docs" / "image.md").read_text(encoding="utf-8")
SOURCES = re.findall(r"^```c\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
CORES = {"cortex-m0plus": 0, "cortex-m4": 1}


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_a_source_of_the_guide_compiles(number: int, tmp_path: Path) -> None:
    source = tmp_path / "guide.c"
    source.write_text(SOURCES[number])
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{STUBS}/include", "-c"]
    for compiler in (["gcc", "-m64"], ["arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m4"]):
        # An address of flash is a number of 32 bits: on a 64-bit host a cast widens it.
        host = ["-Wno-int-to-pointer-cast"] if compiler[0] == "gcc" else []
        command = [*compiler, *flags, *host, "-o", tmp_path / "guide.o", source]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr


def test_the_guide_has_sources() -> None:
    assert len(SOURCES) == 3


def test_an_image_is_linked_in_by_the_assembler(tmp_path: Path) -> None:
    (assembler,) = re.findall(r"^```asm\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "image.S").write_text(assembler)
    image = bytes(range(256)) * 3
    (tmp_path / "image.bin").write_bytes(image)
    main = """
    #include <stdint.h>
    #include <stdio.h>
    extern const uint8_t kt_image[], kt_image_end[];
    int main(void) {
        fwrite(kt_image, 1, (size_t)(kt_image_end - kt_image), stdout);
        return (int)((uintptr_t)kt_image % 16);
    }
    """
    (tmp_path / "main.c").write_text(main)
    program = tmp_path / "program"
    command = ["gcc", "-z", "noexecstack", "-o", program, "main.c", "image.S"]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=60)
    run = subprocess.run([program], capture_output=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, image)


def code_bytes(core: str, names: tuple[str, ...], folder: Path) -> int:
    flags = ["-std=c99", "-mthumb", f"-mcpu={core}", "-Os", f"-I{STUBS}/include", "-c"]
    total = 0
    for name in names:
        target = folder / f"{name}.o"
        command = ["arm-none-eabi-gcc", *flags, "-o", target, STUBS / "src" / f"{name}.c"]
        subprocess.run(command, check=True, timeout=60)
        run = subprocess.run(
            ["arm-none-eabi-size", target], check=True, capture_output=True, text=True, timeout=60
        )
        total += int(run.stdout.splitlines()[1].split()[0])
    return total


FIGURES = {
    "loader, bytes of code at `-Os`": (
        "kt_bundle",
        "kt_bundle_read",
        "kt_image_check",
        "kt_crc32",
    ),
    "`kt_update.c` and `kt_slot.c`": ("kt_update", "kt_slot"),
    "`kt_sha256.c`, only with signatures and no hash of your own": ("kt_sha256",),
    "`kt_status.c`, only with messages": ("kt_status",),
}


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("row", FIGURES)
def test_figures_are_those_of_the_compiler(row: str, core: str, tmp_path: Path) -> None:
    """Within 3 %: another release of the compiler may differ by some instructions."""
    (cells,) = re.findall(rf"^\| {re.escape(row)} \| (.*) \|$", GUIDE, flags=re.MULTILINE)
    stated = int(cells.split(" | ")[CORES[core]].replace(",", ""))
    assert code_bytes(core, FIGURES[row], tmp_path) == pytest.approx(stated, rel=0.03)
