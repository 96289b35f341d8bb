"""What packed weights save and cost in plain C: ROM, RAM and instructions with and without them.

    python -m benchmarks.packed_weights --models FOLDER                  # the table
    python -m benchmarks.packed_weights --models FOLDER --model kws --form lut2 --core cortex-m0plus
    python -m benchmarks.packed_weights --models FOLDER --write          # the table in the guide

The weights of public models are brought to few values per channel, or to codes of int4; what is
left of their accuracy is not the matter here. Every program is compiled with -O2 and run on an
emulated core, and its output is TensorFlow Lite Micro's.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.runtime_figures import FILES, public_model
from deploy.emulator import TARGETS, Measurement, measure
from deploy.footprint.ram import node_arena
from quantize.bundle import Bundle
from quantize.flatbuffer import pack, read_graph, unpack
from quantize.interpreter import open_interpreter
from quantize.precision.clustering import clustered
from quantize.precision.lookup_tables import with_lookup_tables

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "plain_c.md"
MODELS = ("kws", "resnet", "ad")
BITS = {"lut4": 4, "lut3": 3, "lut2": 2}
FORMS = (*BITS, "int4")
HEAD = ("model", "weights", "ROM, int8", "packed", "", "RAM, int8", "packed", "TFLM with DECODE",
        "instructions, int8", "packed", "")  # fmt: skip

_CHANNEL_AXES = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
_LARGEST_INT4 = 7


@dataclasses.dataclass(frozen=True)
class Row:
    """A model on a core, with its weights as int8 codes and packed.

    Args:
        model: Its name.
        form: One of `FORMS`.
        plain: With `pack_weights="never"`.
        packed: With `pack_weights="auto"`.
        decoding_arena_bytes: The head of the arena in which TensorFlow Lite Micro decodes the same
            weights; None where it has them as int4.
    """

    model: str
    form: str
    plain: Measurement
    packed: Measurement
    decoding_arena_bytes: int | None

    def cells(self) -> list[str]:
        """The row as text, in the order of `HEAD`."""
        plain, packed = (_instructions(one) for one in (self.plain, self.packed))
        arena = self.decoding_arena_bytes
        return [
            f"`{self.model}`", self.form,
            f"{self.plain.rom_bytes:,}", f"{self.packed.rom_bytes:,}",
            f"{self.packed.rom_bytes / self.plain.rom_bytes - 1:+.0%}",
            f"{self.plain.buffer_bytes:,}", f"{self.packed.buffer_bytes:,}",
            "-" if arena is None else f"{arena:,}",
            f"{plain:,}", f"{packed:,}", f"x {packed / plain:.2f}",
        ]  # fmt: skip


def few_valued(bundle: Bundle, form: str) -> Bundle:
    """A bundle of one node with the weights of a form, and golden outputs of its own."""
    ((name, node),), ((task_name, task),) = bundle.nodes.items(), bundle.tasks.items()
    graph, model = read_graph(node.data), unpack(node.data)
    for operator in (one for one in graph.operators if one.name in _CHANNEL_AXES):
        tensor, axis = graph.tensors[operator.inputs[1]], _CHANNEL_AXES[operator.name]
        codes = np.frombuffer(tensor.data or b"", np.int8).reshape(tensor.shape)
        channels = np.moveaxis(codes, axis, 0)
        changed = np.moveaxis(np.stack([_of_form(one, form) for one in channels]), 0, axis)
        place = model.subgraphs[0].tensors[tensor.index].buffer
        model.buffers[place].data = np.frombuffer(changed.tobytes(), np.uint8)
    for code in model.operatorCodes:  # these files are older than the field
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    data = pack(model)
    golden = open_interpreter(data, "tflm").run(task.golden_inputs)
    return dataclasses.replace(
        bundle,
        nodes={name: dataclasses.replace(node, data=data)},
        tasks={task_name: dataclasses.replace(task, golden_outputs=golden)},
    )


def _of_form(channel: np.ndarray, form: str) -> np.ndarray:
    """A channel's codes as few values: int8 of its shape."""
    if form in BITS:
        return clustered(channel, 2 ** BITS[form])
    largest = max(1, int(np.abs(channel.astype(int)).max()))
    return np.round(channel / largest * _LARGEST_INT4).astype(np.int8)


def measured(model: str, form: str, core: str, folder: Path) -> Row:
    """Measure one model with one form of weights on a core."""
    bundle = few_valued(public_model(model, folder), form)
    plain, packed = (measure(bundle, core, pack_weights=one) for one in ("never", "auto"))
    ((node,), (task,)) = bundle.nodes.values(), bundle.tasks.values()
    arena = None
    if form in BITS:
        compressed = with_lookup_tables(node.data, BITS[form], task.golden_inputs)
        arena = node_arena(compressed, core, "reference").head_bytes
    return Row(model, form, plain, packed, arena)


def _instructions(measurement: Measurement) -> int:
    return max(task.instructions for task in measurement.tasks.values())


def table(rows: Iterable[Row]) -> str:
    """The rows as Markdown."""
    lines = [HEAD, ["---", "---", *["--:"] * (len(HEAD) - 2)], *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines) + "\n"


def guide_with(text: str, written: str) -> str:
    """The guide with another table."""
    found = re.search(r"^\| model \| weights \| ROM.*\n(?:\|.*\n)*", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{GUIDE} must hold the table of packed weights, and does not.")
    return text[: found.start()] + written + text[found.end() :]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--models", type=Path, required=True, help="the folder of public models")
    parser.add_argument("--model", action="append", choices=sorted(FILES))
    parser.add_argument("--form", action="append", choices=FORMS)
    parser.add_argument("--core", default="cortex-m4", choices=sorted(TARGETS))
    parser.add_argument("--write", action="store_true", help="write the table into the guide")
    given = parser.parse_args(arguments)
    if given.write and (given.model or given.form or given.core != "cortex-m4"):
        parser.error("--write takes all models and forms on cortex-m4")
    rows = [
        measured(model, form, given.core, given.models)
        for model in given.model or MODELS
        for form in given.form or FORMS
    ]
    print(table(rows), end="")
    if given.write:
        text = guide_with(GUIDE.read_text(encoding="utf-8"), table(rows))
        GUIDE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
