"""The generated text: C99 and C++, the same every time, with names that C allows."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from deploy.codegen import compile_bundle
from deploy.codegen.emit_source import model_source
from deploy.codegen.names import c_names, mangled
from deploy.codegen.plan import Plan
from deploy.codegen.program import Call, NodeProgram, Operand, Step, Struct, Value
from quantize.bundle import Bundle, BundleTask

WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-fsyntax-only"]
COMPILERS = {
    "c99": ["gcc", "-std=c99"],
    "c11": ["gcc", "-std=c11"],
    "c++11": ["g++", "-x", "c++", "-std=c++11"],
    "c++17": ["g++", "-x", "c++", "-std=c++17", "-Wno-missing-field-initializers"],
    "m4": ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c99", "-DKT_FORCE_PORTABLE"],
    "m0plus": ["arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb", "-std=c99"],
}
AWKWARD = ("net-1", "net 1", "1", "int", "NET.1", "ä", "*/", "run_net", "net_1_input", "conv2d")


@pytest.fixture(scope="module")
def awkward(tree_writer) -> Bundle:
    """Names that are no identifiers, that meet in one case, or that C and the kernels have."""
    bundle = tree_writer({"t": [("conv", 2)], "h": [("dense", 2)]}, {"h": ("t", "h")})
    trunk, head, task = bundle.nodes["t"], bundle.nodes["h"], bundle.tasks["h"]
    nodes = {"mean": replace(trunk, name="mean")}
    nodes |= {name: replace(head, name=name) for name in AWKWARD}
    tasks = {
        name: BundleTask(
            name, ("mean", name), ('a"\\', "b??/\n"), task.golden_inputs, task.golden_outputs
        )
        for name in AWKWARD
    }
    return Bundle('odd */ "name"', nodes, (), tasks, bundle.input_normalization, {})


def assert_compiles(program, write_program, stubs, run_compiler, folder, compiler) -> None:
    assert shutil.which(COMPILERS[compiler][0]), f"{COMPILERS[compiler][0]} is not installed"
    for source in write_program(program, folder):
        run_compiler(*COMPILERS[compiler], *WARNINGS, "-I", stubs / "include", "-I", folder, source)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_it_compiles(
    device_bundle, awkward, write_program, stubs, run_compiler, tmp_path, compiler
):
    for number, bundle in enumerate((device_bundle, awkward)):
        folder = tmp_path / str(number)
        folder.mkdir()
        program = compile_bundle(bundle)
        assert_compiles(program, write_program, stubs, run_compiler, folder, compiler)


@pytest.mark.parametrize("seed", range(0, 80, 8))
def test_random_networks_compile_as_cpp(
    seed, networks, flatbuffer_writer, lone_bundle, write_program, stubs, run_compiler, tmp_path
):
    program = compile_bundle(lone_bundle(networks.random_network(flatbuffer_writer(), seed)))
    assert_compiles(program, write_program, stubs, run_compiler, tmp_path, "c++17")


def test_kernels_of_another_instruction_set_are_refused(
    device_bundle, write_program, stubs, tmp_path
):
    import subprocess

    (source, _) = write_program(compile_bundle(device_bundle, isa="dsp"), tmp_path)
    done = subprocess.run(
        ["gcc", "-fsyntax-only", "-I", stubs / "include", source], capture_output=True, text=True
    )
    assert "needs the dsp kernels" in done.stderr


def test_awkward_names_run(awkward, assert_equal_to_tflm):
    assert_equal_to_tflm(awkward, count=2)


def test_labels_arrive_as_they_are(awkward, build):
    import ctypes

    runner = build(compile_bundle(awkward))
    labels = runner.symbol((ctypes.c_char_p * 2), "kt_int_labels")
    assert [label.decode() for label in labels] == ['a"\\', "b??/\n"]


def test_names():
    assert mangled("a b--c") == "a_b_c"
    assert mangled("é") == "x"
    names = c_names("a", ["n-1", "n 1", "N_1"], ["x_input", "run_x", "x"])
    assert sorted(names.nodes.values()) == ["N_1_3", "n_1", "n_1_2"]
    assert len({one.upper() for one in names.tasks.values()}) == 3


def test_no_identifier_is_declared_twice(awkward):
    header = compile_bundle(awkward).files["kt_model.h"]
    macros = re.findall(r"^#define (\w+) ", header, re.MULTILINE)
    functions = re.findall(r"^(?:void|static inline [^(]*?)\s?\*?(\w+)\(", header, re.MULTILINE)
    named = [name.upper() for name in macros] + [name.upper() for name in functions]
    assert len(functions) > 4 * len(AWKWARD)
    assert len(set(named)) == len(named)


def test_the_same_bundle_gives_the_same_text(device_bundle):
    one, other = (compile_bundle(device_bundle).files for _ in range(2))
    assert one == other


def test_the_text_is_the_golden_one(device_bundle, assert_golden):
    files = compile_bundle(device_bundle).files
    assert_golden(files["kt_model.h"], "plain_c_model.h.txt")
    assert_golden(files["kt_model.c"], "plain_c_model.c.txt")


def test_the_header_states_scales_without_loss(device_bundle):
    header = compile_bundle(device_bundle).files["kt_model.h"]
    found = dict(re.findall(r"#define (KT_\w+_SCALE) ([0-9.e-]+)f", header))
    for name, task in device_bundle.tasks.items():
        path = device_bundle.path_nodes(task.name)
        for side, spec in (("INPUT", path[0].input), ("OUTPUT", path[-1].output)):
            assert np.float32(found[f"KT_{name.upper()}_{side}_SCALE"]) == np.float32(spec.scale)


def test_parameters_of_nodes_whose_names_end_in_numbers_are_told_apart():
    def copy(size):
        fields = {"size": (1, 1, 1, size), "input_stride": (0, 0, 0, 1)}
        struct = Struct("kt_copy_t", fields | {"output_stride": (0, 0, 0, 1)})
        return Call("kt_copy", (struct, Operand(0), Operand(1)))

    def node(name, *steps):
        made = [Step("", "ANY", calls, (0,), (1,)) for calls in steps]
        return NodeProgram(name, (Value(0, 9, "a"), Value(1, 9, "b")), tuple(made), 0, 1)

    nodes = {
        "n": node("n", (copy(1), copy(2))),
        "n_0": node("n_0", (copy(3),), (copy(4),), (copy(5), copy(6))),
        "n_0_2": node("n_0_2", (copy(7),), (copy(8),)),
    }
    offsets = {(name, value): 16 * value for name in nodes for value in (0, 1)}
    plan = Plan(nodes, offsets, 32, frozenset(), 0)
    text = model_source(plan, c_names("b", nodes, ()), {}, "portable", ()).text
    defined = re.findall(r"static const kt_copy_t (\w+) =", text)
    assert len(defined) == len(set(defined)) == 8


def test_lines_are_short(device_bundle):
    for name, text in compile_bundle(device_bundle).files.items():
        long = [line for line in text.splitlines() if len(line) > 100 and "#error" not in line]
        assert not long, (name, long)


def test_what_is_called_is_named(device_bundle):
    program = compile_bundle(device_bundle)
    assert program.kernels == {
        "kt_conv2d", "kt_depthwise_conv2d", "kt_fully_connected", "kt_softmax",
    }  # fmt: skip
    assert program.node_functions["trunk"] == "kt_node_trunk"
    assert program.tasks["digit"].run == "kt_run_digit"
