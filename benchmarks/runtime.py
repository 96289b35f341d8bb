"""ROM, RAM and instructions of the plain-C runtime, beside those of TensorFlow Lite Micro.

    python -m benchmarks.runtime                              # tables; 1 if a target is missed
    python -m benchmarks.runtime --core cortex-m4 --model kws --model ad
    python -m benchmarks.runtime --bundle demo-output/bundle  # the demo as it was trained
    python -m benchmarks.runtime --write                      # the tables in the guide

Each bundle is compiled to C, built with -O2 and run on an emulated core, where its output is
compared with that of TensorFlow Lite Micro. What TensorFlow Lite Micro takes is its measured code
and its simulated arena (`deploy.footprint`), and instructions that were counted on emulated cores
(`tflm_runtime_figures.json`). docs/plain_c_figures.md holds the tables and says what they mean.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.runtime_figures import (
    CMSIS_NN,
    CMSIS_NN_OS,
    CORES,
    DEMO,
    FILES,
    REFERENCE,
    REFERENCE_OS,
    Result,
    compare,
    demo_bundle,
    public_model,
)

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "plain_c_figures.md"
CONVOLUTION_NETWORKS = ("kws", "resnet")

MOST_ROM = 0.3
MOST_RAM = 1.0
MOST_INSTRUCTIONS_ON_M4 = 0.35
MOST_INSTRUCTIONS = 1.0

Table = list[list[str]]
Ratios = list[tuple[float, str]]


def tables(results: Sequence[Result]) -> Iterator[tuple[str, Table]]:
    """(title, rows of cells with a heading)."""
    yield "ROM, bytes", _rom(results)
    yield "RAM, bytes", _ram(results)
    yield "Instructions of one inference", _instructions(results)
    yield "Targets", _targets(results)


def _rom(results: Iterable[Result]) -> Table:
    head = ["model", "core", "ROM", "weights and biases", "the rest", "of it kernels"]
    head += ["TFLM, the rest: CMSIS-NN", "reference", "to CMSIS-NN", "to reference"]
    body = []
    for one in results:
        kernels = sum(one.ours.rom_by_kind().get(kind, 0) for kind in ("kernel", "library"))
        row = [one.ours.rom_bytes, one.weights, one.overhead, kernels]
        cells = [_number(value) for value in row]
        if one.theirs:
            codes = (one.theirs.code, one.theirs.reference_code)
            theirs = [one.theirs.flatbuffers + code for code in codes]
            cells += [_number(value) for value in theirs]
            cells += [_ratio(one.overhead, value) for value in theirs]
        body.append(_row(one, cells, head))
    return [head, *body]


def _ram(results: Iterable[Result]) -> Table:
    head = ["model", "core", "static RAM", "stack", "TFLM with CMSIS-NN: head", "head and tail"]
    head += ["stack", "to head", "with stack, to all of it"]
    body = []
    for one in results:
        static, stack, its = one.ours.static_ram_bytes, one.ours.stack_bytes, one.theirs
        cells = [_number(static), _number(stack)]
        if its:
            cells += [_number(value) for value in (its.head, its.arena, its.stack)]
            cells.append(_ratio(static, its.head))
            cells.append(_ratio(static + stack, its.stack and its.arena + its.stack))
        body.append(_row(one, cells, head))
    return [head, *body]


def _instructions(results: Iterable[Result]) -> Table:
    builds = (REFERENCE_OS, REFERENCE, CMSIS_NN_OS, CMSIS_NN)
    head = ["model", "core", "plain C, -O2", *(f"TFLM {build}" for build in builds)]
    head += ["to reference", "to CMSIS-NN"]
    body = []
    for one in results:
        cells = [_number(one.instructions)]
        for build in builds:
            guess = one.estimated.get(build)
            cells.append(f"~{guess:,}" if guess else _number(one.counted.get(build)))
        for best, other in ((REFERENCE, REFERENCE_OS), (CMSIS_NN, CMSIS_NN_OS)):
            theirs = one.counted.get(best, one.counted.get(other))
            cells.append(_ratio(one.instructions, theirs))
        body.append(_row(one, cells, head))
    return [head, *body]


def _targets(results: Sequence[Result]) -> Table:
    return [
        ["target", "at most", "largest", "where", "verdict"],
        *([name, f"{most}x", *_verdict(found, most)] for name, most, found in ratios(results)),
    ]


def ratios(results: Sequence[Result]) -> list[tuple[str, float, Ratios]]:
    """(target, its limit, [(ratio, model and core)]) of everything that was measured."""
    tabled = [(one, one.theirs, f"{one.model}, {one.ours.core}") for one in results if one.theirs]
    counted, estimated, on_m4 = [], [], []
    for one, _, at in tabled:
        reference = one.counted.get(REFERENCE, one.counted.get(REFERENCE_OS))
        if reference:
            counted.append((one.instructions / reference, at))
        if REFERENCE in one.estimated:
            estimated.append((one.instructions / one.estimated[REFERENCE], at))
        if one.ours.core == "cortex-m4" and one.model in CONVOLUTION_NETWORKS:
            on_m4.append((one.instructions / one.counted[REFERENCE], at))
    return [
        (
            "ROM besides weights and biases, to TFLM's with CMSIS-NN",
            MOST_ROM,
            [(one.overhead / (its.code + its.flatbuffers), at) for one, its, at in tabled],
        ),
        (
            "static RAM, to the head of TFLM's arena with CMSIS-NN",
            MOST_RAM,
            [(one.ours.static_ram_bytes / its.head, at) for one, its, at in tabled],
        ),
        (
            f"instructions of {' and '.join(CONVOLUTION_NETWORKS)} on Cortex-M4, to reference "
            "kernels at -O2",
            MOST_INSTRUCTIONS_ON_M4,
            on_m4,
        ),
        ("instructions on any core, to reference kernels", MOST_INSTRUCTIONS, counted),
        (
            "instructions on Cortex-M0+, to reference kernels at -O2, estimated",
            MOST_INSTRUCTIONS,
            estimated,
        ),
    ]


def _verdict(found: Ratios, most: float) -> tuple[str, str, str]:
    if not found:
        return "", "", "not measured"
    largest, where = max(found)
    return f"{largest:.3f}x", where, "reached" if largest <= most else "MISSED"


def is_reached(results: Sequence[Result]) -> bool:
    """Whether no target is missed."""
    return all(ratio <= most for _, most, found in ratios(results) for ratio, _ in found)


def markdown(table: Table) -> str:
    """A table's lines."""
    head, *body = table
    rows = (head, ["---"] * len(head), *body)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def guide_with(text: str, found: Iterable[tuple[str, Table]]) -> str:
    """The guide with other tables under its headings.

    Raises:
        ValueError: A heading is not there.
    """
    for title, table in found:
        place = re.compile(rf"(?<=^## {re.escape(title)}\n\n)(\|.*\n)*", re.M)
        text, count = place.subn(markdown(table) + "\n", text, count=1)
        if not count:
            raise ValueError(f"The guide must hold '## {title}' before a table, and does not.")
    return text


