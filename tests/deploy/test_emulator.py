"""Firmware that is really built, and runs on emulated cores: figures, counts, verdicts, errors."""

import dataclasses
import importlib.util
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from deploy.codegen.compiled import CProgram, TaskProgram
from deploy.emulation.build import build_image
from deploy.emulation.elf_sections import CodeRange, read_linked_image
from deploy.emulation.machine_code import addresses_after_stack_moves, instruction_count
from deploy.emulation.measurement import MeasurementError
from deploy.emulation.selftest_data import selftest_data
from deploy.emulation.toolchain import find_toolchain
from deploy.emulator import (
    TARGETS,
    EmulationError,
    GoldenMismatchError,
    ToolchainError,
    boot,
    build_bundle,
    check_emulator,
    check_measurement,
    measure,
    measure_build,
    measurement_text,
    opened_core,
    read_measurement,
)
from deploy.firmware_folder.figures import MOST_STACK_BYTES
from deploy.firmware_sources import firmware_file

ON_UNICORN = [core for core, target in TARGETS.items() if target.unicorn]
ON_QEMU = [core for core, target in TARGETS.items() if target.machine]


@pytest.fixture(scope="module")
def built(device_bundle, tmp_path_factory):
    """The small bundle's image for a core, built once."""
    return cache(
        lambda core: build_bundle(device_bundle, core, tmp_path_factory.mktemp(f"build-{core}"))
    )


@pytest.fixture(scope="module")
def measured(built, device_bundle):
    return cache(lambda core, emulator=None: measure_build(device_bundle, built(core), emulator))


@pytest.mark.parametrize("core", TARGETS)
def test_every_core_gives_the_golden_outputs_and_figures_that_sum(core, measured, device_bundle):
    found = measured(core)
    assert set(found.tasks) == {"digit", "angle"}
    assert found.rom_bytes == sum(found.rom_sections.values())
    assert found.rom_bytes == sum(part.size_bytes for part in found.rom_parts)
    assert found.rom_bytes == sum(found.rom_by_kind().values())
    assert found.rom_bytes == sum(found.rom_by_node().values())
    assert found.rom_by_kind()["constant"] > 1_000
    assert found.rom_by_kind().get("padding", 0) < 100
    assert found.static_ram_bytes == found.buffer_bytes >= 640  # 8 x 8 x 8 + 4 x 4 x 8
    assert found.other_ram_bytes == 0
    assert found.stack_bytes <= MOST_STACK_BYTES[found.isa]
    for name, task in found.tasks.items():
        assert task.vectors == len(device_bundle.tasks[name].golden_inputs)
        assert task.least_instructions <= task.instructions <= task.most_instructions
        between = task.instructions - sum(one.instructions for one in task.operators)
        assert 0 < between < 200
        assert 0 < task.stack_bytes <= found.stack_bytes < 4_096
        assert task.stack_bytes % 4 == 0
    operators = [(one.node, one.operator) for one in found.tasks["digit"].operators]
    assert operators == [
        ("trunk", "CONV_2D"), ("trunk", "DEPTHWISE_CONV_2D"),
        ("digit", "FULLY_CONNECTED"), ("digit", "SOFTMAX"),
    ]  # fmt: skip


@pytest.mark.parametrize("core", ON_QEMU)
def test_the_image_boots_from_its_reset_vector_and_passes(core, built):
    found = boot(built(core).image, built(core).target)
    assert found.text.splitlines()[-1] == "PASS"
    assert "golden digit: 3 of 3 vectors equal" in found.text
    assert found.passed


@pytest.mark.parametrize("core", ON_UNICORN)
def test_the_self_test_passes_on_unicorn_too(core, built):
    with opened_core(built(core), read_linked_image(built(core).image), "unicorn") as running:
        found = running.selftest()
    assert (found.text.splitlines()[-1], found.exit_code) == ("PASS", 0)


@pytest.mark.parametrize("core", [core for core in ON_QEMU if core in ON_UNICORN])
def test_two_emulators_count_the_same(core, measured):
    unicorn, qemu = measured(core, "unicorn"), measured(core, "qemu")
    for name, task in unicorn.tasks.items():
        assert dataclasses.replace(task, stack_bytes=0) == dataclasses.replace(
            qemu.tasks[name], stack_bytes=0
        )
        # QEMU's is the deepest word written; a word that only aligns the stack is not.
        assert 0 <= task.stack_bytes - qemu.tasks[name].stack_bytes <= 8
    assert unicorn.rom_parts == qemu.rom_parts


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "rv32imc"])
def test_the_library_in_the_rom_is_not_there_for_the_self_test(core, built):
    for path in built(core).objects["harness"]:
        with path.open("rb") as file:
            symbols = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
            wanted = {one.name for one in symbols if one["st_shndx"] == "SHN_UNDEF"}
        assert not wanted & {"memcpy", "memset", "memmove"}, path.name


