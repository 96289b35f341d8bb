"""A hand-made bundle of three tasks, and what it costs on boards: for budgets and renderings."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.board import Board, load_board
from deploy.footprint import Arena, Footprint, NodeFootprint, RuntimeRom, TaskFootprint
from deploy.next_steps import Step
from deploy.verdict import BudgetReport, Check, Part, Usage, Verdict
from quantize.bundle import Bundle, BundleTask, InputNormalization, Node, Score
from quantize.tensor_spec import TensorSpec

NODES = {  # name: (bytes, stripped, operators, head, tail)
    "trunk": (9_120, 2_304, ("CONV_2D",), 6_272, 1_300),
    "digit": (5_012, 1_801, ("CONV_2D", "FULLY_CONNECTED", "SOFTMAX"), 3_712, 980),
    "orientation": (4_404, 1_790, ("CONV_2D", "FULLY_CONNECTED", "SOFTMAX"), 3_712, 964),
    "texture": (3_374, 1_702, ("DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "LOGISTIC"), 2_048, 912),
}
SCORES = {
    "digit": Score("accuracy", 0.9812, 0.9794, 450, 0.9911, 31.2, 0.08, "digit"),
    "orientation": Score("accuracy", 0.942, 0.9442, 450, 0.9867, 28.9, 0.11, "trunk"),
    "texture": Score("mae", 0.05213, 0.05377, 260, 0.9731, 30.1, 0.09, None),
}
LABELS = {"digit": tuple("0123456789"), "orientation": ("up", "left", "down", "right")}


def small_bundle() -> Bundle:
    """Four nodes whose flatbuffers are empty bytes: enough to count, not to run."""
    nodes = {
        name: Node(
            name, bytes(size), size + stripped, size // 3, 20 * size,
            TensorSpec((1, 16, 16, 1), "int8", 1 / 255, -128),
            TensorSpec((1, 10), "int8", 1 / 256, -128), operators,
        )
        for name, (size, stripped, operators, _, _) in NODES.items()
    }  # fmt: skip
    codes = np.zeros((1, 16, 16, 1), np.int8)
    tasks = {
        name: BundleTask(
            name, ("trunk", name), LABELS.get(name, ()), codes, codes[:, 0, 0], SCORES[name]
        )
        for name in SCORES
    }
    return Bundle("demo", nodes, (), tasks, InputNormalization(1 / 255), {"keras": "3.15.1"})


def footprint_of(
    board: Board, tasks: tuple[str, ...] | None = None, kernels: str | None = None
) -> Footprint:
    """Round figures for the bundle above; the code doubles on a Cortex-M0+ and with cmsis-nn."""
    tasks = tasks or tuple(SCORES)
    used = {"trunk": tasks, **{name: (name,) for name in tasks}}
    nodes = {
        name: NodeFootprint(
            name,
            NODES[name][0],
            NODES[name][1],
            {user: NODES[name][0] // len(users) for user in users},
            Arena(*NODES[name][3:], 400, 2_000, sum(NODES[name][3:]), (-0.5, 0.5), "recorded"),
        )
        for name, users in used.items()
    }
    paths = {
        name: TaskFootprint(
            name,
            ("trunk", name),
            NODES["trunk"][0] + NODES[name][0],
            sum(node.share_bytes.get(name, 0) for node in nodes.values()),
            6_272 + 1_300 + 400,
        )
        for name in tasks
    }
    by_operator = {"CONV_2D": 14_400, "FULLY_CONNECTED": 8_600, "SOFTMAX": 9_700}
    scale = 2 if board.core == "cortex-m0plus" or kernels == "cmsis-nn" else 1
    return Footprint(
        board,
        kernels or "cmsis-nn-int8",
        paths,
        nodes,
        RuntimeRom(10_896, 32_700 * scale, by_operator, (-1.0, 1.0), "measured on cortex-m4"),
        {"activations (trunk)": 6_272, "kept by the nodes": 1_000 * len(nodes), "stack": 1_500},
        sum(path.model_rom_bytes for path in paths.values()),
        (-0.6, 0.6),
        (-2.0, 3.0),
        () if board.core.startswith("cortex-m") else (f"no {board.core} build was measured",),
    )


def verdict(
    name: str,
    rom: int | None = None,
    ram: int | None = None,
    tasks: tuple[str, ...] | None = None,
    called: str | None = None,
    **settings,
) -> Verdict:
    """A check of the small bundle on a built-in board, with limits in bytes."""
    one = Check(called or name, load_board(name), tasks, rom, ram)
    found = footprint_of(one.board, tasks)
    code = (
        Part("runtime core", "runtime", found.runtime.core_bytes),
        Part("kernels", "runtime", found.runtime.kernel_bytes),
    )
    nodes = tuple(Part(node.name, "nodes", node.rom_bytes) for node in found.nodes.values())
    arena = tuple(Part(cause, "arena", size) for cause, size in found.ram_parts.items())
    return Verdict(
        one,
        small_bundle(),
        found,
        Usage("ROM", rom or one.board.rom_slot_bytes, rom is not None, nodes + code, (-0.6, 0.6)),
        Usage("RAM", ram or one.board.ram_bytes, ram is not None, arena, (-2.0, 3.0)),
        notes=found.notes,
        **settings,
    )


@pytest.fixture
def bundle() -> Bundle:
    return small_bundle()


@pytest.fixture
def small_footprint() -> Callable[..., Footprint]:
    return footprint_of


@pytest.fixture
def verdict_of() -> Callable[..., Verdict]:
    return verdict


@pytest.fixture
def report_of() -> Callable[..., BudgetReport]:
    """Make a report of the small bundle from verdicts, worst first."""

    def make(*verdicts: Verdict) -> BudgetReport:
        ordered = sorted(verdicts, key=lambda one: (one.fits, -one.percent))
        return BudgetReport(tuple(ordered))

    return make


@pytest.fixture
def one_fit(report_of) -> BudgetReport:
    return report_of(verdict("nano33ble"))


@pytest.fixture
def one_over(report_of) -> BudgetReport:
    steps = (
        Step("ROM", "ship without task digit", 10_012, True),
        Step("ROM", "do without SOFTMAX (in digit, orientation)", 6_144, False),
    )
    return report_of(verdict("nano33ble", rom=60 * 1024, ram=64 * 1024, next_steps=steps))


@pytest.fixture
def twelve(report_of) -> BudgetReport:
    over = Step("both", "take a larger board: blackpill-f411ce", 0, True)
    names = [
        "nano33ble", "nucleo-f411re", "nucleo-g071rb", "nucleo-f746zg", "nucleo-h743zi",
        "pico", "pico2", "esp32-s3", "esp32-c3", "corstone-300-fvp", "teensy41",
    ]  # fmt: skip
    close = verdict("bluepill", rom=66_000, called="release build on the small board")
    return report_of(*map(verdict, names), close, verdict("bluepill", next_steps=(over,)))


@pytest.fixture(scope="session")
def device_bundle() -> Bundle:
    """Real int8 nodes, written by hand without TensorFlow: a trunk, a classifier, a regression."""
    source = Path(__file__).parents[1] / "quantize" / "conftest.py"
    spec = importlib.util.spec_from_file_location("hand_made_nodes", source)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)

    def branch(units: int, seed: int, is_classifier: bool) -> bytes:
        writer = made.FlatbufferWriter()
        features = writer.tensor((1, 4, 4, 8), "INT8", 0.05, -128)
        shape = writer.tensor((2,), "INT32", data=np.array([-1, 128], np.int32))
        flat = writer.tensor((1, 128), "INT8", 0.05, -128)
        writer.operator("RESHAPE", [features, shape], [flat], writer.schema.ReshapeOptionsT())
        output = made.dense(writer, flat, 128, units, 0.1, 3, seed)
        if is_classifier:
            options = writer.schema.SoftmaxOptionsT()
            options.beta = 1.0
            logits, output = output, writer.tensor((1, units), "INT8", 1 / 256, -128)
            writer.operator("SOFTMAX", [logits], [output], options, 2)
        return writer.bytes([features], [output])

    writer = made.FlatbufferWriter()
    image = writer.tensor((1, 8, 8, 1), "INT8", 0.004, -128)
    wide = made.convolution(writer, image, (1, 8, 8, 1), 8, 0.04, 1)
    last = made.convolution(writer, wide, (1, 8, 8, 8), 8, 0.05, 2, "DEPTHWISE_CONV_2D", 2)
    flatbuffers = {
        "trunk": writer.bytes([image], [last]),
        "digit": branch(5, 3, True),
        "angle": branch(1, 5, False),
    }
    paths = {"digit": ("trunk", "digit"), "angle": ("trunk", "angle")}
    bundle = made.bundle_of(flatbuffers, paths)
    return replace(bundle, name="device", input_normalization=InputNormalization(1 / 255))


@pytest.fixture(scope="session")
def bundle_folder(device_bundle, tmp_path_factory) -> Path:
    """The bundle above on disk; read only."""
    return device_bundle.save(tmp_path_factory.mktemp("bundles") / "device")


@pytest.fixture
def assert_golden() -> Callable[[str, str], None]:
    """Compare text with a file of `golden/`; KERAS_TREE_WRITE_GOLDEN=1 writes the files anew."""

    def compare(text: str, name: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if os.environ.get("KERAS_TREE_WRITE_GOLDEN"):
            path.write_text(text + "\n", encoding="utf-8")
        assert text + "\n" == path.read_text(encoding="utf-8")

    return compare