def _row(one: Result, cells: list[str], head: Sequence[str]) -> list[str]:
    return [one.model, one.ours.core, *cells, *[""] * (len(head) - 2 - len(cells))]


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _ratio(ours: int, theirs: int | None) -> str:
    return f"{ours / theirs:.2f}x" if theirs else ""


def _models_folder() -> Path:
    return Path(os.environ.get("KERAS_TREE_SHARED", ROOT.parent / "shared")) / "models"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", action="append", choices=CORES, help="all without it")
    parser.add_argument("--model", action="append", choices=[*FILES, DEMO], help="all without it")
    parser.add_argument("--models", type=Path, default=_models_folder(), help="their folder")
    parser.add_argument("--bundle", type=Path, help="of the demo; of its untrained tree without it")
    parser.add_argument("--write", action="store_true", help="write the tables into the guide")
    options = parser.parse_args(arguments)
    if options.write and (options.core or options.model or options.bundle):
        parser.error("--write is for all models on all cores: leave the other options out")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    results = []
    for model in options.model or [*FILES, DEMO]:
        is_demo = model == DEMO
        bundle = demo_bundle(options.bundle) if is_demo else public_model(model, options.models)
        results += [compare(model, bundle, core) for core in options.core or CORES]
    for title, table in tables(results):
        print(f"\n{title}\n\n{markdown(table)}")
    if options.write:
        text = GUIDE.read_text(encoding="utf-8")
        GUIDE.write_text(guide_with(text, tables(results)), encoding="utf-8")
    return 0 if is_reached(results) else 1


if __name__ == "__main__":
    sys.exit(main())