_COUNTED = """\
#include "kt_model.h"
/* 1 + 100 * 4 + 1 instructions; every second time the condition fails. */
__attribute__((naked)) void kt_run_count(int8_t *buffer) {
    (void)buffer;
    __asm volatile(
        ".syntax unified\\n"
        "movs r1, #100\\n"
        "1: subs r1, #1\\n"
        "tst r1, #1\\n"
        "it ne\\n"
        "addne r0, #0\\n"
        "cmp r1, #0\\n"
        "bne 1b\\n"
        "bx lr\\n");
}
/* 48 bytes, of which none is written. */
__attribute__((naked)) void kt_run_stack(int8_t *buffer) {
    (void)buffer;
    __asm volatile("sub sp, #48\\nadd sp, #48\\nbx lr\\n");
}
"""


def counting_program() -> CProgram:
    tasks = {
        name: TaskProgram(name, name, f"KT_TASK_{name}", (name,), 0, 4, 0, 4, {})
        for name in ("count", "stack")
    }
    header = "#include <stdint.h>\nvoid kt_run_count(int8_t *b);\nvoid kt_run_stack(int8_t *b);\n"
    files = {"kt_model.h": header, "kt_model.c": _COUNTED}
    return CProgram(files, "dsp", 16, (), (), 0, frozenset(), tasks, {})


@pytest.mark.parametrize("emulator", ["unicorn", "qemu"])
def test_counts_are_those_that_one_counts_by_hand(emulator, tmp_path):
    codes = np.zeros((1, 4), np.int8)
    golden = dict.fromkeys(("count", "stack"), (codes, codes))
    build = build_image(counting_program(), golden, "cortex-m4", tmp_path)
    image = read_linked_image(build.image)
    with opened_core(build, image, emulator) as running:
        buffer = image.addresses["kt_selftest_buffer"]
        found = running.run(image.addresses["kt_run_count"], buffer)
        assert (found.instructions, found.stack_bytes) == (1 + 100 * 6 + 1, 0)
        found = running.run(image.addresses["kt_run_stack"], buffer)
        assert found.instructions == 3
        assert found.stack_bytes == (48 if emulator == "unicorn" else 0)


def test_a_step_that_the_plan_adds_is_measured_too():
    """A block between equal seams, which another path passes by, is brought to its place."""
    path = Path(__file__).parent / "codegen" / "small_trees.py"
    spec = importlib.util.spec_from_file_location("emulator_small_trees", path)
    trees = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(trees)
    nodes = {"t": [("conv", 4)], "block": [("conv", 4)], "h": [("dense", 3)]}
    bundle = trees.tree_of(nodes, {"long": ("t", "block", "h"), "short": ("t", "h")})
    found = measure(bundle, "cortex-m4").tasks
    kernels = {name: [one.kernel for one in task.operators] for name, task in found.items()}
    assert kernels == {
        "long": ["kt_conv2d", "kt_conv2d", "kt_copy", "kt_fully_connected"],
        "short": ["kt_conv2d", "kt_fully_connected"],
    }


def test_a_wrong_output_is_named_by_task_vector_and_element(built, device_bundle, tmp_path):
    task = device_bundle.tasks["digit"]
    outputs = task.golden_outputs.copy()
    outputs[1, 3] ^= 1
    wrong = dataclasses.replace(task, golden_outputs=outputs)
    bundle = dataclasses.replace(device_bundle, tasks={**device_bundle.tasks, "digit": wrong})
    with pytest.raises(GoldenMismatchError, match="task 'digit', golden vector 1, element 3: exp"):
        measure_build(bundle, built("cortex-m4"))
    build = build_bundle(bundle, "cortex-m4", tmp_path)
    found = boot(build.image, build.target)
    assert found.exit_code == 1
    assert "golden digit: vector 1, element 3: expected" in found.text
    assert "golden digit: 2 of 3 vectors equal" in found.text
    assert found.text.splitlines()[-1] == "FAIL"


def test_a_measurement_is_written_and_read_again(measured, tmp_path, device_bundle):
    path = tmp_path / "measured.json"
    found = measured("cortex-m4")
    path.write_text(measurement_text(found), encoding="utf-8")
    assert read_measurement(path) == found
    check_measurement(found, device_bundle)
    assert json.loads(path.read_text())["rom_bytes"] == found.rom_bytes


