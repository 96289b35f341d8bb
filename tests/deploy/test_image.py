"""Linked images: sizes as the tools of GNU state them, and files that mean harm."""

import random
import re
import shutil
import struct
import subprocess
import time
import tracemalloc
from pathlib import Path

import pytest

from deploy.board import CORES
from deploy.footprint.image import Image, ImageError, read_image, refuse_other_machine

SCRIPT = """
MEMORY { FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 256K
         RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 64K }
ENTRY(start)
SECTIONS {
  .isr_vector : { KEEP(*(.isr_vector)) } > FLASH
  .text : { *(.text*) } > FLASH
  .rodata : { *(.rodata*) } > FLASH
  .ARM.exidx : { *(.ARM.exidx*) } > FLASH
  .init_array : { KEEP(*(.init_array*)) } > FLASH
  .ramcode : { *(.ramcode*) } > RAM AT > FLASH
  .data : { *(.data*) } > RAM AT > FLASH
  .bss (NOLOAD) : { *(.bss*) *(COMMON) } > RAM
  .noinit (NOLOAD) : { *(.noinit*) } > RAM
  .stack (NOLOAD) : { . = . + 0x400; } > RAM
  .heap : { . = . + 0x200; } > RAM
}
"""
SOURCE = """
#define IN(name) __attribute__((section(name), used))
const int table[100] = {1, 2, 3};
int counters[10] = {1, 2, 3};
static int zeros[50];
IN(".noinit") int arena[64];
IN(".isr_vector") const int vectors[4] = {1};
__attribute__((constructor)) void made(void) { zeros[1] = 4; }
IN(".ramcode") __attribute__((noinline, long_call)) int fast(int a) { return a * counters[a & 7]; }
int start(int a) { zeros[a & 7] = fast(a); return table[a] + zeros[3] + arena[2]; }
void __aeabi_unwind_cpp_pr0(void) {}
void __aeabi_unwind_cpp_pr1(void) {}
"""
ARM = ("arm-none-eabi-gcc", "-mthumb", "-Os", "-funwind-tables", "-nostdlib")


