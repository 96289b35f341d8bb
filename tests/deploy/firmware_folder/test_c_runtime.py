"""A folder in plain C builds as it is, for a host and for boards; its self-test tells the truth."""

import re
import subprocess
from dataclasses import replace

import pytest
from folder_building import SANITIZED, STRICT, cmake, make, run, written

from deploy.board import load_board
from deploy.firmware import firmware
from deploy.firmware_folder.cross_compiler import cross_compiler
from deploy.firmware_folder.kernel_sources import default_isa
from deploy.models import load_models

# With the boards' kernels: DSP, Helium, and none.
BOARDS = ("nano33ble", "corstone-300-fvp", "pico", "bluepill")
# What a C library, and GCC's own, have to bring.
FROM_OUTSIDE = {"memcmp", "memcpy", "memset", "strcmp"}
KWS = "mlperftiny__kws_ref_model.tflite"


def test_the_self_test_builds_and_passes_without_a_warning(in_c, tmp_path):
    folder = written(in_c, tmp_path / "my firmware")
    told = make(folder, "test", f"CFLAGS={STRICT}").stdout
    assert "image device, version 0: sound" in told
    assert re.search(r"golden digit: (\d+) of \1 vectors equal\n", told)
    assert re.search(r"golden angle: (\d+) of \1 vectors equal\n", told)
    assert told.endswith("PASS\n")


@pytest.mark.parametrize("name", ["nano33ble", "corstone-300-fvp", "pico"])
def test_the_self_test_passes_under_sanitizers(device_bundle, name, tmp_path):
    folder = written(firmware(device_bundle, load_board(name)), tmp_path / "firmware")
    told = make(folder, "test", f"CFLAGS={SANITIZED}").stdout
    assert told.endswith("PASS\n")


@pytest.mark.parametrize("name", ["nano33ble", "pico"])
def test_packed_weights_pass_the_self_test_and_build_for_the_board(few_valued, name, tmp_path):
    board = load_board(name)
    made = firmware(few_valued, board)
    assert {"src/kt_packed_fully_connected.c", "src/kt_unpack_2.c"} <= set(made.files)
    assert not {"src/kt_packed_conv.c", "src/kt_unpack_4.c"} & set(made.files)
    assert {"include/kt_packed.h", "src/kt_unpack.h"} <= set(made.files)
    folder = written(made, tmp_path / "firmware")
    assert make(folder, "test", f"CFLAGS={SANITIZED}").stdout.endswith("PASS\n")
    compiler = cross_compiler(board)
    flags = f"CFLAGS=-O2 -Wall -Wextra -Werror {' '.join(compiler.flags)}"
    make(folder, "library", f"CC={compiler.prefix}-gcc", flags)


def test_a_wrong_output_fails(device_bundle, nano33ble, tmp_path):
    task = device_bundle.tasks["digit"]
    wrong = task.golden_outputs.copy()
    wrong[0, 0] ^= 1
    tasks = {**device_bundle.tasks, "digit": replace(task, golden_outputs=wrong)}
    made = firmware(replace(device_bundle, tasks=tasks), nano33ble)
    done = make(written(made, tmp_path / "firmware"), "test", check=False)
    assert done.returncode == 2
    assert "golden digit: vector 0, element 0: expected" in done.stdout
    assert done.stdout.endswith("FAIL\n")


@pytest.mark.parametrize("name", BOARDS)
def test_the_library_builds_for_the_board(device_bundle, name, tmp_path):
    board = load_board(name)
    made = firmware(device_bundle, board)
    assert made.isa == default_isa(board.core)
    folder = written(made, tmp_path / "firmware")
    compiler = cross_compiler(board)
    flags = f"CFLAGS=-O2 -Wall -Wextra -Werror {' '.join(compiler.flags)}"
    make(folder, "library", f"CC={compiler.prefix}-gcc", flags)
    symbols = run(f"{compiler.prefix}-nm", folder / "build" / "libkt_model.a").stdout
    defined = set(re.findall(r"^\w+ [^U] (\w+)$", symbols, re.MULTILINE))
    needed = set(re.findall(r"^ +U (\w+)$", symbols, re.MULTILINE))
    assert {one for one in needed - defined if not one.startswith("__")} <= FROM_OUTSIDE
    assert not re.search(r"^\w+ [dDbBC] ", symbols, re.MULTILINE), "no variables"


