"""`keras-tree run`: one task of a bundle on this machine, on TensorFlow Lite Micro."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.commands.usage import FITS, UsageError, as_usage_error, near_name

if TYPE_CHECKING:
    import numpy as np

    from quantize.bundle import Bundle, BundleTask

SUMMARY = "run one task of a bundle on this machine, bit for bit as the device does"
USAGE = "BUNDLE --task NAME --input FILE [options]"
DESCRIPTION = """\
Run the nodes on one task's path, trunk first, on TensorFlow Lite Micro (on LiteRT's reference
kernels where its wheel does not install), and print the outputs.

The input is a .npy array or an image. An array of floats is the network's input, of int8 its
codes, of other integers raw values; raw values and images go through the input normalization that
stands in the bundle's manifest. An image is resized and converted to the trunk's channels (needs
Pillow).
"""
EPILOG = """\
examples:
  keras-tree run demo-output/bundle --task digit --input seven.png
  keras-tree run demo-output/bundle --task texture --input patches.npy --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command to `parser`."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the bundle's folder")
    parser.add_argument("--task", required=True, metavar="NAME", help="the task to run")
    parser.add_argument(
        "--input", required=True, type=Path, metavar="FILE", help="a .npy array or an image"
    )
    parser.add_argument(
        "--top", type=int, default=3, metavar="N", help="how many labels to show (default: 3)"
    )
    parser.add_argument(
        "--backend", choices=["tflm", "litert"], help="the interpreter (default: tflm if installed)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run one task on the samples of one file."""
    from deploy.sample_input import SampleError, read_codes
    from quantize.bundle import Bundle, BundleError
    from quantize.interpreter import InterpreterError

    if arguments.top < 1:
        raise UsageError(f"`--top` must be at least 1, received {arguments.top}. Try `--top 3`.")
    with as_usage_error(BundleError, SampleError, OSError):
        bundle = Bundle.load(arguments.bundle)
        if arguments.task not in bundle.tasks:
            raise UsageError(
                f"`--task` must be a task of the bundle, received '{arguments.task}'. "
                + near_name(arguments.task, bundle.tasks, "tasks")
            )
        codes, done = read_codes(arguments.input, bundle)
    backend = chosen_backend(arguments.backend)
    with as_usage_error(InterpreterError):
        outputs = bundle.run(arguments.task, codes, backend)
    task = bundle.tasks[arguments.task]
    samples = [describe(output, task, bundle) for output in outputs]
    if arguments.json:
        say(json.dumps(as_json(bundle, task, backend, done, samples), indent=2))
    else:
        say(as_text(bundle, task, backend, done, samples, arguments.top))
    return FITS


def chosen_backend(wanted: str | None) -> str:
    """The interpreter to run on.

    Raises:
        UsageError: TensorFlow Lite Micro is asked for and its wheel is not installed.
    """
    from quantize.interpreter import tflm_version

    if wanted == "tflm" and tflm_version() is None:
        raise UsageError(
            "`--backend tflm` needs the wheel tflite_micro, which is not installed here. "
            "Use `--backend litert`: its results are within one step of the device's."
        )
    return wanted or ("litert" if tflm_version() is None else "tflm")


def describe(output: np.ndarray, task: BundleTask, bundle: Bundle) -> dict[str, Any]:
    """One sample's output: int8 codes, dequantised values, and its classes by falling probability.

    Args:
        output: int8 codes of the last node's output, without the batch axis.
        task: the task that was run.
        bundle: its bundle.
    """
    spec = bundle.nodes[task.path[-1]].output
    values = spec.dequantize(output)
    told: dict[str, Any] = {"codes": output.tolist(), "values": values.tolist(), "classes": []}
    # The TFLite 8-bit quantization specification fixes this scale and zero point for the outputs of
    # SOFTMAX and LOGISTIC: such an output is a probability.
    is_probability = spec.scale == 1 / 256 and spec.zero_point == -128
    is_regression = task.score is not None and task.score.metric == "mae"
    if values.ndim != 1 or is_regression or not (is_probability or task.labels):
        return told
    labels = task.labels or tuple(str(index) for index in range(len(values)))
    if is_probability and len(values) == 1 and len(labels) == 2:
        values = spec.dequantize(output).repeat(2)
        values[0] = 1 - values[0]
    if len(labels) != len(values):
        labels = tuple(str(index) for index in range(len(values)))
    order = sorted(range(len(values)), key=lambda index: -values[index])
    told["classes"] = [
        {
            "label": labels[index],
            "index": index,
            "value": float(values[index]),
            "probability": float(values[index]) if is_probability else None,
        }
        for index in order
    ]
    return told


def as_json(
    bundle: Bundle, task: BundleTask, backend: str, done: str, samples: list[dict[str, Any]]
) -> dict[str, Any]:
    """Everything that was computed, for programs."""
    return {
        "schema_version": 1,
        "bundle": bundle.name,
        "task": task.name,
        "path": list(task.path),
        "backend": backend,
        "input": done,
        "samples": samples,
    }


def as_text(
    bundle: Bundle,
    task: BundleTask,
    backend: str,
    done: str,
    samples: list[dict[str, Any]],
    top: int,
) -> str:
    """The same for people: a block for one sample, a line each for several."""
    names = {"tflm": "TensorFlow Lite Micro", "litert": "LiteRT's reference kernels"}
    lines = [
        f"{bundle.name}: task {task.name}, {' > '.join(task.path)}, on {names[backend]}",
        f"input: {done}",
        "",
    ]
    if len(samples) == 1:
        return "\n".join(lines + _one_sample(samples[0], top))
    width = len(str(len(samples) - 1))
    label_width = max((len(label) for label in task.labels), default=1)
    for number, sample in enumerate(samples):
        classes = sample["classes"][:top]
        cells = [f"{entry['label']:{label_width}} {_amount(entry):>6}" for entry in classes]
        lines.append(f"{number:{width}}  {'   '.join(cells) or _values(sample)}")
    return "\n".join(lines)


def _one_sample(sample: dict[str, Any], top: int) -> list[str]:
    """Label, probability with a bar, and value, one class a line."""
    if not sample["classes"]:
        return [f"output: {_values(sample)}"]
    shown = sample["classes"][:top]
    width = max(len(entry["label"]) for entry in shown)
    lines = []
    for entry in shown:
        bar = "#" * round(20 * (entry["probability"] or 0))
        lines.append(f"  {entry['label']:{width}}  {_amount(entry):>6}  {bar}".rstrip())
    return [*lines, "", f"output: {_values(sample)}"]


def _amount(entry: dict[str, Any]) -> str:
    """A probability in percent, or else the value."""
    if entry["probability"] is None:
        return f"{entry['value']:.4g}"
    return f"{100 * entry['probability']:.1f}%"


def _values(sample: dict[str, Any], limit: int = 12) -> str:
    """The dequantised output, shortened."""
    import numpy as np

    values = np.asarray(sample["values"])
    flat = values.ravel()
    shown = ", ".join(f"{value:.4g}" for value in flat[:limit])
    if len(flat) <= limit:
        return shown
    shape = "x".join(map(str, values.shape))
    return f"{shown}, ... ({shape} values, {flat.min():.4g} to {flat.max():.4g}; --json prints all)"
