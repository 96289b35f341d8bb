"""Recompute every error that the latency model states, against counts and published timings.

    python benchmarks/latency_model.py          # prints tables; 1 if an error is larger than stated
    python benchmarks/latency_model.py --write  # writes the coefficients into the table

The fits are in `latency_counts.py` and `latency_fit.py` beside it; docs/latency.md says what the
tables mean.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

from latency_counts import (
    COUNTS,
    STANDS_FOR,
    TABLED,
    costs,
    count_errors,
    decode_costs,
    decoded_works,
    instructions_per_mac,
    model_macs,
    operator_instructions,
    other_instructions,
    predicted,
    rounded_costs,
    works,
)
from latency_fit import (
    GROUPS,
    TABLE,
    Estimator,
    by_instructions,
    by_instructions_o2,
    by_macs,
    cycles,
    cycles_per_instruction,
    derived,
    errors,
    found_band,
    rows_of,
    write_table,
)

from deploy.board import CORES
from deploy.footprint.latency_instructions import counted_build
from deploy.footprint.latency_work import MAC_KINDS


def tables() -> Iterator[tuple[str, list[list[str]]]]:
    """(title, rows of cells with a heading) of everything that docs/latency.md states."""
    yield "Combinations: what there is", _combinations()
    yield "Evidence: milliseconds of one inference", _evidence()
    yield "Instructions of one operator: model over count", _operator_errors()
    yield "Instructions of TFLM_DECODE for each weight", _decoding()
    yield "Instructions of a whole model: count over model, percent off", _whole_errors()
    yield "The same counts on cores that another stands for", _stand_in_errors()
    yield "Optimization: instructions that kernels at -O2 save, in percent", _optimization()
    yield "Published over estimated, percent off, root mean square over unseen rows", _choice()
    yield "Small models: counted instructions over estimated, percent off", _small_models()
    yield "What the estimate uses, and published over estimated in percent off", _result()
    yield "Published over estimated, percent off, by the core's coefficients", _rows_against()
    yield "Nano 33 BLE by operator: multiply-accumulates (ADD: outputs) per cycle", _by_operator()


_MODELS = ("kws", "vww", "ic", "ad", "person_detect")


def _combinations() -> list[list[str]]:
    """Cores by kernel set, whether they have a time, and whether they have instructions."""
    timed = {(entry["core"], entry["kernels"]) for entry in TABLE["cycles"]}
    found: dict[tuple[str, str, str], list[str]] = {}
    for kernels in ("cmsis-nn", "reference"):
        for core in CORES:
            if kernels == "reference" or core.startswith("cortex-m"):
                time = "yes" if (core, kernels) in timed else "no"
                count = "yes" if counted_build(core, kernels) else "no"
                found.setdefault((kernels, time, count), []).append(core)
    body = [
        [kernels, time, count, ", ".join(cores)]
        for (kernels, time, count), cores in sorted(found.items(), key=lambda i: i[0][::-1])[::-1]
    ]
    return [["kernels", "time", "instructions", "cores"], *body]


def _optimization() -> list[list[str]]:
    whole, models = COUNTS["whole"], list(COUNTS["operators"])
    body = [
        [build, *(f"{100 * (1 - whole[f'{build}-O2'][m] / whole[build][m]):.0f}" for m in models)]
        for build in TABLED
        if f"{build}-O2" in whole
    ]
    return [["build", *models], *body]


def _evidence() -> list[list[str]]:
    head = ["source", "board", "core", "MHz", "runtime", "use", *_MODELS, "why"]
    body = [
        [
            row["source"], row["board"], row["core"], str(row["mhz"]), row["runtime"], row["use"],
            *(_cell(row["milliseconds"].get(model), "") for model in _MODELS), row.get("why", ""),
        ]
        for row in TABLE["rows"]
    ]  # fmt: skip
    return [head, *body]


def _operator_errors() -> list[list[str]]:
    body = []
    for build in TABLED:
        index = COUNTS["builds"].index(build)
        for kind in costs(build):
            found = [
                abs(100 * (operator_instructions(work, build) / counts[index] - 1))
                for model in COUNTS["operators"]
                for work, counts in works(model)
                if work.name == kind
            ]
            mean = sum(found) / len(found)
            body.append([build, kind, str(len(found)), f"{mean:.1f} %", f"{max(found):.1f} %"])
        model = decode_costs(build)
        decoded = [
            abs(100 * (sum(model[q] * work.quantities.get(q, 0) for q in model) / count - 1))
            for work, count in decoded_works(build)
        ]
        mean, largest = sum(decoded) / len(decoded), max(decoded)
        body.append([build, "TFLM_DECODE", str(len(decoded)), f"{mean:.1f} %", f"{largest:.1f} %"])
    return [["build", "operator", "counted", "mean", "largest"], *body]


def _decoding() -> list[list[str]]:
    """Instructions for each weight."""
    models = [decode_costs(build) for build in ("m0plus-ref", "m4-ref", "m55-cmsis")]
    body = [
        [str(bits), *(f"{model[f'values_{bits}']:.1f}" for model in models)] for bits in (2, 3, 4)
    ]
    return [["bits of an index", "Cortex-M0+", "Cortex-M4", "Cortex-M55"], *body]


def _whole_errors() -> list[list[str]]:
    models = list(COUNTS["operators"])
    body = []
    for build in TABLED:
        found = count_errors(build)
        body.append([build, *(f"{found[model]:+.1f}" for model in models)])
    return [["build", *models], *body]


def _stand_in_errors() -> list[list[str]]:
    models = list(COUNTS["operators"])
    whole = COUNTS["whole"]
    body = [
        [other, build, *(f"{100 * (whole[other][m] / whole[build][m] - 1):+.2f}" for m in models)]
        for build, others in STANDS_FOR.items()
        for other in others
    ]
    return [["build", "stood for by", *models], *body]


def _choice() -> list[list[str]]:
    estimators: tuple[Estimator, ...] = (by_instructions, by_instructions_o2, by_macs)
    body = [
        [_group(core, chip), *(f"{errors(core, build, chip, e).rms:.1f}" for e in estimators)]
        for core, build, chip in GROUPS
    ]
    return [["for", "instructions, -Os", "instructions, -O2", "cycles per MAC"], *body]


def _small_models() -> list[list[str]]:
    body = []
    for build in TABLED:
        for model in ("sww", "T", "B"):
            per_mac = other_instructions(model, build) + sum(
                instructions_per_mac(kind, build) * count
                for kind, count in model_macs(model).items()
                if count
            )
            counted = COUNTS["whole"][build][model]
            body.append([
                build, model, _signed(count_errors(build)[model]),
                _signed(100 * (counted / per_mac - 1)),
            ])  # fmt: skip
    return [["build", "model", "by the cost models", "by instructions per MAC"], *body]


def _result() -> list[list[str]]:
    body = []
    for (core, build, chip), entry in zip(GROUPS, derived(), strict=True):
        found = errors(core, build, chip, by_instructions)
        per_mac = [f"{entry['cycles_per_mac'][kind]:.2f}" for kind in MAC_KINDS]
        low, high = entry["error_percent"]
        body.append([
            _group(core, chip), f"{entry['cycles_per_instruction']:.2f}", *per_mac,
            *(_range(e) for e in (found.leave_model_out, found.leave_board_out, found.older)),
            f"{low:+d} ... {high:+d}",
        ])  # fmt: skip
    head = ["for", "cycles per instruction", "per MAC: conv", "depthwise", "fully connected"]
    return [[*head, "a model left out", "a board left out", "older rows", "stated"], *body]


def _rows_against() -> list[list[str]]:
    builds = {core: build for core, build, chip in GROUPS if chip is None}
    body = []
    for row in TABLE["rows"]:
        if row["use"] == "left out" or row["core"] not in builds:
            continue
        build = builds[row["core"]]
        estimate = by_instructions(rows_of(row["core"], None, "fit"), build)
        found = {m: 100 * (cycles(row, m) / estimate(m) - 1) for m in row["milliseconds"]}
        cells = [_signed(found[model]) if model in found else "" for model in _MODELS]
        body.append([row["board"], row["runtime"], row["use"], *cells])
    return [["board", "runtime", "use", *_MODELS], *body]


def _by_operator() -> list[list[str]]:
    """Per-operator timings that mcufit-bench gives over its four models."""
    published = {
        "CONV_2D": 0.1899, "DEPTHWISE_CONV_2D": 0.0630, "FULLY_CONNECTED": 0.1863, "ADD": 0.0083,
    }  # fmt: skip
    level = cycles_per_instruction(rows_of("cortex-m4", "nRF52840", "fit"), "m4-cmsis")
    body = []
    for kind, value in published.items():
        chosen = [
            work
            for model in ("person_detect", "kws", "ic", "ad")
            for work, _ in works(model)
            if work.name == kind
        ]
        amount = sum(work.macs or work.quantities["outputs"] for work in chosen)
        taken = level * sum(operator_instructions(work, "m4-cmsis") for work in chosen)
        estimate = amount / taken
        off = f"{_signed(100 * (estimate / value - 1))} %"
        body.append([kind, f"{value:.4f}", f"{estimate:.4f}", off])
    return [["operator", "published", "estimated", "too fast by"], *body]


def _group(core: str, chip: str | None) -> str:
    return core if chip is None else f"{core}, {chip}"


def _cell(value: float | None, absent: str) -> str:
    return absent if value is None else f"{value:g}"


def _signed(percent: float) -> str:
    return f"{round(percent):+d}"


def _range(values: Sequence[float]) -> str:
    return f"{_signed(min(values))} ... {_signed(max(values))}" if values else "none"


def is_as_stated() -> bool:
    """Whether the table holds what is found here, every band at least as wide as the errors."""
    sound = TABLE["instructions"] == rounded_costs() and len(TABLE["cycles"]) == len(GROUPS)
    for (core, build, chip), entry in zip(GROUPS, TABLE["cycles"], strict=False):
        low, high = entry["error_percent"]
        found_low, found_high = found_band(core, build, chip)
        found = cycles_per_instruction(rows_of(core, chip, "fit"), build)
        for row in rows_of(core, chip, "check"):
            off = [
                100 * (cycles(row, m) / (found * predicted(m, build)) - 1)
                for m in _MODELS
                if m in row["milliseconds"]
            ]
            sound &= low <= min(off) and max(off) <= high
        sound &= math.isclose(entry["cycles_per_instruction"], found, rel_tol=1e-3)
        sound &= low <= found_low and found_high <= high
    return sound


def main(arguments: Sequence[str] = ()) -> int:
    if "--write" in arguments:
        write_table()
        return 0
    for title, rows in tables():
        print(f"\n{title}\n")
        head, *body = rows
        for cells in (head, ["---"] * len(head), *body):
            print("| " + " | ".join(cells) + " |")
    sound = is_as_stated()
    print("\nevery error is within what is stated" if sound else "\nAN ERROR IS LARGER THAN STATED")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
