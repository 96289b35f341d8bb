"""The figures of a firmware: those of `check`, or what was laid out, held against the compiler."""

import re

import pytest
from folder_building import make, run, written

from deploy.board import load_board
from deploy.budget import Check, judge
from deploy.codegen import compile_bundle
from deploy.firmware import firmware
from deploy.firmware_folder.cross_compiler import cross_compiler
from deploy.firmware_folder.figures import MOST_UNPACKING_STACK_BYTES
from deploy.firmware_folder.kernel_code import MOST_BYTES


def test_the_figures_of_plain_c_are_exact(in_c, device_bundle):
    program = compile_bundle(device_bundle, isa="dsp")
    assert [part.size_bytes for part in in_c.verdict.ram.parts] == [program.buffer_bytes, 2048]
    used = in_c.verdict.ram.used_bytes
    assert in_c.verdict.ram.error_percent == (pytest.approx(-100 * 2048 / used), 0)
    constants, parameters, names, code = in_c.verdict.rom.parts
    assert constants.size_bytes == program.stored_bytes
    assert parameters.size_bytes == program.parameter_bytes
    texts = ["digit", "angle", *device_bundle.tasks["digit"].labels]
    assert names.size_bytes >= sum(len(text) + 1 for text in texts) + 2 * 40
    assert in_c.verdict.rom.error_percent[0] == pytest.approx(
        -100 * code.size_bytes / in_c.verdict.rom.used_bytes
    )
    readme = in_c.files["README.md"].decode()
    assert f"| **RAM** | **{used:,}** | 262,144 (the board's main block) | -" in readme
    assert f"| one buffer for all tasks | {program.buffer_bytes:,} |" in readme
    assert (
        f"#define KT_MODEL_BUFFER_BYTES {program.buffer_bytes}"
        in in_c.files["model/kt_model.h"].decode()
    )


def test_code_takes_no_more_than_is_said(in_c, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    flags = f"CFLAGS=-O2 {' '.join(cross_compiler(load_board('nano33ble')).flags)}"
    make(folder, "library", "CC=arm-none-eabi-gcc", flags)
    sizes = run("arm-none-eabi-size", folder / "build" / "libkt_model.a").stdout.splitlines()[1:]
    model = [line for line in sizes if not re.search(r"kt_(bundle|crc32|image|status)", line)]
    told = sum(int(line.split()[0]) for line in model)
    least = sum(part.size_bytes for part in in_c.verdict.rom.parts[:2])
    assert least < told < in_c.verdict.rom.used_bytes


def test_packed_weights_and_the_code_that_unpacks_them_are_counted(few_valued, nano33ble, tmp_path):
    packed = firmware(few_valued, nano33ble)
    plain = firmware(few_valued, nano33ble, pack_weights="never")
    parts = [
        {part.name: part.size_bytes for part in made.verdict.rom.parts} for made in (packed, plain)
    ]
    codes = 300 * 90 + 90 * 10
    assert parts[1]["constants"] - parts[0]["constants"] == codes * 3 // 4 - 4 - 10 * 1 // 2
    assert parts[0]["parameters of kernels"] - parts[1]["parameters of kernels"] == 2 * 32
    files = ("kt_packed_fully_connected.c", "kt_packed_move.c", "kt_unpack_2.c")
    assert parts[0]["code, at most"] - parts[1]["code, at most"] == sum(
        MOST_BYTES[name] for name in files
    )
    assert packed.verdict.rom.used_bytes < plain.verdict.rom.used_bytes
    assert packed.verdict.ram.used_bytes > plain.verdict.ram.used_bytes
    assert packed.verdict.ram.parts[1].size_bytes == 2048 + MOST_UNPACKING_STACK_BYTES
    assert (
        "`--pack-weights never` takes more ROM, and less RAM" in packed.files["README.md"].decode()
    )
    assert "--pack-weights" not in plain.files["README.md"].decode()
    folder = written(packed, tmp_path / "firmware")
    flags = f"CFLAGS=-O2 {' '.join(cross_compiler(nano33ble).flags)}"
    make(folder, "library", "CC=arm-none-eabi-gcc", flags)
    sizes = run("arm-none-eabi-size", folder / "build" / "libkt_model.a").stdout.splitlines()[1:]
    model = [line for line in sizes if not re.search(r"kt_(bundle|crc32|image|status)", line)]
    assert sum(int(line.split()[0]) for line in model) < packed.verdict.rom.used_bytes


def test_the_figures_on_tflm_are_those_of_check(on_tflm, device_bundle, nano33ble):
    expected = judge(device_bundle, Check("nano33ble", nano33ble))
    assert on_tflm.verdict == expected
    readme = on_tflm.files["README.md"].decode()
    for usage in (expected.rom, expected.ram):
        assert f"| **{usage.memory}** | **{usage.used_bytes:,}** |" in readme
    assert "error, as of `keras-tree check`" in readme
