"""A bundle as plain C on a core: measured, with the figures of TensorFlow Lite Micro beside it.

Belongs here: bundles, and where figures come from. Does not belong here: tables and targets
(`runtime.py`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploy.emulator import TARGETS, Measurement, measure
from deploy.footprint import instructions, node_arena, runtime_rom
from deploy.models import load_models
from quantize.bundle import Bundle
from quantize.flatbuffer import read_graph
from quantize.interpreter import open_interpreter
from quantize.strip import strip
from quantize.wire.anatomy import anatomy

FIGURES = json.loads(
    Path(__file__).with_name("tflm_runtime_figures.json").read_text(encoding="utf-8")
)
FILES = {
    "kws": "mlperftiny__kws_ref_model",
    "resnet": "mlperftiny__pretrainedResnet_quant",
    "ad": "mlperftiny__ad01_int8",
    "micro_speech": "tflm__micro_speech_quantized",
}
DEMO = "demo"
CORES = tuple(core for core in TARGETS if core != "cortex-m3")
KERNELS = "cmsis-nn-int8"
REFERENCE, REFERENCE_OS = "reference -O2", "reference -Os"
CMSIS_NN, CMSIS_NN_OS = "cmsis-nn -O2", "cmsis-nn -Os"


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What TensorFlow Lite Micro takes for a bundle on a core, in bytes.

    Args:
        code: Of the runtime with CMSIS-NN and int8-only registrations, without start-up code.
        reference_code: The same with reference kernels.
        flatbuffers: Of the stripped flatbuffers, what is neither weight nor bias.
        head: The largest head of the nodes' arenas, with CMSIS-NN.
        arena: Head and tails; several nodes share the allocator's own objects.
        stack: The deepest that was measured; None where none was.
    """

    code: int
    reference_code: int
    flatbuffers: int
    head: int
    arena: int
    stack: int | None


@dataclasses.dataclass(frozen=True)
class Result:
    """A bundle on a core.

    Args:
        model: Its name here.
        ours: What was measured.
        weights: Bytes of weights and biases.
        theirs: None for a core on which TensorFlow Lite Micro was not measured.
        counted: Instructions of one inference, by build of TensorFlow Lite Micro.
        estimated: The same where they were not counted: by cost models, kernels at -Os; reference
            kernels at -O2 on Cortex-M0+ by what they save on Cortex-M4.
    """

    model: str
    ours: Measurement
    weights: int
    theirs: Runtime | None
    counted: dict[str, int]
    estimated: dict[str, int]

    @property
    def overhead(self) -> int:
        """Bytes in flash besides weights and biases."""
        return self.ours.rom_bytes - self.weights

    @property
    def instructions(self) -> int:
        """Of the task that takes the most."""
        return max(task.instructions for task in self.ours.tasks.values())


def public_model(model: str, folder: Path) -> Bundle:
    """A public model with one golden vector, made by TensorFlow Lite Micro on random codes."""
    bundle = load_models([folder / f"{FILES[model]}.tflite"])
    (node,), ((name, task),) = bundle.nodes.values(), bundle.tasks.items()
    interpreter = open_interpreter(node.data, "tflm")
    shape = (1, *interpreter.input.shape[1:])
    codes = np.random.default_rng(0).integers(-128, 128, shape, dtype=np.int8)
    golden = dataclasses.replace(task, golden_inputs=codes, golden_outputs=interpreter.run(codes))
    return dataclasses.replace(bundle, tasks={name: golden})


def demo_bundle(folder: Path | None = None) -> Bundle:
    """A bundle of the demo's tree, with one golden vector a task.

    Args:
        folder: One that `keras-tree demo` made; without it, the tree is quantized untrained, with
            biases that are drawn.
    """
    bundle = _untrained_demo() if folder is None else Bundle.load(folder)
    tasks = {
        name: dataclasses.replace(
            task, golden_inputs=task.golden_inputs[:1], golden_outputs=task.golden_outputs[:1]
        )
        for name, task in bundle.tasks.items()
    }
    return dataclasses.replace(bundle, tasks=tasks)


def _untrained_demo() -> Bundle:
    import keras

    from deploy.demo import demo_datasets, demo_tree
    from quantize import quantize

    keras.utils.set_random_seed(0)
    tree, chance = demo_tree(), np.random.default_rng(0)
    for variable in tree.trainable_variables:
        if variable.name == "bias":  # training would not leave them zero, and all equal
            variable.assign(chance.normal(0.0, 0.05, variable.shape))
    samples = {name: split.x_train[:40] for name, split in demo_datasets().items()}
    return quantize(tree, samples, name=DEMO)


def compare(model: str, bundle: Bundle, core: str) -> Result:
    """Measure a bundle on a core, and look up TensorFlow Lite Micro's figures."""
    stripped = [strip(node.data) for node in bundle.nodes.values()]
    parts = [anatomy(data) for data in stripped]
    weights = sum(part["weights"] + part["biases"] for part in parts)
    is_known = core in FIGURES["empty_program"]
    return Result(
        model,
        measure(bundle, core),
        weights,
        _runtime(model, stripped, weights, core) if is_known else None,
        _counted(model, core),
        _estimated(model, bundle, core) if is_known else {},
    )


def _counted(model: str, core: str, figure: str = "instructions") -> dict[str, int]:
    """Of a model on a core, what was measured, by build."""
    builds = FIGURES[figure].get(core, {})
    return {build: models[model] for build, models in builds.items() if model in models}


def _runtime(model: str, stripped: Sequence[bytes], weights: int, core: str) -> Runtime:
    operators = {one.name for data in stripped for one in read_graph(data).operators}
    code, reference = (
        runtime_rom(operators, core, kernels).rom_bytes - FIGURES["empty_program"][core]
        for kernels in (KERNELS, "reference")
    )
    arenas = [node_arena(data, core, KERNELS) for data in stripped]
    head = max(arena.head_bytes for arena in arenas)
    tails = arenas[0].tail_bytes + sum(arena.tenant_tail_bytes for arena in arenas[1:])
    stacks = _counted(model, core, "stack")
    stack = stacks.get(CMSIS_NN, stacks.get(CMSIS_NN_OS))
    beyond = sum(map(len, stripped)) - weights
    return Runtime(code, reference, beyond, head, head + tails, stack)


def _estimated(model: str, bundle: Bundle, core: str) -> dict[str, int]:
    counted, on_m4 = _counted(model, core), _counted(model, "cortex-m4")
    if counted:
        saved = on_m4[REFERENCE] / on_m4[REFERENCE_OS]
        missing = REFERENCE not in counted
        return {REFERENCE: round(counted[REFERENCE_OS] * saved)} if missing else {}
    found = {}
    for kernels, build in (("reference", REFERENCE_OS), (KERNELS, CMSIS_NN_OS)):
        counts = [
            instructions({name: bundle.nodes[name] for name in task.path}, core, kernels)
            for task in bundle.tasks.values()
        ]
        known = [count for count in counts if count is not None]
        if known:
            found[build] = max(known)
    return found
