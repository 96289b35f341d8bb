"""The kernels compiled for this machine, twice, and networks of one operator on TFLM."""

import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HERE = Path(__file__).parent
STUBS = HERE.parents[1] / "firmware_stubs"
HEADER = STUBS / "include" / "kt_kernels.h"
SOURCES = sorted(
    path for path in (STUBS / "src").glob("kt_*.c") if "kt_kernels.h" in path.read_text()
)
PORTABLE = [path for path in SOURCES if not path.stem.endswith(("_dsp", "_mve"))]
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]


def loaded(name: str, path: Path) -> ModuleType:
    """A file of the tests as a module; `tests` itself is no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


calls = loaded("kernel_calls", HERE / "kernel_calls.py")
nodes = loaded("hand_made_nodes", HERE.parent / "quantize" / "conftest.py")


def compile_library(path: Path, flags: list[str]) -> Path:
    command = ["gcc", *WARNINGS, *flags, "-DKT_FORCE_PORTABLE", f"-I{HEADER.parent}"]
    command += ["-shared", "-fPIC", *map(str, PORTABLE), "-o", str(path)]
    subprocess.run(command, check=True)
    return path


class Kernels:
    """Runs each call on every build: optimized, for small cores, and with sanitizers."""

    def __init__(self, builds: list[Path], sanitized: Path) -> None:
        self._libraries = [calls.Library(path, HEADER) for path in builds]
        found = subprocess.run(
            ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        )
        environment = os.environ | {
            "LD_PRELOAD": found.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONMALLOC": "malloc",
        }
        command = [sys.executable, "-S", str(HERE / "kernel_calls.py"), str(sanitized), str(HEADER)]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def call(self, function: str, arguments: list) -> np.ndarray:
        """The "out" argument's bytes after the call, as int8."""
        result, *others = [library.call(function, arguments) for library in self._libraries]
        pickle.dump((function, arguments), self._process.stdin)
        self._process.stdin.flush()
        try:
            watched = pickle.load(self._process.stdout)
        except EOFError:
            pytest.fail(f"{function} ended the process with sanitizers; its message is above")
        assert [watched, *others] == [result] * (1 + len(others)), f"builds of {function} differ"
        return np.frombuffer(result, np.int8)

    def run(self, function: str, structure: str, fields: dict, *inputs, shape, scratch=None):
        """Call a kernel of the usual form on int8 arrays; returns int8 of `shape`."""
        arguments = [("struct", structure, fields)]
        arguments += [("in", array.astype(np.int8).tobytes(), 0) for array in inputs]
        arguments.append(("out", bytes(int(np.prod(shape))), 0))
        if scratch is not None:
            arguments.append(("in", bytes(scratch), 0) if scratch else ("null",))
        return self.call(function, arguments).reshape(shape)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernels")
    builds = [
        compile_library(folder / "optimized.so", ["-O2"]),
        compile_library(folder / "small_core.so", ["-Os", "-DKT_SMALL_CORE"]),
    ]
    opened = Kernels(builds, compile_library(folder / "sanitized.so", SANITIZERS))
    yield opened
    opened.close()


class Network:
    """A flatbuffer of one operator, run on TFLM."""

    def __init__(self) -> None:
        self.writer = nodes.FlatbufferWriter()
        self.schema = self.writer.schema
        self.tensor = self.writer.tensor

    def options(self, kind: str, **values):
        made = getattr(self.schema, kind + "OptionsT")()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    def activation(self, name: str) -> int:
        return getattr(self.schema.ActivationFunctionType, name)

    def run(self, name, inputs, output, options, codes, version=1, outputs=None) -> np.ndarray:
        """The output of the operator, whose first input that is no constant takes `codes`."""
        from quantize.interpreter import open_interpreter

        self.writer.operator(name, inputs, outputs or [output], options, version)
        source = next(i for i in inputs if self._is_variable(i))
        return open_interpreter(self.writer.bytes([source], [output]), "tflm").run(codes)

    def _is_variable(self, index: int) -> bool:
        buffer = self.writer.graph.tensors[index].buffer
        return self.writer.model.buffers[buffer].data is None


@pytest.fixture(scope="session")
def new_network() -> Callable[[], Network]:
    """Makes networks of one operator."""
    return Network
