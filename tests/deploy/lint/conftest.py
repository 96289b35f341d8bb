"""Small bundles for the rules: any flatbuffers as nodes, on any paths, without running them."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from deploy.board import load_board
from deploy.footprint import footprint
from deploy.lint import Finding, lint
from quantize.bundle import Bundle, BundleTask, InputNormalization, Node, Score
from quantize.flatbuffer import read_graph
from quantize.macs import macs
from quantize.tensor_spec import TensorSpec


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """What writes flatbuffers by hand: `FlatbufferWriter`, `convolution`, `dense`."""
    source = Path(__file__).parents[2] / "quantize" / "conftest.py"
    spec = importlib.util.spec_from_file_location("hand_made_layers", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def score() -> Callable[[str], Score]:
    """A score of a metric, whose figures do not matter."""
    return lambda metric: Score(metric, 0.9, 0.9, 100, 0.99, 30.0, 0.1, None)


@pytest.fixture(scope="session")
def bundle_of() -> Callable[..., Bundle]:
    """Make a bundle of flatbuffers by name, paths by task, and scores by task."""

    def make(
        flatbuffers: Mapping[str, bytes],
        paths: Mapping[str, tuple[str, ...]] | None = None,
        scores: Mapping[str, Score] | None = None,
        stripped_bytes: int = 0,
    ) -> Bundle:
        nodes = {}
        for name, data in flatbuffers.items():
            graph = read_graph(data)
            ends = [graph.tensors[one[0]].shape for one in (graph.inputs, graph.outputs)]
            specs = [TensorSpec(shape, "int8", 0.5, 0) for shape in ends]
            operators = tuple(sorted(graph.operator_names))
            whole = len(data) + stripped_bytes
            nodes[name] = Node(name, data, whole, 1, macs(data), *specs, operators)
        paths = {name: (name,) for name in nodes} if paths is None else paths
        codes, scores = np.zeros((0, 1), np.int8), scores or {}
        tasks = {
            task: BundleTask(task, path, (), codes, codes, scores.get(task))
            for task, path in paths.items()
        }
        return Bundle("small", nodes, (), tasks, InputNormalization(), {})

    return make


@pytest.fixture
def findings_of() -> Callable[..., list[Finding]]:
    """What one rule finds in a bundle, all rules having run."""

    def find(
        bundle: Bundle,
        rule: str,
        board: str = "nano33ble",
        tasks: tuple[str, ...] | None = None,
        kernels: str | None = None,
    ) -> list[Finding]:
        found = footprint(bundle, load_board(board), tasks, kernels)
        return [one for one in lint(bundle, found) if one.rule == rule]

    return find


@pytest.fixture
def flatbuffer(made) -> Callable[..., bytes]:
    """Make a flatbuffer of operators one after another, on activations of one shape."""

    def make(*operators: str, shape: tuple[int, ...] = (1, 4), seed: int = 0) -> bytes:
        writer = made.FlatbufferWriter()
        first = last = writer.tensor(shape, "INT8", 0.1, 0)
        for name in operators:
            if name == "FULLY_CONNECTED":
                last = made.dense(writer, last, shape[-1], shape[-1], 0.1, 0, seed)
                continue
            before, last = last, writer.tensor(shape, "INT8", 1 / 256, -128)
            inputs = [before, before] if name == "ADD" else [before]
            options = None
            if name == "SOFTMAX":
                options = writer.schema.SoftmaxOptionsT()
                options.beta = 1.0
            elif name == "ADD":
                options = writer.schema.AddOptionsT()
            writer.operator(name, inputs, [last], options)
        return writer.bytes([first], [last])

    return make


@pytest.fixture(scope="session")
def public_models(shared) -> dict[str, bytes]:
    """The four public models by short name."""
    names = {
        "ad01": "mlperftiny__ad01_int8",
        "kws": "mlperftiny__kws_ref_model",
        "resnet": "mlperftiny__pretrainedResnet_quant",
        "speech": "tflm__micro_speech_quantized",
    }
    return {
        name: (shared / "models" / f"{file}.tflite").read_bytes() for name, file in names.items()
    }