def tool(name: str) -> str:
    """A program of a compiler; in the gate, where all of them are installed, a skip fails."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def run(*command: object) -> str:
    return subprocess.run(
        [tool(str(command[0])), *map(str, command[1:])], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firmware")
    (folder / "firmware.ld").write_text(SCRIPT)
    (folder / "firmware.c").write_text(SOURCE)
    (folder / "host.c").write_text("int x = 3; int zeros[99]; int main(void) { return x; }\n")
    return folder


def linked(sources: Path, name: str, *options: str) -> Path:
    image = sources / name
    run(*ARM, *options, "-T", sources / "firmware.ld", sources / "firmware.c", "-o", image)
    return image


@pytest.fixture(scope="session")
def firmware(sources: Path) -> Path:
    """For a Cortex-M4, with debug information."""
    return linked(sources, "m4.elf", "-mcpu=cortex-m4", "-g")


def listed(image: Path, prefix: str) -> dict[str, int]:
    """Sections as `size -A` lists them, without those that are not in memory."""
    found = re.findall(r"^(\.\S+) +(\d+) +\d+$", run(f"{prefix}size", "-A", image), re.M)
    outside = (".comment", ".ARM.attributes", ".debug", ".gnu.build.attributes")
    return {name: int(size) for name, size in found if not name.startswith(outside) and int(size)}


def totals(image: Path, prefix: str) -> tuple[int, int, int]:
    """text, data and bss as `size` sums them."""
    text, data, bss = run(f"{prefix}size", image).splitlines()[1].split()[:3]
    return int(text), int(data), int(bss)


def test_a_firmware_section_by_section(firmware: Path) -> None:
    found = read_image(firmware)
    sections = listed(firmware, "arm-none-eabi-")
    in_ram = (".ramcode", ".data", ".bss", ".noinit", ".stack", ".heap")
    without_contents = in_ram[2:]
    assert found.ram_sections == {name: sections[name] for name in in_ram}
    assert found.rom_sections == {
        name: size for name, size in sections.items() if name not in without_contents
    }
    assert {".isr_vector", ".text", ".rodata", ".ARM.exidx", ".init_array"} <= set(
        found.rom_sections
    )
    assert (sections[".stack"], sections[".heap"], sections[".noinit"]) == (1024, 512, 256)


@pytest.mark.parametrize(
    "options",
    [("-mcpu=cortex-m0plus",), ("-mcpu=cortex-m55",), ("-mcpu=cortex-m4", "-mbig-endian")],
    ids=["m0plus", "m55", "big-endian"],
)
def test_the_sums_are_those_of_size_and_of_the_binary(sources: Path, options: tuple) -> None:
    image = linked(sources, "other.elf", *options)
    found = read_image(image)
    text, data, bss = totals(image, "arm-none-eabi-")
    assert sum(found.rom_sections.values()) == text + data
    # `size` takes the constructors' addresses for data, and code in RAM for text.
    constructors, ram_code = found.rom_sections[".init_array"], found.rom_sections[".ramcode"]
    assert sum(found.ram_sections.values()) == data + bss - constructors + ram_code
    binary = image.with_suffix(".bin")
    run("arm-none-eabi-objcopy", "-O", "binary", image, binary)
    padding = binary.stat().st_size - text - data
    assert 0 <= padding < 16


def test_debug_information_and_symbols_count_for_nothing(sources: Path, firmware: Path) -> None:
    plain = sources / "stripped.elf"
    run("arm-none-eabi-strip", "-o", plain, firmware)
    assert plain.stat().st_size < firmware.stat().st_size
    assert read_image(plain) == read_image(firmware)


@pytest.mark.parametrize("options", [(), ("-no-pie", "-static-libgcc"), ("-shared", "-fPIC")])
def test_a_program_of_this_machine(sources: Path, options: tuple[str, ...]) -> None:
    image = sources / "host.elf"
    run("gcc", *options, sources / "host.c", "-o", image)
    found = read_image(image)
    text, data, bss = totals(image, "")
    assert sum(found.rom_sections.values()) == text + data
    assert sum(found.ram_sections.values()) == data + bss
    assert found.ram_sections[".bss"] >= 99 * 4


def written(folder: Path, data: bytes, name: str = "image.elf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "received 0 bytes: it does not begin like one"),
        (b"hello", "it does not begin like one. Give the .elf, .axf or .out file"),
        (b"\x7fEL", "it does not begin like one"),
        (b"\x7fELF", "its first 16 bytes"),
        (b"\x7fELF\x03\x01\x01" + bytes(80), "its first 16 bytes"),
        (b"\x7fELF\x01\x03\x01" + bytes(80), "its first 16 bytes"),
        (b"\x7fELF\x01\x01\x01" + bytes(9), "cut short"),
        (b"\x7fELF\x01\x01\x01" + bytes(80), "it is of the unknown version 0"),
        (b":100000000", "it is an Intel HEX file"),
        (b"S00600004844521B\n", "it is a Motorola S-record file"),
        (b"UF2\nWQ]\x9e", "it is a UF2 file"),
        (b"!<arch>\n", "it is a library of object files"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(ImageError, match=re.escape(said)) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_an_object_file_is_refused(sources: Path) -> None:
    run(*ARM, "-mcpu=cortex-m4", "-c", sources / "firmware.c", "-o", sources / "firmware.o")
    with pytest.raises(ImageError, match=r"an object file that is not linked yet\. Give the \.elf"):
        read_image(sources / "firmware.o")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"No such file or directory\. Check the path"):
        read_image(tmp_path / "gone.elf")
    with pytest.raises(ImageError, match="this is no file"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="this is no file"):
        read_image(Path("/dev/zero"))


# A hand-made image, so that every byte of it is known and no compiler is needed.
NAMES = b"\0.text\0.data\0.bss\0.names\0"


def by_hand(order: str = "<", bits: int = 32, **changes: int) -> bytes:
    """Flash of 16 bytes at 0x1000, data of 8 copied to 0x9000, 32 zeroed bytes behind them."""
    wide = "Q" if bits == 64 else "I"
    header_size, section_size = (64, 64) if bits == 64 else (52, 40)
    contents = bytes(range(24)) + NAMES
    start = header_size + 2 * (56 if bits == 64 else 32)
    rows = (  # name, type, flags, address, offset, size
        (0, 0, 0, 0, 0, 0),
        (1, 1, 6, 0x1000, start, 16),
        (7, 1, 3, 0x9000, start + 16, 8),
        (13, 8, 3, 0x9008, start + 24, changes.get("bss", 32)),
        (18, 3, 0, 0, start + 24, len(NAMES)),
    )
    sections = b"".join(struct.pack(f"{order}II4{wide}II2{wide}", *row, 0, 0, 4, 0) for row in rows)
    pieces = ((start, 0x1000, 0x1000, 16), (start + 16, 0x9000, 0x1010, 8))
    if bits == 64:
        loads = [struct.pack(f"{order}II6Q", 1, 7, *piece, piece[3], 4) for piece in pieces]
    else:
        loads = [struct.pack(f"{order}8I", 1, *piece, piece[3], 7, 4) for piece in pieces]
    header = struct.pack(
        f"{order}HHI3{wide}I6H", changes.get("kind", 2), changes.get("machine", 40), 1, 0x1000,
        header_size, changes.get("section_offset", start + len(contents)), 0, header_size,
        len(loads[0]), 2, changes.get("section_size", section_size), changes.get("count", 5),
        changes.get("names", 4),
    )  # fmt: skip
    start_bytes = struct.pack("4s3B9x", b"\x7fELF", bits // 32, 1 if order == "<" else 2, 1)
    return start_bytes + header + b"".join(loads) + contents + sections


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [32, 64])
def test_both_sizes_and_orders_of_words(tmp_path: Path, order: str, bits: int) -> None:
    assert read_image(written(tmp_path, by_hand(order, bits))) == Image(
        {".text": 16, ".data": 8}, {".data": 8, ".bss": 32}, 40
    )


@pytest.mark.parametrize(
    ("machine", "core", "received"),
    [
        (40, "cortex-m4", None),
        (94, "xtensa-lx7", None),
        (243, "rv32imc", None),
        (62, "cortex-m4", r"for cortex-m4 \(Arm\) is expected, received one for machine 62"),
        (40, "rv32imac", r"for rv32imac \(RISC-V\) is expected, received one for Arm"),
    ],
)
def test_an_image_is_for_the_core_of_its_board(
    tmp_path: Path, machine: int, core: str, received: str | None
) -> None:
    path = written(tmp_path, by_hand(machine=machine))
    if received is None:
        refuse_other_machine(read_image(path), path, core)
    else:
        with pytest.raises(ImageError, match=received):
            refuse_other_machine(read_image(path), path, core)


def test_every_core_has_a_machine() -> None:
    machines = (40, 94, 243)
    for core in CORES:
        fitting = [one for one in machines if is_accepted(Image({}, {}, one), core)]
        assert len(fitting) == 1


def is_accepted(image: Image, core: str) -> bool:
    try:
        refuse_other_machine(image, Path("firmware.elf"), core)
    except ImageError:
        return False
    return True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": 1}, "not linked yet"),
        ({"kind": 4}, "a memory dump"),
        ({"kind": 9}, "of the unknown type 9"),
        ({"section_offset": 0}, "its section headers were removed"),
        ({"section_offset": 0xFFFFFFFF}, "it ends before its headers do; it was cut short"),
        ({"count": 0xFEFF}, "it was cut short"),
        ({"count": 0xFF01}, "65,281 headers of 40 bytes are no table of a firmware"),
        ({"section_size": 39}, "5 headers of 39 bytes"),
        ({"section_size": 0}, "5 headers of 0 bytes"),
        ({"section_size": 0xFFFF}, "5 headers of 65535 bytes"),
        ({"bss": 0xFFFFFFFF}, "a section ends beyond the last address"),
        ({"count": 1}, "sections to program into flash are expected"),
    ],
)
def test_impossible_headers_are_refused(tmp_path: Path, changes: dict, said: str) -> None:
    with pytest.raises(ImageError, match=re.escape(said)):
        read_image(written(tmp_path, by_hand(**changes)))


@pytest.mark.parametrize("names", [0, 2, 3, 99, 0xFFFF])
def test_without_a_table_of_names_sections_are_counted(tmp_path: Path, names: int) -> None:
    found = read_image(written(tmp_path, by_hand(names=names)))
    assert sum(found.rom_sections.values()) == 24
    assert sum(found.ram_sections.values()) == 40
    assert all(name.isprintable() and name for name in found.rom_sections)


def test_an_image_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = by_hand()
    for length in range(len(whole)):
        with pytest.raises(ImageError):
            read_image(written(tmp_path, whole[:length]))


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Bits flipped, words set to extremes, or pieces copied over others, mostly in the headers."""
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        is_near = chance.random() < 0.7
        at = chance.randrange(min(len(spoilt), 160) if is_near else len(spoilt))
        kind = chance.randrange(3)
        if kind == 0:
            spoilt[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            word = chance.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, at, len(data)])
            spoilt[at : at + 4] = struct.pack(chance.choice("<>") + "I", word)
        else:
            source = chance.randrange(len(spoilt))
            spoilt[at : at + 8] = spoilt[source : source + 8]
    return bytes(spoilt[: chance.randint(1, len(spoilt))] if chance.random() < 0.1 else spoilt)


