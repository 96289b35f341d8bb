"""Bundles whose paths part and meet in every way, their sources, and how they are compiled."""

import importlib.util
import os
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from deploy.board import load_board
from deploy.models import load_models
from deploy.tflm_sources import tflm_sources
from quantize.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "firmware_stubs"
ADAPTER = STUBS / "tflm"
DECLARATIONS = STUBS / "tests" / "tflm_declarations"
BOARD = "nano33ble"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-pedantic"]
CPP = ["-std=c++17", "-fno-rtti", "-fno-exceptions", "-fno-threadsafe-statics"]
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# One path; a tree; a branch that parts again; paths that meet again; a node that runs twice.
PATHS = {
    "alone": {"only": ("trunk", "a")},
    "tree": {"digit": ("trunk", "a"), "texture": ("trunk", "b"), "angle": ("trunk", "c")},
    "nested": {
        "near": ("trunk", "a"),
        "deep one": ("trunk", "b", "c", "d"),
        "deep-two": ("trunk", "b", "c", "e"),
        "deep": ("trunk", "b", "f"),
        "other": ("trunk", "g", "h"),
    },
    "meeting": {"left": ("trunk", "a", "c"), "right": ("trunk", "b", "c")},
    "twice": {"once": ("trunk", "a"), "again": ("trunk", "a", "a", "b")},
}


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


precisions = loaded("tflm_precisions", Path(__file__).with_name("tflm_precisions.py"))
PRECISIONS = tuple(precisions.PATHS)


def bundle(name: str) -> Bundle:
    """A bundle of `PRECISIONS`; or one of `PATHS`, of fully connected nodes of 12 inputs and
    outputs, so that any may follow any."""
    nodes = loaded("hand_made_nodes", ROOT / "tests" / "quantize" / "conftest.py")
    if name in PRECISIONS:
        return precisions.bundle(name, nodes)
    paths = PATHS[name]
    names = dict.fromkeys(node for path in paths.values() for node in path)
    flatbuffers = {}
    for seed, node in enumerate(names):
        writer = nodes.FlatbufferWriter()
        scale, zero_point = (0.02, -5) if node == "trunk" else (0.05, 3)
        source = writer.tensor((1, 12), "INT8", scale, zero_point)
        output = nodes.dense(writer, source, 12, 12, 0.05, 3, seed)
        flatbuffers[node] = writer.bytes([source], [output])
    return replace(nodes.bundle_of(flatbuffers, paths), name=name)


def with_formula(model: Bundle) -> Bundle:
    """The bundle with golden vectors of `tflm_fake.cc`."""
    numbers = {name: number for number, name in enumerate(model.nodes)}
    tasks = {}
    for name, task in model.tasks.items():
        codes = task.golden_inputs.astype(np.int64).reshape(len(task.golden_inputs), -1)
        for node in task.path:
            length = model.nodes[node].output.element_count
            index = np.arange(length)
            codes = 3 * codes[:, index % codes.shape[1]] + 7 * numbers[node] + index
        outputs = codes.astype(np.uint8).view(np.int8).reshape(task.golden_outputs.shape)
        tasks[name] = replace(task, golden_outputs=outputs)
    return replace(model, tasks=tasks)


def write(folder: Path, model: Bundle, **options: str) -> Path:
    """Write a bundle's generated sources into `folder`."""
    for name, content in tflm_sources(model, load_board(BOARD), **options).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        if not path.exists() or path.read_bytes() != data:  # a file kept is not compiled again
            path.write_bytes(data)
    return folder


def compiled(compiler: Iterable[str], source: Path, target: Path, includes: Iterable[Path]) -> Path:
    """Compile one file; the compiler's words are the error."""
    command = [*compiler, *(f"-I{path}" for path in includes), "-c", str(source), "-o", str(target)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return target


def public_models() -> Bundle:
    """The public models on one device, with golden vectors that the runtime's wheel computes."""
    folder = Path(os.environ.get("KERAS_TREE_SHARED", ROOT.parent / "shared")) / "models"
    models = load_models(sorted(folder.glob("*.tflite")))
    random = np.random.default_rng(0)
    tasks = {}
    for name, task in models.tasks.items():
        shape = models.path_nodes(name)[0].input.shape[1:]
        codes = random.integers(-128, 128, (3, *shape)).astype(np.int8)
        outputs = models.run(name, codes, "tflm")
        tasks[name] = replace(task, golden_inputs=codes, golden_outputs=outputs)
    return replace(models, tasks=tasks)
