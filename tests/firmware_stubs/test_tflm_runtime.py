"""The generated sources, linked with TensorFlow Lite Micro itself and run.

There are tests here only where `TFLM_DIR` names a checkout of the runtime: no package registry has
it. docs/verification.md says how to run them, and what they said.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("tflm_cases", HERE / "tflm_cases.py")
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

CHECKOUT = os.environ.get("TFLM_DIR")
# Where builds are kept, so that the runtime is compiled once; a temporary folder otherwise.
BUILDS = os.environ.get("TFLM_BUILD_DIR")
TARGETS = {"host": "reference", "cortex-m4": "reference", "cortex-m4-cmsis-nn": "cmsis-nn-int8"}
BUNDLES = (*cases.PATHS, *cases.PRECISIONS, "quantized", "models")
PROGRAMS = {
    "selftest": "kt_model_selftest.cc",
    "checks": cases.STUBS / "tests" / "tflm_checks.cc",
    "smallest": cases.STUBS / "tests" / "tflm_smallest.cc",
}
TOOLCHAIN = """\
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_CXX_COMPILER arm-none-eabi-g++)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_FLAGS_INIT "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16")
set(CMAKE_CXX_FLAGS_INIT "${CMAKE_C_FLAGS_INIT}")
"""
PROJECT = """\
cmake_minimum_required(VERSION 3.16)
project(tflm_tests C CXX)
include({adapter}/tflm.cmake)
add_library(port STATIC {port})
"""
EXECUTABLE = """\
add_executable({name} {sources})
target_include_directories({name} PRIVATE {adapter} {folder})
target_compile_options({name} PRIVATE -Wall -Wextra -Werror -ffunction-sections -fdata-sections)
target_link_libraries({name} PRIVATE {objects} kt_tflm_runtime port {link})
"""
HOST_PORT = "#include <stdio.h>\nvoid kt_port_write(const char *t) { fputs(t, stdout); }\n"
# newlib's own `abort` needs a heap and signals.
NO_ABORT = "void abort(void);\nvoid abort(void) {\n    for (;;) {\n    }\n}\n"


def folder_of(builds: Path, target: str) -> Path:
    """Configure and build every bundle's programs for a target."""
    place = builds / target
    place.mkdir(parents=True, exist_ok=True)
    ports = cases.STUBS / "ports"
    is_host = target == "host"
    (place / "port.c").write_text(HOST_PORT if is_host else NO_ABORT)
    port = [place / "port.c"]
    if not is_host:
        port += [ports / "bare_metal.c", ports / "cortex_m" / "startup.c"]
    link = (
        ""
        if is_host
        else f"-nostartfiles -specs=nano.specs -specs=nosys.specs -Wl,--gc-sections "
        f"-L{ports}/cortex_m -Tmps2.ld -Wl,--defsym=end=kt_link_stack_end -lm"
    )
    text = PROJECT.format(adapter=cases.ADAPTER, port=" ".join(map(str, port)))
    for name in BUNDLES:
        text += executables(place, name, target, link)
    (place / "CMakeLists.txt").write_text(text)
    (place / "toolchain.cmake").write_text(TOOLCHAIN)
    options = [f"-DKT_TFLM_DIR={CHECKOUT}", "-DCMAKE_BUILD_TYPE=MinSizeRel"]
    options += [f"-DKT_TFLM_KERNELS={'cmsis_nn' if 'cmsis' in target else 'reference'}"]
    options += [] if is_host else [f"-DCMAKE_TOOLCHAIN_FILE={place / 'toolchain.cmake'}"]
    for option in ("KT_TFLM_THIRD_PARTY", "KT_CMSIS_NN_DIR", "KT_CMSIS_DIR"):
        variable = option.removeprefix("KT_")
        options += [f"-D{option}={os.environ[variable]}"] if variable in os.environ else []
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    run(["cmake", *generator, "-S", place, "-B", place / "build", *options])
    run(["cmake", "--build", place / "build", "--parallel", str(os.cpu_count())])
    return place / "build"


