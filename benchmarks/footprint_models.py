"""Recompute every error that the footprint models state, against the measured tables.

    python benchmarks/footprint_models.py

Measured: images that were linked (`deploy/footprint/rom_table.json`) and arenas on emulated cores
(`benchmarks/measured_arenas.json`); how is in the tables and in docs/footprint.md. Exits with 1
when an error is larger than stated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from deploy.footprint.arena import ARENA_ALIGNMENT, NodeMemory, node_memory, shared_objects_bytes
from deploy.footprint.cores import measured_core
from deploy.footprint.kernel_buffers import KernelSet
from deploy.footprint.rom import runtime_rom
from deploy.footprint.shared_arena import share_arena
from deploy.footprint.structs import struct_sizes
from quantize.flatbuffer import Graph, Operator, Quantization, Tensor

ROOT = Path(__file__).resolve().parents[1]
ARENAS = json.loads((ROOT / "benchmarks" / "measured_arenas.json").read_text(encoding="utf-8"))
IMAGES = json.loads((ROOT / "deploy" / "footprint" / "rom_table.json").read_text(encoding="utf-8"))


def measured_graph(name: str) -> Graph:
    """The graph of a measured node: everything that memory depends on, without weights."""
    node = ARENAS["nodes"][name]
    tensors = tuple(_tensor(i, *row) for i, row in enumerate(node["tensors"]))
    operators = tuple(_operator(i, *row) for i, row in enumerate(node["operators"]))
    return Graph(tensors, operators, tuple(node["inputs"]), tuple(node["outputs"]), 1)


def measured_memory(name: str, build: str) -> NodeMemory:
    """A measured node, simulated for the core and kernels of a build."""
    core, kernels = ARENAS["builds"][build]
    uses_cmsis_nn, stand_in = kernels != "reference", measured_core(core)
    kernel_set = KernelSet(
        uses_cmsis_nn, uses_cmsis_nn and stand_in.has_dsp, uses_cmsis_nn and stand_in.has_mve
    )
    return node_memory(measured_graph(name), struct_sizes(short_enums=True), kernel_set)


def image_errors(linked: str = "linked") -> Iterator[tuple[str, str, float]]:
    """(build, set, percent by which the linked image differs from the estimate)."""
    for key, build in IMAGES["builds"].items():
        core, kernels = key.split("/")
        for name, size in build.get(linked, {}).items():
            operators = [_operator_name(row) for row in IMAGES["sets"][name]]
            kernel_set = kernels + "-int8" * name.endswith("_int8")
            estimate = runtime_rom(operators, core, kernel_set).rom_bytes
            yield key, name, 100 * (size / estimate - 1)


def _operator_name(row: str) -> str:
    """What `runtime_rom` calls a row of the table: "CONV_2D", "CONV_2D:INT4"."""
    operator, _, form = row.rpartition("_INT")
    return row if not operator else operator if form == "8" else f"{operator}:INT{form}"


def arena_errors() -> Iterator[tuple[str, str, int, int | None]]:
    """(build, node, error of head and tail in bytes, error of the minimum or None)."""
    shared_bytes = shared_objects_bytes(struct_sizes(short_enums=True))
    for name, node in ARENAS["nodes"].items():
        for build, measured in node["measured"].items():
            memory = measured_memory(name, build)
            arena = share_arena((memory,), shared_bytes)
            yield build, name, *_errors(arena.used_bytes, arena.minimum_bytes, measured)


def shared_arena_errors() -> Iterator[tuple[str, str, int, int | None]]:
    """The same for several nodes in one allocator."""
    shared_bytes = shared_objects_bytes(struct_sizes(short_enums=True))
    for case in ARENAS["shared"]:
        for build, measured in case["measured"].items():
            memories = tuple(measured_memory(name, build) for name in case["nodes"])
            arena = share_arena(memories, shared_bytes)
            name = " + ".join(case["nodes"])
            yield build, name, *_errors(arena.used_bytes, arena.minimum_bytes, measured)


def _errors(used: int, minimum: int, measured: Sequence[int]) -> tuple[int, int | None]:
    used_error = used - sum(measured[:2])
    return used_error, minimum - measured[2] if len(measured) > 2 else None


def _tensor(
    index: int, shape: list[int], dtype: str, scales: int, constant: int, variable: int = 0
) -> Tensor:
    quantization = Quantization((1.0,) * scales, (0,), 0) if scales else None
    data = b"\0" if constant else None
    return Tensor(index, "", tuple(shape), dtype, quantization, data, bool(variable))


def _operator(
    index: int,
    name: str,
    inputs: list[int],
    outputs: list[int],
    options: Mapping[str, Any] | None = None,
) -> Operator:
    fields = SimpleNamespace(**options) if options else None
    return Operator(index, name, tuple(inputs), tuple(outputs), fields, 1)


def _report_images() -> bool:
    errors = list(image_errors())
    print(f"ROM: {len(errors)} linked images against the union of sections, stated +-1 %")
    for build in IMAGES["builds"]:
        own = [error for key, _, error in errors if key == build]
        print(f"  {build:28} {min(own):+.2f} ... {max(own):+.2f} %  ({len(own)} images)")
    faster = [error for _, _, error in image_errors("linked_with_O2_kernels")]
    print(f"  kernels at -O2, not modelled: {min(faster):+.1f} ... {max(faster):+.1f} %")
    return all(abs(error) <= 1 for _, _, error in errors)


def _report_arenas() -> bool:
    sound = True
    for title, cases in (("one node", arena_errors()), ("several nodes", shared_arena_errors())):
        errors = list(cases)
        print(f"RAM, {title} in an arena: stated 0 B for head and tail, 0 to 16 B for the minimum")
        for build in ARENAS["builds"]:
            used = [error for key, _, error, _ in errors if key == build]
            least = [e for key, _, _, e in errors if key == build and e is not None]
            if not used:
                continue
            text = f"{min(least)} ... {max(least)} B" if least else "not measured"
            print(f"  {build:12} {min(used):+d} ... {max(used):+d} B, minimum {text} ({len(used)})")
            sound &= min(used) == max(used) == 0
            sound &= not least or (min(least) >= 0 and max(least) <= ARENA_ALIGNMENT)
    return sound


def main() -> int:
    images, arenas = _report_images(), _report_arenas()
    print("every error is within what is stated" if images and arenas else "AN ERROR IS LARGER")
    return 0 if images and arenas else 1


if __name__ == "__main__":
    sys.exit(main())
