"""A firmware folder builds as it is, its self-test tells the truth, and nobody's files are lost."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.board import load_board
from deploy.codegen import compile_bundle
from deploy.firmware import (
    Firmware,
    FirmwareError,
    FolderError,
    check_target,
    firmware,
    write_firmware,
)
from deploy.firmware_folder import folder as folder_module
from deploy.firmware_folder.cross_compiler import cross_compiler
from deploy.firmware_folder.figures import MOST_BYTES_PER_FILE
from deploy.firmware_folder.folder import MARKER
from deploy.firmware_folder.golden import with_golden_vectors
from deploy.firmware_folder.kernel_sources import default_isa, included, kernel_files
from deploy.firmware_sources import firmware_folder
from deploy.models import load_models
from deploy.packed_image import encode, pack_bundle
from deploy.tflm_sources import tflm_sources
from quantize.bundle import Bundle, BundleError

STUBS = firmware_folder()
DECLARATIONS = STUBS / "tests" / "tflm_declarations"
STRICT = "-O1 -g -Wall -Wextra -Werror -pedantic"
SANITIZED = f"{STRICT} -fsanitize=address,undefined -fno-sanitize-recover=all"
# With the boards' kernels: DSP, Helium, and none.
BOARDS = ("nano33ble", "corstone-300-fvp", "pico", "bluepill")
# What a C library, and GCC's own, have to bring.
FROM_OUTSIDE = {"memcmp", "memcpy", "memset", "strcmp"}


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def make(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run("make", "--no-print-directory", "-C", folder, *words, check=check)


def written(made: Firmware, folder: Path) -> Path:
    return write_firmware(made, folder).folder


@pytest.fixture(scope="module")
def nano33ble():
    return load_board("nano33ble")


@pytest.fixture(scope="module")
def in_c(device_bundle, nano33ble) -> Firmware:
    return firmware(device_bundle, nano33ble)


@pytest.fixture(scope="module")
def on_tflm(device_bundle, nano33ble) -> Firmware:
    return firmware(device_bundle, nano33ble, "tflm")


# Plain C.


def test_the_self_test_builds_and_passes_without_a_warning(in_c, tmp_path):
    folder = written(in_c, tmp_path / "my firmware")
    told = make(folder, "test", f"CFLAGS={STRICT}").stdout
    assert "image device, version 0: sound" in told
    assert re.search(r"golden digit: (\d+) of \1 vectors equal\n", told)
    assert re.search(r"golden angle: (\d+) of \1 vectors equal\n", told)
    assert told.endswith("PASS\n")


@pytest.mark.parametrize("isa", ["portable", "dsp"])
def test_the_self_test_passes_under_sanitizers(device_bundle, nano33ble, isa, tmp_path):
    folder = written(firmware(device_bundle, nano33ble, isa=isa), tmp_path / "firmware")
    told = make(folder, "test", f"CFLAGS={SANITIZED}").stdout
    assert told.endswith("PASS\n")


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


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "cortex-m55"])
def test_no_file_of_kernels_takes_more_than_the_bound(core, tmp_path):
    compiler = cross_compiler(replace(load_board("pico"), core=core, fpu="none"))
    for source in sorted((STUBS / "src").glob("*.c")):
        if "kt_kernels.h" not in source.read_text():
            continue
        product = tmp_path / f"{source.stem}.o"
        include = f"-I{STUBS / 'include'}"
        run("arm-none-eabi-gcc", "-std=c99", "-O2", *compiler.flags, include, "-c", source,
            "-o", product)  # fmt: skip
        text, data, bss = run("arm-none-eabi-size", product).stdout.splitlines()[1].split()[:3]
        assert (int(text) <= MOST_BYTES_PER_FILE, data, bss) == (True, "0", "0"), source.name


def test_only_the_kernels_that_are_used_are_there(in_c, device_bundle):
    program = compile_bundle(device_bundle, isa="dsp")
    sources = {Path(name).name for name in in_c.files if name.startswith("src/")}
    assert {"kt_conv.c", "kt_conv_dsp.c", "kt_softmax.c"} <= sources
    assert not sources & {"kt_conv_mve.c", "kt_resize.c", "kt_prelu.c", "kt_update.c"}
    assert set(kernel_files(program.kernels, "dsp")) <= sources


def test_every_kernel_is_found_in_every_set():
    header = (STUBS / "include" / "kt_kernels.h").read_text()
    functions = re.findall(r"^void (kt_\w+)\(", header, re.MULTILINE)
    assert len(functions) > 20
    for isa in ("portable", "dsp", "mve"):
        for function in functions:
            files = kernel_files([function], isa)
            assert files, f"{function}, {isa}"
            assert "include/kt_kernels.h" in included(f"src/{name}" for name in files)


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


def cmake() -> str:
    path = shutil.which("cmake")
    return path or pytest.skip("cmake is not installed")


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


def test_a_model_alone_gets_vectors(shared, nano33ble, tmp_path):
    made = firmware(load_models([shared / "models" / KWS]), nano33ble)
    assert made.untested == ()
    told = make(written(made, tmp_path / "firmware"), "test").stdout
    assert "4 of 4 vectors equal" in told
    assert told.endswith("PASS\n")


KWS = "mlperftiny__kws_ref_model.tflite"


def test_without_vectors_the_self_test_does_not_pass(
    device_bundle, nano33ble, tmp_path, monkeypatch
):
    monkeypatch.setattr("quantize.interpreter.tflm_version", lambda: None)
    none = {
        name: replace(
            task, golden_inputs=task.golden_inputs[:0], golden_outputs=task.golden_outputs[:0]
        )
        for name, task in device_bundle.tasks.items()
    }
    some = {**device_bundle.tasks, "angle": none["angle"]}
    for number, tasks in enumerate((none, some)):
        made = firmware(replace(device_bundle, tasks=tasks), nano33ble)
        assert made.untested == (("digit", "angle") if tasks is none else ("angle",))
        folder = written(made, tmp_path / str(number))
        done = make(folder, "test", f"CFLAGS={STRICT}", check=False)
        assert done.returncode == 2
        assert "golden angle: no golden vectors, not tested\n" in done.stdout
        assert done.stdout.endswith("FAIL\n")
        assert "- angle: no golden vectors, so" in (folder / "README.md").read_text()


def test_vectors_of_litert_are_computed_anew(device_bundle):
    task = device_bundle.tasks["digit"]
    near = replace(task, golden_outputs=task.golden_outputs ^ 1, golden_backend="litert")
    found = with_golden_vectors(
        replace(device_bundle, tasks={**device_bundle.tasks, "digit": near})
    )
    assert found.tasks["digit"] == task


def test_two_models_are_one_firmware(shared, bundle_folder, nano33ble, tmp_path):
    made = firmware(load_models([shared / "models" / KWS, bundle_folder]), nano33ble)
    told = make(written(made, tmp_path / "firmware"), "test").stdout
    assert told.count(" vectors equal") == 3


# TensorFlow Lite Micro.


def test_the_sources_for_tflm_compile(on_tflm, device_bundle, nano33ble, tmp_path):
    folder = written(on_tflm, tmp_path / "firmware")
    strict = f"CXXFLAGS={STRICT}"
    parts = ("kt_tflm_selftest.cc", "kt_model_golden.cc", "kt_model_selftest.cc", "host.c")
    tests = [f"build/objects/{name}.o" for name in parts]
    make(folder, "library", *tests, f"KT_TFLM_DIR={DECLARATIONS}", strict, f"CFLAGS={STRICT}")
    generated = tflm_sources(device_bundle, nano33ble)
    for name, text in generated.items():
        place = "selftest" if name in ("kt_model_golden.cc", "kt_model_selftest.cc") else "model"
        assert (folder / place / name).read_text() == text


def test_a_project_that_has_tflm_names_its_target(on_tflm, tmp_path):
    written(on_tflm, tmp_path / "project" / "firmware")
    project = tmp_path / "project"
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C CXX)\nadd_library(micro INTERFACE)\n"
        f'target_include_directories(micro INTERFACE "{DECLARATIONS}")\n'
        "set(KT_TFLM_TARGET micro)\nadd_subdirectory(firmware)\n"
    )
    run(cmake(), "-S", project, "-B", tmp_path / "build")
    # Declarations define nothing: a library is made, and nothing is linked.
    run(cmake(), "--build", tmp_path / "build")


def test_tflm_must_be_named(on_tflm, tmp_path):
    folder = written(on_tflm, tmp_path / "firmware")
    done = make(folder, "test", check=False)
    assert "KT_TFLM_DIR must name a checkout of tflite-micro, received ''" in done.stderr
    assert "image device, version 0: sound" in done.stdout
    done = make(folder, "test", f"KT_TFLM_DIR={DECLARATIONS}", check=False)
    assert "KT_TFLM_LIBRARY must name libtensorflow-microlite.a" in done.stderr
    done = run(cmake(), "-S", folder, "-B", tmp_path / "build", check=False)
    assert "KT_TFLM_DIR must name a checkout" in done.stderr


# What stands in the folder.


@pytest.mark.parametrize("runtime", ["c", "tflm"])
def test_the_same_arguments_give_the_same_bytes(device_bundle, nano33ble, runtime):
    first, second = (firmware(device_bundle, nano33ble, runtime) for _ in range(2))
    assert first.files == second.files
    assert list(first.files) == sorted(first.files)


@pytest.mark.parametrize("runtime", ["c", "tflm"])
def test_the_image_is_the_bundle(device_bundle, nano33ble, runtime):
    made = firmware(device_bundle, nano33ble, runtime)
    assert made.files["bundle.bin"] == encode(pack_bundle(device_bundle))
    readme = made.files["README.md"].decode()
    assert hashlib.sha256(made.files["bundle.bin"]).hexdigest() in readme
    assert all(node.sha256 in readme for node in device_bundle.nodes.values())


def test_tasks_can_be_chosen(device_bundle, nano33ble):
    for runtime in ("c", "tflm"):
        made = firmware(device_bundle, nano33ble, runtime, tasks=["angle"])
        assert not [name for name in made.files if "softmax" in name]
        assert b"digit" not in made.files["README.md"]
        assert b"digit" not in made.files["bundle.bin"]
    with pytest.raises(BundleError, match="angel"):
        firmware(device_bundle, nano33ble, tasks="angel")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tfml"}, "`runtime` must be one of c, tflm; received 'tfml'. Did you mean"),
        ({"isa": "dps"}, "received 'dps'. Did you mean 'dsp'"),
        ({"isa": "mve"}, "`isa` must be one that cortex-m4 has, dsp, portable; received 'mve'"),
        ({"kernels": "reference"}, "`kernels` is for the runtime tflm"),
        ({"allocate": "one"}, "`allocate` is for the runtime tflm"),
        ({"runtime": "tflm", "isa": "dsp"}, "`isa` is for the runtime c, received 'dsp'"),
    ],
)
def test_wrong_options_are_refused(device_bundle, nano33ble, options, message):
    with pytest.raises(FirmwareError, match=re.escape(message)):
        firmware(device_bundle, nano33ble, **options)


def test_the_figures_of_plain_c_are_exact(in_c, device_bundle):
    program = compile_bundle(device_bundle, isa="dsp")
    assert in_c.verdict.ram.used_bytes == program.buffer_bytes
    constants, parameters, code = in_c.verdict.rom.parts
    assert constants.size_bytes == program.stored_bytes
    assert parameters.size_bytes == program.parameter_bytes
    assert in_c.verdict.rom.error_percent[0] == pytest.approx(
        -100 * code.size_bytes / in_c.verdict.rom.used_bytes
    )
    readme = in_c.files["README.md"].decode()
    assert (
        f"| **RAM** | **{program.buffer_bytes:,}** | 262,144 (the board's main block) | exact"
        in readme
    )
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
    # Names of tasks and alignment are not counted apart from code.
    assert least < told < in_c.verdict.rom.used_bytes


def test_the_figures_on_tflm_are_those_of_check(on_tflm, device_bundle, nano33ble):
    from deploy.budget import Check, judge

    expected = judge(device_bundle, Check("nano33ble", nano33ble))
    assert on_tflm.verdict == expected
    readme = on_tflm.files["README.md"].decode()
    for usage in (expected.rom, expected.ram):
        assert f"| **{usage.memory}** | **{usage.used_bytes:,}** |" in readme
    assert "error, as of `keras-tree check`" in readme


@pytest.mark.parametrize("name", ["pico", "esp32-c3", "esp32-s3", "max78000fthr"])
@pytest.mark.parametrize("runtime", ["c", "tflm"])
def test_every_kind_of_board_has_a_folder(device_bundle, runtime, name):
    made = firmware(device_bundle, load_board(name), runtime)
    assert f"{cross_compiler(load_board(name)).prefix}-gcc" in made.files["README.md"].decode()
    assert b"@" not in re.sub(rb"\$@|@test|@mkdir|@echo", b"", made.files["Makefile"])
    assert not re.search(rb"@[A-Z_]+@", made.files["README.md"] + made.files["CMakeLists.txt"])


# The README of a folder.


@pytest.mark.parametrize("task", ["digit", "angle"])
def test_the_example_of_the_readme_compiles(device_bundle, nano33ble, task, tmp_path):
    folder = written(firmware(device_bundle, nano33ble, tasks=task), tmp_path / "firmware")
    (example,) = blocks(folder, "c")
    (tmp_path / "example.c").write_text(example)
    places = [f"-I{folder / name}" for name in ("include", "model")]
    run("cc", "-std=c99", *STRICT.split(), *places, "-c", tmp_path / "example.c",
        "-o", tmp_path / "example.o")  # fmt: skip


def test_the_example_for_tflm_compiles(on_tflm, tmp_path):
    folder = written(on_tflm, tmp_path / "firmware")
    (example,) = blocks(folder, "c")
    places = [f"-I{folder / name}" for name in ("include", "model")]
    for compiler, name in (("cc", "example.c"), ("c++", "example.cc")):
        (tmp_path / name).write_text(example)
        run(compiler, *STRICT.split(), *places, "-c", tmp_path / name, "-o", tmp_path / "example.o")


def test_the_commands_of_the_readme_run(in_c, on_tflm, tmp_path):
    folder = written(in_c, tmp_path / "in_c")
    for commands in blocks(folder, "sh"):
        run("sh", "-ec", f"cd '{folder}'\n{commands}")
    folder = written(on_tflm, tmp_path / "on_tflm")
    alone, with_make, library = blocks(folder, "sh")
    assert "-DKT_TFLM_DIR=/path/to/tflite-micro" in alone
    assert "KT_TFLM_LIBRARY=" in with_make
    # For this machine: the cross compiler's C++ headers are a package of their own.
    named = library.replace("/path/to/tflite-micro", str(DECLARATIONS))
    host = re.sub(r"arm-none-eabi-|-m[\w-]+(=\S+?)?(?=[ \"])", "", named).replace("-DCMSIS_NN", "")
    run("sh", "-ec", f"cd '{folder}'\n{host}")


def blocks(folder: Path, language: str) -> list[str]:
    text = (folder / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_every_file_is_in_the_readme(in_c, on_tflm):
    for made in (in_c, on_tflm):
        section = made.files["README.md"].decode().split("\n## Files\n")[1].split("\n## ")[0]
        listed = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
        for name in made.files:
            assert any(name == one or name.startswith(one.rstrip("*")) for one in listed), name


# Writing.


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


def test_what_is_written_is_listed(in_c, tmp_path):
    folder = written(in_c, tmp_path / "new" / "firmware")
    there = content(folder)
    marker = json.loads(there.pop(MARKER))
    assert there == in_c.files
    assert marker["files"] == {n: hashlib.sha256(d).hexdigest() for n, d in there.items()}


def test_a_foreign_folder_is_left_alone(in_c, tmp_path):
    (tmp_path / "thesis.tex").write_text("three years of work")
    for force in (False, True):
        with pytest.raises(FolderError, match="holds other files, and is left as it is"):
            write_firmware(in_c, tmp_path, force)
    assert content(tmp_path) == {"thesis.tex": b"three years of work"}
    with pytest.raises(FolderError, match="is a file"):
        check_target(tmp_path / "thesis.tex")


@pytest.mark.parametrize(
    "marker", [b"", b"[]", b"{}", b'{"format": "other", "files": {}}', b'{"format": 1', b"\xff"]
)
def test_a_list_that_is_not_ours_makes_no_folder_ours(in_c, tmp_path, marker):
    (tmp_path / MARKER).write_bytes(marker)
    with pytest.raises(FolderError, match="holds other files"):
        write_firmware(in_c, tmp_path)


def test_changed_files_are_kept_and_named(in_c, on_tflm, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    (folder / "Makefile").write_text("mine:\n")
    (folder / "examples" / "run_task.c").write_text("mine\n")
    (folder / "src" / "kt_softmax.c").unlink()
    again = write_firmware(in_c, folder)
    assert again.kept == ("Makefile", "examples/run_task.c")
    assert (folder / "Makefile").read_text() == "mine:\n"
    assert (folder / "src" / "kt_softmax.c").is_file()
    # Kept once more: what was written counts, not what was found.
    other = write_firmware(on_tflm, folder)
    assert other.kept == ("Makefile", "examples/run_task.c")
    assert not (folder / "model" / "kt_model.c").exists()
    forced = write_firmware(on_tflm, folder, force=True)
    assert forced.replaced == ("Makefile",)
    assert content(folder).keys() == {*on_tflm.files, MARKER, "examples/run_task.c"}
    assert (folder / "examples" / "run_task.c").read_text() == "mine\n"


def test_files_of_the_users_own_stay(in_c, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    (folder / "build" / "deep").mkdir(parents=True)
    (folder / "build" / "deep" / "app.o").write_bytes(b"object")
    (folder / "link").symlink_to("nowhere")
    assert write_firmware(in_c, folder).own == 2
    assert (folder / "build" / "deep" / "app.o").read_bytes() == b"object"
    assert os.readlink(folder / "link") == "nowhere"


def test_a_file_of_the_users_is_not_overwritten_by_a_new_one(in_c, on_tflm, tmp_path):
    folder = written(on_tflm, tmp_path / "firmware")
    (folder / "model" / "kt_model.c").write_text("mine")
    with pytest.raises(FolderError, match=r"received model/kt_model\.c\. Move them away"):
        write_firmware(in_c, folder)
    assert (folder / "model" / "kt_model.c").read_text() == "mine"
    assert (folder / "src" / "kt_tflm.cc").is_file()
    write_firmware(in_c, folder, force=True)
    assert content(folder).keys() == {*in_c.files, MARKER}


def test_a_list_cannot_lead_out_of_the_folder(in_c, tmp_path):
    folder = written(in_c, tmp_path / "firmware")
    (tmp_path / "precious").write_text("mine")
    marker = json.loads((folder / MARKER).read_text())
    marker["files"] |= {"../precious": "0", str(tmp_path / "precious"): "0"}
    (folder / MARKER).write_text(json.dumps(marker))
    assert write_firmware(in_c, folder).kept == ()
    assert (tmp_path / "precious").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["firmware", "precious"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(in_c, on_tflm, tmp_path, monkeypatch, error):
    folder = written(in_c, tmp_path / "firmware")
    before = content(folder)

    def fail(*arguments: object) -> None:
        if str(arguments[0]).endswith(".new"):
            raise error
        rename(*arguments)

    rename = os.rename
    monkeypatch.setattr(folder_module.os, "rename", fail)
    expected = FolderError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_firmware(on_tflm, folder)
    assert content(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["firmware"]


def test_a_link_to_a_folder_is_followed(in_c, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert write_firmware(in_c, tmp_path / "link").folder == tmp_path / "real"
    assert (tmp_path / "link").is_symlink()


def test_a_bundle_of_one_node_and_no_labels(shared, nano33ble):
    speech: Bundle = load_models([shared / "models" / "tflm__micro_speech_quantized.tflite"])
    made = firmware(speech, nano33ble)
    assert "runs only the" not in made.files["README.md"].decode()
    codes = with_golden_vectors(speech).tasks[speech.name].golden_inputs
    assert codes.dtype == np.int8
    assert len(np.unique(codes)) > 200
