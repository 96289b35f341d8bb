"""A hand-made bundle of three tasks, its reports, and a small bundle that runs on a device."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from deploy.footprint import Footprint
from deploy.next_steps import Step
from deploy.verdict import BudgetReport, Verdict
from quantize.bundle import Bundle, InputNormalization

HERE = Path(__file__).parent


def loaded(path: Path) -> ModuleType:
    """A file beside the tests as a module; `tests` itself is no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = loaded(HERE / "made_bundle.py")
reports = loaded(HERE / "made_reports.py")
loaded(HERE / "made_pages.py")
loaded(HERE / "made_forms.py")
action = loaded(HERE / "action_runner.py")
verdict = made.verdict


@pytest.fixture
def bundle() -> Bundle:
    return made.small_bundle()


@pytest.fixture
def small_footprint() -> Callable[..., Footprint]:
    return made.footprint_of


@pytest.fixture
def verdict_of() -> Callable[..., Verdict]:
    return verdict


@pytest.fixture
def report_of() -> Callable[..., BudgetReport]:
    """Make a report of the small bundle from verdicts, worst first."""
    return reports.report


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


@pytest.fixture
def grown() -> BudgetReport:
    """With a baseline: one check GREW by more than is allowed, one shrank, one is new."""
    return reports.grown_report()


@pytest.fixture
def timed() -> BudgetReport:
    """With latency: one check over its limit, one close to it, one without limit, one unknown."""
    return reports.timed_report()


@pytest.fixture
def with_margin() -> BudgetReport:
    """Limits with a margin: one check over only because of it, one that fits."""
    return reports.margin_report()


@pytest.fixture
def linted() -> BudgetReport:
    """With seven findings of the lint."""
    return reports.linted_report()


@pytest.fixture
def mixed() -> BudgetReport:
    """With nodes of int8, lookup tables, int4 and 16x8."""
    return reports.mixed_report()


@pytest.fixture
def two_bundles() -> BudgetReport:
    """Two bundles, "kws" and "vision", on two boards each; findings for both."""
    return reports.two_bundles_report()


@pytest.fixture
def with_image() -> BudgetReport:
    """ROM read from a linked image, and a time, a baseline and a margin besides."""
    return reports.image_report()


@pytest.fixture
def full() -> BudgetReport:
    """All at once: two bundles with a baseline, times, margins, a linked image and findings."""
    return reports.full_report()


@pytest.fixture(scope="session")
def device_bundle() -> Bundle:
    """Real int8 nodes, written by hand without TensorFlow: a trunk, a classifier, a regression."""
    nodes = made.loaded_writer()

    def branch(units: int, seed: int, is_classifier: bool) -> bytes:
        writer = nodes.FlatbufferWriter()
        features = writer.tensor((1, 4, 4, 8), "INT8", 0.05, -128)
        shape = writer.tensor((2,), "INT32", data=np.array([-1, 128], np.int32))
        flat = writer.tensor((1, 128), "INT8", 0.05, -128)
        writer.operator("RESHAPE", [features, shape], [flat], writer.schema.ReshapeOptionsT())
        output = nodes.dense(writer, flat, 128, units, 0.1, 3, seed)
        if is_classifier:
            options = writer.schema.SoftmaxOptionsT()
            options.beta = 1.0
            logits, output = output, writer.tensor((1, units), "INT8", 1 / 256, -128)
            writer.operator("SOFTMAX", [logits], [output], options, 2)
        return writer.bytes([features], [output])

    writer = nodes.FlatbufferWriter()
    image = writer.tensor((1, 8, 8, 1), "INT8", 0.004, -128)
    wide = nodes.convolution(writer, image, (1, 8, 8, 1), 8, 0.04, 1)
    last = nodes.convolution(writer, wide, (1, 8, 8, 8), 8, 0.05, 2, "DEPTHWISE_CONV_2D", 2)
    flatbuffers = {
        "trunk": writer.bytes([image], [last]),
        "digit": branch(5, 3, True),
        "angle": branch(1, 5, False),
    }
    paths = {"digit": ("trunk", "digit"), "angle": ("trunk", "angle")}
    bundle = nodes.bundle_of(flatbuffers, paths)
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


@pytest.fixture
def runner(tmp_path):
    """A stand-in for GitHub's runner, with an empty workspace."""
    return action.Runner(tmp_path)


@pytest.fixture
def with_bundle(runner, bundle_folder):
    """The same, its workspace with a bundle at build/bundle."""
    shutil.copytree(bundle_folder, runner.workspace / "build" / "bundle")
    return runner
