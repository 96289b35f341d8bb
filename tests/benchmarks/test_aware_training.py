"""The comparison of trained forms: what its rows are of, whichever of them are asked for."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import aware_training
from benchmarks.aware_training import FORMS, Problem, bundle_of, run

DATA = {"digit": (np.zeros((4, 2), np.float32), np.zeros(4, int))}
PROBLEM = Problem("digits", None, DATA, DATA, DATA)


def bundle(rom_bytes):
    return SimpleNamespace(nodes={"trunk": SimpleNamespace(rom_bytes=rom_bytes)})


@pytest.mark.parametrize("first", ["lut4", "searched"])
def test_a_search_gets_its_share_of_the_bytes_of_int8_whatever_ran_before(monkeypatch, first):
    asked = []

    def quantize(tree, samples, **more):
        asked.append(more)
        return bundle(800 if more.get("precision") == "lut4" else 1000)

    def outcome(problem, form, seed, steps, int8_bytes):
        made = bundle_of(problem, form, seed, steps, int8_bytes)[0]
        return SimpleNamespace(node_bytes=made.nodes["trunk"].rom_bytes, lost=0.0, seconds=0.0)

    monkeypatch.setattr(aware_training, "quantize", quantize)
    monkeypatch.setattr(aware_training, "outcome", outcome)
    forms = [form for form in FORMS if form.name == first] + [FORMS[-1]]
    list(run([(0, lambda: PROBLEM)], forms, 1, lambda line: None))
    assert asked[-1]["rom"] == 750


def test_a_training_that_failed_is_no_row(monkeypatch):
    failed = SimpleNamespace(trained=None, kept=False, failure="the losses must stay finite")
    monkeypatch.setattr(aware_training, "tune", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match=r"int8, QAT of digits .* the losses must stay finite"):
        bundle_of(PROBLEM, FORMS[1], 0, 1, 0)
