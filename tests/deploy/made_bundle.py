"""A hand-made bundle, its footprint and verdicts on built-in boards: what `conftest.py` gives.

Figures are round and need no model of ROM, RAM or time, so that golden files change with the
renderings only.
"""

import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from deploy.board import Board, load_board
from deploy.comparison.baseline import BaselineCheck
from deploy.footprint import Arena, Footprint, NodeFootprint, RuntimeRom, TaskFootprint
from deploy.footprint.latency import Latency
from deploy.units import parse_allowance
from deploy.usage import Part, Timing, Usage
from deploy.verdict import Check, Verdict
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


TIMES_US = {"trunk": 9_100.0, "digit": 2_400.0, "orientation": 2_150.0, "texture": 1_050.0}
"""Of a node at 64 MHz."""


def loaded_writer():
    """What writes flatbuffers for the tests of `quantize`."""
    source = Path(__file__).parents[1] / "quantize" / "conftest.py"
    spec = importlib.util.spec_from_file_location("hand_made_nodes", source)
    nodes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nodes)
    return nodes


@lru_cache(maxsize=1)
def _flatbuffers() -> dict[str, bytes]:
    """A readable flatbuffer of the wanted size per node: one layer, bytes of nothing behind it."""
    nodes, found = loaded_writer(), {}
    for seed, (name, (size, *_)) in enumerate(NODES.items()):
        writer = nodes.FlatbufferWriter()
        length = (size - 2_000) // 10
        features = writer.tensor((1, length), "INT8", 0.05, -128)
        output = nodes.dense(writer, features, length, 10, 0.1, 3, seed)
        data = writer.bytes([features], [output])
        found[name] = data + bytes(size - len(data))
    return found


def small_bundle(name: str = "demo") -> Bundle:
    """Four nodes: enough to count and to read, not to run."""
    flatbuffers = _flatbuffers()
    nodes = {
        name: Node(
            name, flatbuffers[name], size + stripped, size // 3, 20 * size,
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
    return Bundle(name, nodes, (), tasks, InputNormalization(1 / 255), {"keras": "3.15.1"})


def latency_of(path: tuple[str, ...], board: Board) -> Latency:
    """Time at the board's clock, three quarters of it convolution; a second opinion 5 % higher."""
    by_node = {name: TIMES_US[name] * 64e6 / board.clock_hz for name in path}
    total = sum(by_node.values())
    by_operator = {"CONV_2D": 0.75 * total, "FULLY_CONNECTED": 0.2 * total, "SOFTMAX": 0.05 * total}
    instructions = round(total * board.clock_hz / 1e6 * 0.8)
    return Latency(
        total, (-15.0, 20.0), "MLPerf Tiny v1.2, 4 models", by_node, by_operator, instructions,
        1.05 * total,
    )  # fmt: skip


def footprint_of(
    board: Board,
    tasks: tuple[str, ...] | None = None,
    kernels: str | None = None,
    is_timed: bool = False,
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
            latency_of(("trunk", name), board) if is_timed else None,
        )
        for name in tasks
    }
    code = {"CONV_2D": 14_400, "FULLY_CONNECTED": 8_600, "SOFTMAX": 9_700}
    scale = 2 if board.core == "cortex-m0plus" or kernels == "cmsis-nn" else 1
    by_operator = {name: scale * size for name, size in code.items()}
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
        all_paths_arena_bytes=6_272 + 1_000 * len(nodes),
        one_path_arena_bytes=6_272 + 1_300 + 400,
        latency=latency_of(tuple(nodes), board) if is_timed else None,
    )


def verdict(
    name: str,
    rom: int | None = None,
    ram: int | None = None,
    tasks: tuple[str, ...] | None = None,
    called: str | None = None,
    *,
    bundle: Bundle | None = None,
    margin: str = "0 B",
    is_timed: bool = False,
    limit_us: float | None = None,
    before: BaselineCheck | None = None,
    growth: Mapping[str, str] | None = None,
    image: Mapping[str, int] | None = None,
    **settings,
) -> Verdict:
    """A check of the small bundle on a built-in board, with limits in bytes and microseconds.

    `margin` and the values of `growth` ("rom", "ram", "latency") are texts, as in a budget file;
    `image` holds the ROM sections of a linked image; `settings` are those of `Verdict`.
    """
    growth = {
        key: parse_allowance(text, key, key == "latency") for key, text in (growth or {}).items()
    }
    margin = parse_allowance(margin, "margin")
    one = Check(
        called or name, load_board(name), tasks, rom, ram, margin=margin, allow_growth=growth,
        latency_limit_us=limit_us, bundle="" if bundle is None else bundle.name,
        image=None if image is None else Path("build/firmware.elf"),
    )  # fmt: skip
    found = footprint_of(one.board, tasks, is_timed=is_timed)
    usages = {
        "rom": (_rom_parts(found, image), (0.0, 0.0) if image else (-0.6, 0.6)),
        "ram": (tuple(Part(*part) for part in _arena_parts(found)), (-2.0, 3.0)),
    }
    limits = {"rom": one.board.rom_slot_bytes, "ram": one.board.ram_bytes}
    made = {}
    for key, (parts, band) in usages.items():
        own = {"rom": rom, "ram": ram}[key]
        usable = own or limits[key]
        was = None if before is None else getattr(before, f"{key}_bytes")
        allowed = None if was is None or key not in growth else int(growth[key].of(was))
        made[key] = Usage(
            key.upper(),
            usable,
            own is not None,
            parts,
            band,
            round(margin.of(usable)),
            was,
            allowed,
        )
    return Verdict(
        one,
        small_bundle() if bundle is None else bundle,
        found,
        made["rom"],
        made["ram"],
        _timing(one, found, before),
        notes=found.notes,
        baseline=before,
        **settings,
    )


def _rom_parts(found: Footprint, image: Mapping[str, int] | None) -> tuple[Part, ...]:
    if image is not None:
        return tuple(Part(name, "image", size) for name, size in image.items())
    return (
        *(Part(node.name, "nodes", node.rom_bytes) for node in found.nodes.values()),
        Part("runtime core", "runtime", found.runtime.core_bytes),
        Part("kernels", "runtime", found.runtime.kernel_bytes),
    )


def _arena_parts(found: Footprint):
    return [(cause, "arena", size) for cause, size in found.ram_parts.items()]


def _timing(one: Check, found: Footprint, before: BaselineCheck | None) -> Timing | None:
    slowest = found.slowest_task
    if slowest is None:
        return None
    limit, was = one.latency_limit_us, None if before is None else before.latency_us
    allowed = one.allow_growth.get("latency")
    return Timing(
        slowest.name, slowest.latency, limit, (limit or 0.0) * one.margin.percent / 100, was,
        None if was is None or allowed is None else allowed.of(was),
    )  # fmt: skip
