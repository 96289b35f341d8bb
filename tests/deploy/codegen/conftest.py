"""What compiles generated C for the host and runs it; and a writer of small flatbuffers."""

import ctypes
import importlib.util
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from deploy.codegen import CProgram, compile_bundle
from quantize.bundle import Bundle, BundleTask, InputNormalization, Node
from quantize.flatbuffer import read_graph
from quantize.tensor_spec import TensorSpec

ROOT = Path(__file__).resolve().parents[3]
STUBS = ROOT / "firmware_stubs"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
_IS_ISA = re.compile(r"_(dsp|mve)$")


def loaded(path: Path, name: str) -> ModuleType:
    """A file of the tests as a module; `tests` itself is no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


writers = loaded(ROOT / "tests" / "quantize" / "conftest.py", "codegen_writers")


def run(*command: object) -> None:
    """Run a compiler; what it says is the failure."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr}"


def kernel_sources() -> dict[str, Path]:
    """The portable source that defines each kernel."""
    found = {}
    for path in sorted((STUBS / "src").glob("kt_*.c")):
        if not _IS_ISA.search(path.stem):
            text = path.read_text()
            for name in re.findall(r"^void (kt_\w+)\(", text, re.MULTILINE):
                found[name] = path
    return found


class Runner:
    """A program as a shared library of the host.

    Args:
        program: What was compiled.
        library: The loaded library.
    """

    def __init__(self, program: CProgram, library: ctypes.CDLL) -> None:
        self.program = program
        self._library = library
        # One byte more in front, so that alignment is ours; guards tell of writes outside.
        self._memory = np.full(program.buffer_bytes + 64, 0x5A, np.int8)
        start = -self._memory.ctypes.data % 16 + 16
        self._start = start
        self.buffer = self._memory[start : start + program.buffer_bytes]

    def call(self, function: str) -> None:
        """Call a function of the buffer, and check that nothing was written beside it."""
        getattr(self._library, function)(ctypes.c_void_p(self.buffer.ctypes.data))
        end = self._start + self.program.buffer_bytes
        assert (self._memory[: self._start] == 0x5A).all()
        assert (self._memory[end:] == 0x5A).all()

    def symbol(self, kind: type, name: str) -> ctypes.Array:
        """A constant of the program."""
        return kind.in_dll(self._library, name)

    def feed(self, task: str, codes: np.ndarray) -> None:
        """Fill the buffer with rubbish, then put a task's input in its place."""
        one = self.program.tasks[task]
        self.buffer[:] = 0x5A
        self.buffer[one.input_offset : one.input_offset + one.input_bytes] = codes.ravel()

    def output(self, task: str) -> np.ndarray:
        """A task's output, int8 (codes,)."""
        one = self.program.tasks[task]
        return self.buffer[one.output_offset : one.output_offset + one.output_bytes].copy()

    def run(self, task: str, codes: np.ndarray) -> np.ndarray:
        """Run samples (n, ...) to int8 (n, codes)."""
        results = []
        for sample in codes:
            self.feed(task, sample)
            self.call(self.program.tasks[task].run)
            results.append(self.output(task))
        return np.array(results, np.int8).reshape(len(codes), -1)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory) -> Path:
    """The portable kernels as objects of the host, one archive."""
    folder = tmp_path_factory.mktemp("kernels")
    objects = []
    for path in sorted(set(kernel_sources().values())):
        objects.append(folder / f"{path.stem}.o")
        run("gcc", *STRICT, "-O2", "-fPIC", "-I", STUBS / "include", "-I", STUBS / "src", "-c",
            path, "-o", objects[-1])  # fmt: skip
    run("ar", "rcs", folder / "libkernels.a", *objects)
    return folder / "libkernels.a"


@pytest.fixture(scope="session")
def write_program() -> Callable[[CProgram, Path], list[Path]]:
    """Write a program's files; return its sources."""

    def write(program: CProgram, folder: Path) -> list[Path]:
        for name, text in program.files.items():
            (folder / name).write_text(text)
        return [folder / name for name in program.files if name.endswith(".c")]

    return write


@pytest.fixture(scope="session")
def build(kernels, tmp_path_factory, write_program) -> Callable[[CProgram], Runner]:
    """Compile a program with the host's gcc, strictly, and load it."""

    def build_program(program: CProgram) -> Runner:
        folder = tmp_path_factory.mktemp("program")
        sources = write_program(program, folder)
        library = folder / "model.so"
        run("gcc", *STRICT, "-Wconversion", "-O2", "-fPIC", "-shared", "-I", STUBS / "include",
            "-I", folder, *sources, kernels, "-o", library)  # fmt: skip
        return Runner(program, ctypes.CDLL(str(library)))

    return build_program


@pytest.fixture(scope="session")
def lone_bundle() -> Callable[[bytes], Bundle]:
    """A bundle of one node, "net", that is the task of the same name."""

    def make(data: bytes) -> Bundle:
        graph = read_graph(data)
        ends = [graph.tensors[one] for one in (graph.inputs[0], graph.outputs[0])]
        node = Node(
            "net", data, len(data), 1, 1, *map(TensorSpec.from_tensor, ends),
            tuple(sorted(graph.operator_names)),
        )  # fmt: skip
        none = np.zeros((0, 1), np.int8)
        task = BundleTask("net", ("net",), (), none, none)
        return Bundle("net", {"net": node}, (), {"net": task}, InputNormalization(), {})

    return make


@pytest.fixture(scope="session")
def assert_equal_to_tflm(build) -> Callable[..., None]:
    """Compare every task of a bundle with TensorFlow Lite Micro, bit for bit."""

    def compare(bundle: Bundle, count: int, seed: int = 0, **options: object) -> None:
        runner = build(compile_bundle(bundle, **options))
        for name in runner.program.tasks:
            shape = bundle.path_nodes(name)[0].input.shape[1:]
            codes = np.random.default_rng(seed).integers(-128, 128, (count, *shape), np.int8)
            expected = bundle.run(name, codes, "tflm").reshape(count, -1)
            received = runner.run(name, codes)
            wrong = np.argwhere(expected != received)
            assert not len(wrong), (
                f"{name}: {len(wrong)} of {expected.size} codes differ, first {wrong[0]}: "
                f"{expected[tuple(wrong[0])]} expected, {received[tuple(wrong[0])]} received"
            )

    return compare


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """The writer of random networks."""
    return loaded(Path(__file__).with_name("random_networks.py"), "random_networks")


@pytest.fixture(scope="session")
def load() -> Callable[[str], ModuleType]:
    """Loads a file beside the tests as a module."""
    return lambda name: loaded(Path(__file__).with_name(name), Path(name).stem)


@pytest.fixture(scope="session")
def flatbuffer_writer() -> Callable:
    """Makes empty flatbuffers to fill."""
    return writers.FlatbufferWriter


@pytest.fixture(scope="session")
def tree_writer() -> Callable[..., Bundle]:
    """A bundle of nodes given as lists of layers, its input (1, 6, 6, 3)."""
    return loaded(Path(__file__).with_name("small_trees.py"), "small_trees").tree_of


@pytest.fixture(scope="session")
def stubs() -> Path:
    """The folder of C sources."""
    return STUBS


@pytest.fixture(scope="session")
def run_compiler() -> Callable[..., None]:
    """Run a compiler; what it says is the failure."""
    return run