def test_a_library_for_the_wrong_core_is_refused(in_c, tmp_path):
    done = make(written(in_c, tmp_path / "firmware"), "library", check=False)
    assert "This model needs the dsp kernels" in done.stderr


def test_kernels_of_another_set_can_be_chosen(device_bundle, tmp_path):
    board = load_board("corstone-300-fvp")
    folder = written(firmware(device_bundle, board, isa="portable"), tmp_path / "firmware")
    flags = f"CFLAGS=-O2 {' '.join(cross_compiler(board).flags)}"
    make(folder, "library", "CC=arm-none-eabi-gcc", flags)
    assert "C99 with `-DKT_FORCE_PORTABLE`" in (folder / "README.md").read_text()


def test_cmake_builds_it_alone(in_c, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    run(cmake(), "-S", folder, "-B", tmp_path / "build")
    run(cmake(), "--build", tmp_path / "build")
    told = run("ctest", "--test-dir", tmp_path / "build").stdout
    assert "100% tests passed, 0 tests failed out of 2" in told


def test_cmake_builds_it_within_a_project(in_c, tmp_path):
    written(in_c, tmp_path / "project" / "firmware")
    project = tmp_path / "project"
    (project / "main.c").write_text(
        '#include "kt_model.h"\nstatic KT_ALIGN(16) int8_t buffer[KT_MODEL_BUFFER_BYTES];\n'
        "int main(void) { kt_run_digit(buffer); return 0; }\n"
    )
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\nadd_subdirectory(firmware)\n"
        "add_executable(app main.c)\ntarget_link_libraries(app PRIVATE kt_model)\n"
    )
    run(cmake(), "-S", project, "-B", tmp_path / "build")
    run(cmake(), "--build", tmp_path / "build", "--target", "app")
    run(tmp_path / "build" / "app")


def test_the_example_runs_a_task(in_c, device_bundle, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    make(folder, "examples")
    task = device_bundle.tasks["angle"]
    done = subprocess.run(
        [folder / "build" / "run_task", "angle"],
        input=task.golden_inputs[0].tobytes(), capture_output=True, check=True,
    )  # fmt: skip
    code, value = done.stdout.split()
    output = device_bundle.nodes["angle"].output
    assert int(code) == task.golden_outputs[0, 0]
    assert float(value) == pytest.approx(output.scale * (int(code) - output.zero_point), rel=1e-4)
    unknown = run(folder / "build" / "run_task", "angel", check=False)
    assert (unknown.returncode, unknown.stderr.split()[-2:]) == (2, ["digit", "angle"])


def test_a_damaged_image_is_refused(in_c, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    image = folder / "bundle.bin"
    image.write_bytes(image.read_bytes()[:-1] + b"\x55")
    done = make(folder, "test", check=False)
    assert "image refused: " in done.stdout


def test_a_name_does_no_harm(device_bundle, nano33ble, tmp_path):
    name = 'x*/ \\\n$(error no) ${no} `no` "no" # @MODEL@ ü'
    folder = written(firmware(replace(device_bundle, name=name), nano33ble), tmp_path / "fw")
    assert make(folder, "test", f"CFLAGS={STRICT}").stdout.endswith("PASS\n")
    run(cmake(), "-S", folder, "-B", tmp_path / "build")
    assert len((folder / "Makefile").read_text().splitlines()[0]) < 120


def test_two_models_are_one_firmware(shared, bundle_folder, nano33ble, tmp_path):
    made = firmware(load_models([shared / "models" / KWS, bundle_folder]), nano33ble)
    told = make(written(made, tmp_path / "firmware"), "test").stdout
    assert told.count(" vectors equal") == 3
