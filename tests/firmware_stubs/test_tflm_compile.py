"""The adapter and generated sources compile, for the host and for Arm, without the runtime."""

import ctypes
import importlib.util
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.board import load_board
from deploy.footprint import rom
from deploy.footprint.operator_memory import _ROWS
from deploy.footprint.registrations import REGISTRATIONS
from deploy.tflm_sources.config_source import config_source
from deploy.tflm_sources.model import make_model
from deploy.tflm_sources.operators import FORMS, add_method
from quantize.tensor_spec import TensorSpec

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("tflm_cases", HERE / "tflm_cases.py")
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

# Without the headers of a C++ library: not every bare-metal toolchain has them.
ARM = ["arm-none-eabi-g++", "-mcpu=cortex-m4", "-mthumb", "-nostdinc++", "-Os"]
COMPILERS = {
    "host": ["g++", "-O2"],
    "arm": [*ARM, "-DKT_MODEL_ANY_KERNELS"],
    "arm with CMSIS-NN": [*ARM, "-DCMSIS_NN"],
}


def objects(compiler: str, folder: Path, pattern: str = "kt_model_*.cc") -> list[Path]:
    command = [*COMPILERS[compiler], *cases.CPP, *cases.WARNINGS]
    includes = [folder, cases.ADAPTER, cases.DECLARATIONS]
    sources = [*folder.glob(pattern), *cases.ADAPTER.glob("*.cc")]
    return [cases.compiled(command, one, folder / f"{one.stem}.o", includes) for one in sources]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("allocate", ["all", "one"])