def test_a_measurement_of_other_bytes_is_refused(measured, device_bundle):
    nodes = dict(device_bundle.nodes)
    nodes["angle"] = dataclasses.replace(nodes["angle"], data=nodes["angle"].data + b"\0")
    changed = dataclasses.replace(device_bundle, nodes=nodes)
    with pytest.raises(MeasurementError, match="it is stale: node 'angle' differs"):
        check_measurement(measured("cortex-m4"), changed)
    with pytest.raises(MeasurementError, match="it is stale"):
        check_measurement(measured("cortex-m4"), device_bundle.select("digit"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.pop("format"), "no JSON with a `format`"),
        (lambda data: data.update(format="other"), "its `format` is 'other'"),
        (lambda data: data.update(format_version=2), "its `format_version` is 2"),
        (lambda data: data.pop("tasks"), "a field is missing or wrong"),
        (lambda data: data["rom_sections"].update({".text": 1}), "do not sum"),
    ],
)
def test_what_is_no_measurement_is_refused(change, said, measured, tmp_path):
    data = json.loads(measurement_text(measured("cortex-m4")))
    change(data)
    (tmp_path / "m.json").write_text(json.dumps(data))
    with pytest.raises(MeasurementError, match=said):
        read_measurement(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("code", "is_arm", "moves"),
    [
        ("00b5", True, True),  # push {lr}
        ("82b0", True, True),  # sub sp, #8
        ("2de9f04f", True, True),  # push.w {r4-r11, lr}
        ("2ded048b", True, True),  # vpush {d8-d9}
        ("add20d00", True, False),
        ("adf5807d", True, True),  # sub.w sp, sp, #256
        ("4df8084d", True, True),  # str r4, [sp, #-8]!
        ("6de90245", True, True),  # strd r4, r5, [sp, #-8]!
        ("a544", True, True),  # add sp, r4
        ("08b0", True, False),  # add sp, #32
        ("00bd", True, False),  # pop {pc}
        ("0020", True, False),  # movs r0, #0
        ("130101ff", False, True),  # addi sp, sp, -16
        ("4111", False, True),  # c.addi sp, -16
        ("3971", False, True),  # c.addi16sp sp, -64
        ("3301b140", False, True),  # sub sp, sp, a1 (its target is x2)
        ("0145", False, False),  # c.li a0, 0
    ],
)
def test_instructions_that_lower_the_stack_are_known(code, is_arm, moves):
    data = bytes.fromhex(code)
    found = addresses_after_stack_moves([CodeRange(0x100, data)], is_arm)
    assert found == ([0x100 + len(data)] if moves else [])
    assert instruction_count(data, is_arm) == (1 if code != "add20d00" else 2)


def test_golden_vectors_that_take_too_much_memory_are_halved():
    program = counting_program()
    golden = {name: (np.zeros((64, 4), np.int8),) * 2 for name in program.tasks}
    text = selftest_data(program, golden, most_bytes=256)
    assert "kt_run_count, inputs_0, outputs_0, 16U" in text
    assert "kt_run_stack, inputs_1, outputs_1, 16U" in text
    assert "64U" in selftest_data(program, golden)


@pytest.mark.parametrize("core", ["cortex-m4", "rv32imc"])
def test_zig_stands_in_where_gcc_is_not_on_the_path(core, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert find_toolchain(TARGETS[core]).name == "zig"


@pytest.mark.slow
def test_what_zig_builds_for_arm_passes_too(device_bundle, tmp_path):
    build = build_bundle(device_bundle, "cortex-m3", tmp_path, compiler="zig")
    assert build.toolchain.version.startswith("zig ")
    found = measure_build(device_bundle, build)
    assert found.rom_bytes == sum(part.size_bytes for part in found.rom_parts)
    assert boot(build.image, build.target).passed


def test_without_a_compiler_the_error_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match=r"pip install 'keras-tree\[measure\]'"):
        find_toolchain(TARGETS["cortex-m4"])
    with pytest.raises(ToolchainError, match="apt install gcc-arm-none-eabi"):
        find_toolchain(TARGETS["cortex-m4"], "gcc")


def test_without_an_emulator_the_error_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EmulationError, match="apt install qemu-system-arm"):
        check_emulator("cortex-m55")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmulationError, match=r"pyelftools must .*pip install 'keras-tree\[meas"):
        check_emulator("cortex-m4")


def test_a_compiler_that_refuses_is_quoted(tmp_path):
    program = counting_program()
    files = {**program.files, "kt_model.c": "int kt_run_count = 1.5 + ;\n"}
    codes = np.zeros((1, 4), np.int8)
    golden = dict.fromkeys(program.tasks, (codes, codes))
    with pytest.raises(ToolchainError, match=r"must build the firmware.* error: expected"):
        build_image(dataclasses.replace(program, files=files), golden, "cortex-m4", tmp_path)


def test_linker_scripts_and_targets_agree():
    for target in TARGETS.values():
        script = Path(firmware_file(f"ports/{target.port}/{target.script}")).read_text()
        assert f"ORIGIN = {target.flash_address:#010x}" in script