def executables(place: Path, name: str, target: str, link: str) -> str:
    """Write a bundle's sources, return what builds its programs."""
    folder = place / name
    cases.write(folder, model_of(name), kernels=TARGETS[target])
    shared = [folder / f"kt_model_{part}.cc" for part in ("config", "data", "golden")]
    shared += sorted(cases.ADAPTER.glob("*.cc"))
    text = f"add_library({name} OBJECT {' '.join(map(str, shared))})\n"
    text += f"target_include_directories({name} PRIVATE {cases.ADAPTER} {folder})\n"
    text += f"target_compile_options({name} PRIVATE -Wall -Wextra -Werror -ffunction-sections)\n"
    text += f"target_link_libraries({name} PRIVATE kt_tflm_runtime)\n"
    for program, main in PROGRAMS.items():
        text += EXECUTABLE.format(
            name=f"{name}-{program}",
            sources=folder / main,
            adapter=cases.ADAPTER,
            folder=folder,
            objects=f"$<TARGET_OBJECTS:{name}>",
            link=link,
        )
    return text


@cache
def model_of(name: str):
    made = {"models": cases.public_models, "quantized": cases.precisions.quantized}
    return made[name]() if name in made else cases.bundle(name)


def run(command: list) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def output(builds: Path, target: str, name: str, program: str) -> str:
    """What a program writes, on this machine or on an emulated mps2-an386."""
    path = builds / f"{name}-{program}"
    command = [str(path)]
    if target != "host":
        command = ["qemu-system-arm", "-machine", "mps2-an386", "-nographic", "-monitor", "none"]
        command += ["-serial", "none", "-kernel", str(path)]
        command += ["-semihosting-config", "enable=on,target=native"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL
    )
    return done.stdout + done.stderr


if CHECKOUT:

    @pytest.fixture(scope="module", params=TARGETS)
    def built(request, tmp_path_factory) -> tuple[str, Path]:
        builds = Path(BUILDS) if BUILDS else tmp_path_factory.mktemp("tflm")
        return request.param, folder_of(builds, request.param)

    @pytest.mark.slow
    @pytest.mark.timeout(7200)
    @pytest.mark.parametrize("name", BUNDLES)
    def test_golden_vectors_on_the_runtime(name, built) -> None:
        text = output(built[1], built[0], name, "selftest")
        print(f"\n{built[0]} {name}\n{text}", file=sys.stderr)
        assert text.endswith("PASS\n"), text
        assert text.count(" vectors equal\n") == len(model_of(name).tasks)

    @pytest.mark.slow
    @pytest.mark.timeout(7200)
    @pytest.mark.parametrize("name", BUNDLES)
    def test_what_open_refuses_on_the_runtime(name, built) -> None:
        assert output(built[1], built[0], name, "checks") == "CHECKS PASS\n"

    @pytest.mark.slow
    @pytest.mark.timeout(7200)
    @pytest.mark.parametrize("name", BUNDLES)
    def test_the_arena_is_no_larger_than_needed(name, built) -> None:
        text = output(built[1], built[0], name, "smallest")
        sizes = [int(size) for size in re.findall(r"works: (\d+)", text)]
        print(f"\n{built[0]} {name}: {sizes[0]} generated, {sizes[-1]} works", file=sys.stderr)
        assert sizes, text
        if built[0] != "host":
            assert sizes[0] - sizes[-1] <= 16

    def test_every_method_is_in_the_runtime() -> None:
        header = "tensorflow/lite/micro/micro_mutable_op_resolver.h"
        methods = [re.findall(r"TfLiteStatus\s+(Add\w+)\(", path.read_text())
                   for path in (cases.DECLARATIONS / header, Path(CHECKOUT) / header)]  # fmt: skip
        assert set(methods[0]) <= set(methods[1])