@pytest.mark.parametrize("name", ["nested", "precisions"])
def test_everything_compiles(name, compiler, allocate, tmp_path) -> None:
    objects(compiler, cases.write(tmp_path, cases.bundle(name), allocate=allocate))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_resolver_of_another_size_does_not_compile(change, tmp_path) -> None:
    folder = cases.write(tmp_path, cases.bundle("tree"))
    source = folder / "kt_model_config.cc"
    text = source.read_text()
    count = int(re.search(r"kOperators = (\d+);", text)[1])
    source.write_text(text.replace(f"kOperators = {count};", f"kOperators = {count + change};"))
    command = [*COMPILERS["host"], *cases.CPP, "-c", source, "-o", folder / "config.o"]
    command += [f"-I{include}" for include in (folder, cases.ADAPTER, cases.DECLARATIONS)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode != 0
    assert "the resolver has room for what is added" in run.stderr


def test_a_bare_metal_image_needs_nothing_more(tmp_path) -> None:
    """No heap, no constructor before main, no destructor after it, no lock."""
    folder = cases.write(tmp_path, cases.bundle("tree"))
    for path in objects("arm with CMSIS-NN", folder):
        listed = subprocess.run(
            ["arm-none-eabi-nm", path], capture_output=True, text=True, check=True
        ).stdout
        assert not re.search(r"malloc|free|__dso_handle|atexit|guard|_Znw|_Zdl", listed), listed
        sections = subprocess.run(
            ["arm-none-eabi-objdump", "-h", path], capture_output=True, text=True, check=True
        ).stdout
        assert ".init_array" not in sections


@pytest.mark.parametrize("compiler", [["gcc"], ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb"]])
def test_the_assembler_includes_the_nodes(compiler, tmp_path) -> None:
    model = cases.bundle("tree")
    folder = cases.write(tmp_path, model, data="incbin")
    path = cases.compiled(compiler, folder / "kt_model_data.S", tmp_path / "data.o", [folder])
    tools = "arm-none-eabi-" if "arm" in compiler[0] else ""
    raw = tmp_path / "data.bin"
    for name, node in model.nodes.items():
        section = f".rodata.kt_model_{name}_data"
        subprocess.run([f"{tools}objcopy", "-O", "binary", "-j", section, path, raw], check=True)
        assert raw.read_bytes() == node.data


@pytest.mark.parametrize("language", [["gcc", "-std=c99"], ["g++", "-x", "c++", "-std=c++11"]])
def test_the_headers_are_c_and_cpp(language, tmp_path) -> None:
    folder = cases.write(tmp_path, cases.bundle("nested"))
    source = tmp_path / "user.c"
    source.write_text(
        '#include "kt_model_config.h"\n'
        "KT_TFLM_ALIGNED static uint8_t arena[KT_MODEL_ARENA_BYTES];\n"
        "int run(kt_tflm_t *model, const int8_t *codes, int8_t *output);\n"
        "int run(kt_tflm_t *model, const int8_t *codes, int8_t *output) {\n"
        "    if (kt_tflm_open(model, &kt_model, arena, sizeof arena) != KT_TFLM_OK) return -1;\n"
        "    return kt_tflm_run(model, KT_MODEL_TASK_DEEP_ONE, codes, output);\n"
        "}\n"
    )
    cases.compiled([*language, *cases.WARNINGS], source, tmp_path / "user.o",
                   [folder, cases.ADAPTER])  # fmt: skip


def test_the_guides_example_compiles(tmp_path) -> None:
    folder = cases.write(tmp_path, cases.bundle("tree"))
    guide = (cases.ROOT / "docs" / "tflm.md").read_text(encoding="utf-8")
    example, objects_of_its_own = re.findall(r"```c\n(.*?)```", guide, re.DOTALL)
    source = tmp_path / "user.c"
    source.write_text(
        f"{example}\nstatic char other_interpreters[1], other_resolver[1];\n"
        f"kt_tflm_config_t own(void);\nkt_tflm_config_t own(void) {{\n{objects_of_its_own}\n"
        "return second;\n}\n"
    )
    cases.compiled(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror"], source,
                   tmp_path / "user.o", [folder, cases.ADAPTER])  # fmt: skip


@pytest.mark.parametrize(
    ("kernels", "flags", "words"),
    [
        ("cmsis-nn-int8", [], "compile them with -DCMSIS_NN"),
        ("reference", ["-DCMSIS_NN"], "sized for reference kernels"),
    ],
)
def test_other_kernels_than_the_arena_is_sized_for_are_refused(
    kernels, flags, words, tmp_path
) -> None:
    folder = cases.write(tmp_path, cases.bundle("alone"), kernels=kernels)
    includes = [folder, cases.ADAPTER, cases.DECLARATIONS]
    with pytest.raises(AssertionError, match=words):
        cases.compiled([*ARM, *cases.CPP, *flags], folder / "kt_model_config.cc",
                       tmp_path / "x.o", includes)  # fmt: skip


def test_a_wrong_count_of_operators_does_not_compile(tmp_path) -> None:
    folder = cases.write(tmp_path, cases.bundle("alone"))
    source = folder / "kt_model_config.cc"
    text = source.read_text()
    source.write_text(text.replace("kOperators = 1;", "kOperators = 2;"))
    assert source.read_text() != text
    with pytest.raises(AssertionError, match="the resolver has room for what is added"):
        cases.compiled(["g++", *cases.CPP], source, tmp_path / "x.o",
                       [folder, cases.ADAPTER, cases.DECLARATIONS])  # fmt: skip


@pytest.mark.parametrize("flags", [[], ["-DCMSIS_NN"]])
@pytest.mark.parametrize("form", [*FORMS, None])
def test_every_operator_is_registered(form, flags, tmp_path) -> None:
    """In one form, or, for None, in all that it has."""
    folder = cases.write(tmp_path, cases.bundle("alone"))
    model = make_model(cases.bundle("alone"), load_board(cases.BOARD), None, None, "all")
    forms = {
        name: tuple(one for one in own if form in (None, one))
        for name, own in REGISTRATIONS.items()
    }
    every = replace(model, operators=operators(), forms=forms)
    source = folder / "kt_model_config.cc"
    source.write_text(config_source(every))
    cases.compiled(["g++", *cases.CPP, *cases.WARNINGS, *flags], source, tmp_path / "x.o",
                   [folder, cases.ADAPTER, cases.DECLARATIONS])  # fmt: skip


def operators() -> tuple[str, ...]:
    """Every operator whose code or memory is known."""
    measured = {name for name in rom._table().bits if not rom._FORM_ROW.search(name)}
    return tuple(sorted(measured | set(rom._STAND_INS) | set(_ROWS)))


def test_every_operator_that_has_a_price_has_a_method() -> None:
    header = DECLARED.read_text()
    for name in operators():
        assert f" {add_method(name)}(" in header, name
    forms = {f"{name}_{form}" for name, forms in REGISTRATIONS.items() for form in forms}
    for name in forms:
        assert f" Register_{name}();" in header
    assert forms == {name for name in rom._table().bits if rom._FORM_ROW.search(name)}


DECLARED = cases.DECLARATIONS / "tensorflow/lite/micro/micro_mutable_op_resolver.h"


@pytest.fixture(scope="module")
def quantization(tmp_path_factory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("quantization")
    (folder / "q.c").write_text(
        '#include "kt_tflm_quantization.h"\n'
        "int8_t q(float v, float s, int32_t z) { return kt_tflm_quantize(v, s, z); }\n"
        "float d(int8_t c, float s, int32_t z) { return kt_tflm_dequantize(c, s, z); }\n"
        "uint32_t l(const int8_t *c, uint32_t n) { return kt_tflm_largest(c, n); }\n"
    )
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", f"-I{cases.ADAPTER}", folder / "q.c",
         "-o", folder / "q.so", "-lm"], check=True,
    )  # fmt: skip
    library = ctypes.CDLL(str(folder / "q.so"))
    library.q.argtypes = library.d.argtypes = [ctypes.c_float, ctypes.c_float, ctypes.c_int32]
    library.q.restype, library.d.restype = ctypes.c_int8, ctypes.c_float
    library.d.argtypes = [ctypes.c_int8, ctypes.c_float, ctypes.c_int32]
    return library


@pytest.mark.parametrize(("scale", "zero_point"), [(1 / 255, -128), (0.05, 3), (1 / 256, 127)])
def test_codes_are_those_of_the_host(scale, zero_point, quantization) -> None:
    tensor = TensorSpec((1, 1), "int8", scale, zero_point)
    random = np.random.default_rng(0)
    halves = (np.arange(-300, 300) + 0.5) * tensor.scale
    values = np.concatenate(
        [halves, random.normal(0, 150 * scale, 3000), [0.0, 1e30, -1e30, np.inf, -np.inf]]
    ).astype(np.float32)
    received = [quantization.q(float(value), tensor.scale, zero_point) for value in values]
    np.testing.assert_array_equal(received, tensor.quantize(values))
    codes = np.arange(-128, 128, dtype=np.int8)
    received = [quantization.d(int(code), tensor.scale, zero_point) for code in codes]
    np.testing.assert_array_equal(np.float32(received), tensor.dequantize(codes))


@pytest.mark.parametrize(("codes", "index"), [([5], 0), ([-1, 3, 3], 1), ([-128, -127, -128], 1)])
def test_the_largest_code(codes, index, quantization) -> None:
    array = (ctypes.c_int8 * len(codes))(*codes)
    assert quantization.l(array, len(codes)) == index
