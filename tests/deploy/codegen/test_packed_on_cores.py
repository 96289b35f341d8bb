"""Packed weights on emulated cores: TensorFlow Lite Micro's outputs, and the bytes saved."""

import dataclasses
import sys
from functools import cache

import numpy as np
import pytest

from deploy.codegen import compile_bundle
from deploy.codegen.packing import packed_code_bytes
from deploy.emulation.build import build_image
from deploy.emulator import TARGETS, Measurement, measure_build
from deploy.firmware_folder.figures import MOST_STACK_BYTES, MOST_UNPACKING_STACK_BYTES
from deploy.models import load_models
from quantize.interpreter import open_interpreter

CORES = ("cortex-m0plus", "cortex-m4", "cortex-m33", "cortex-m55")
SEEDS = (1, 5, 8, 9, 12, 20, 21, 47)
COUNT = 4
compiling = sys.modules["deploy.codegen.compile_bundle"]
blocks = sys.modules["deploy.codegen.blocks"]
packing = sys.modules["deploy.codegen.packing"]


@pytest.fixture(scope="module")
def bundle(load, flatbuffer_writer, tmp_path_factory):
    """Random networks with packed weights, each a task of its own, with golden vectors of TFLM."""
    networks, folder = load("packed_networks.py"), tmp_path_factory.mktemp("nodes")
    paths = []
    for seed in SEEDS:
        paths.append(folder / f"net{seed}.tflite")
        net = networks.packed_network(flatbuffer_writer(), seed)
        paths[-1].write_bytes(networks.flatbuffer(net))
    made = load_models(paths)
    tasks = {}
    for name, task in made.tasks.items():
        interpreter = open_interpreter(made.nodes[task.path[0]].data, "tflm")
        shape = (COUNT, *interpreter.input.shape[1:])
        codes = np.random.default_rng(0).integers(-128, 128, shape, np.int8)
        tasks[name] = dataclasses.replace(
            task, golden_inputs=codes, golden_outputs=interpreter.run(codes)
        )
    return dataclasses.replace(made, tasks=tasks)


@pytest.fixture(scope="module")
def measured(bundle, tmp_path_factory):
    """What a program of the bundle takes on a core; an output that is not golden is an error."""

    def run(core: str, pack_weights: str) -> Measurement:
        program = compile_bundle(bundle, TARGETS[core].isa, pack_weights=pack_weights)
        golden = {
            name: (task.golden_inputs, task.golden_outputs) for name, task in bundle.tasks.items()
        }
        folder = tmp_path_factory.mktemp(f"{core}-{pack_weights}")
        build = build_image(program, golden, core, folder)
        return measure_build(bundle, build)

    return cache(run)


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_every_core_gives_the_outputs_of_tflm(core, measured, bundle):
    found = measured(core, "auto")
    assert {task.vectors for task in found.tasks.values()} == {COUNT}
    assert any("packed" in one.kernel for task in found.tasks.values() for one in task.operators)
    assert found.stack_bytes <= MOST_STACK_BYTES[found.isa] + MOST_UNPACKING_STACK_BYTES


@pytest.mark.slow
@pytest.mark.parametrize(
    ("core", "optimize"), [*((core, "-O2") for core in CORES), ("cortex-m0plus", "-O0")]
)
def test_every_core_gives_them_in_small_blocks(core, optimize, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 16)
    monkeypatch.setattr(blocks, "STRIP_BYTES", 24)
    monkeypatch.setattr(compiling, "rooms", lambda plan, paths: {})
    monkeypatch.setattr(compiling, "packed_code_bytes", lambda functions: 0)
    monkeypatch.setattr(packing, "packed_code_bytes", lambda functions: 0)
    program = compile_bundle(bundle, TARGETS[core].isa)
    assert any("kt_packed" in name for name in program.kernels)
    golden = {
        name: (task.golden_inputs, task.golden_outputs) for name, task in bundle.tasks.items()
    }
    found = measure_build(bundle, build_image(program, golden, core, tmp_path, optimize=optimize))
    assert {task.vectors for task in found.tasks.values()} == {COUNT}
    assert found.stack_bytes <= MOST_STACK_BYTES[found.isa] + MOST_UNPACKING_STACK_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_packing_saves_flash_and_its_code_is_within_the_bound(core, measured):
    packed, plain = measured(core, "auto"), measured(core, "never")
    assert packed.rom_bytes < plain.rom_bytes
    kernels = {one.kernel for task in packed.tasks.values() for one in task.operators} | {
        part.name for part in packed.rom_parts
    }
    grown = [found.rom_by_kind()["kernel"] for found in (packed, plain)]
    assert 0 < grown[0] - grown[1] <= packed_code_bytes(kernels)