@pytest.mark.parametrize(("order", "bits"), [("<", 32), (">", 32), ("<", 64)])
def test_a_spoilt_image_never_crashes_hangs_or_fills_the_memory(
    tmp_path: Path, order: str, bits: int
) -> None:
    chance, whole = random.Random(bits), by_hand(order, bits)
    refused, started = 0, time.process_time()
    tracemalloc.start()
    try:
        for _ in range(700):
            try:
                found = read_image(written(tmp_path, mutated(whole, chance)))
            except ImageError:
                refused += 1
                continue
            sizes = [*found.rom_sections.values(), *found.ram_sections.values()]
            assert all(0 < size < 2**64 for size in sizes)
            assert all(map(str.isprintable, (*found.rom_sections, *found.ram_sections)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0 < refused < 700
    assert peak < 1_000_000
    assert time.process_time() - started < 20


def test_a_file_of_nothing_but_headers_is_read_in_time(tmp_path: Path) -> None:
    """As many sections as there may be, all of them the whole file."""
    whole = by_hand()
    row = whole[-5 * 40 :][40:80]
    many = by_hand(count=0xFF00 - 1)
    path = written(tmp_path, many + row * (0xFF00 - 6))
    started = time.process_time()
    assert sum(read_image(path).rom_sections.values()) == 24 + 16 * (0xFF00 - 6)
    assert time.process_time() - started < 10
