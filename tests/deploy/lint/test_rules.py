"""All rules together: order, wording, speed, and files that are odd but readable."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_forms import few_valued, stored, with_int4, with_int16, with_tables

from deploy.board import load_board
from deploy.footprint import footprint
from deploy.lint import RULES, Finding, lint, rules
from deploy.lint.finding import listed
from quantize.flatbuffer import FlatbufferError, read_graph

NANO = load_board("nano33ble")
ROOT = Path(__file__).resolve().parents[3]


def test_most_saved_first_then_the_order_of_the_rules(monkeypatch, device_bundle):
    def finds(name, *saved):
        return lambda *_: iter([Finding(name, (), "", "", "ROM", size) for size in saved])

    monkeypatch.setattr(
        rules, "RULES", {"a": finds("a", 0, 5), "b": finds("b", 9, 5), "c": finds("c", 0, 7)}
    )
    found = lint(device_bundle, footprint(device_bundle, NANO))
    order = [(finding.rule, finding.saved_bytes) for finding in found]
    assert order == [("b", 9), ("c", 7), ("a", 5), ("b", 5), ("a", 0), ("c", 0)]


def test_what_is_found_in_a_small_tree(device_bundle):
    found = lint(device_bundle, footprint(device_bundle, NANO))
    assert [finding.rule for finding in found] == [
        "replaceable-softmax",
        "wide-seam",
        "strip-savings",
    ]


def test_findings_are_short_sentences_by_known_rules(public_models, bundle_of, device_bundle):
    forms = {"trunk": with_int4, "digit": with_tables, "angle": with_int16}
    bundles = [device_bundle, bundle_of(public_models), bundle_of({"a": public_models["kws"]})]
    bundles.append(stored(device_bundle, **forms))
    bundles.append(bundle_of({f"speech-{i}": few_valued(public_models["speech"]) for i in "ab"}))
    found = [one for bundle in bundles for one in lint(bundle, footprint(bundle, NANO))]
    assert len(found) > 9
    assert {"costly-compression", "costly-precision"} <= {one.rule for one in found}
    for one in found:
        assert one.rule in RULES
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", one.rule)
        assert one.where
        assert set(one.where) <= {name for bundle in bundles for name in bundle.nodes}
        assert 10 < len(one.text) < 200
        is_done = one.rule == "strip-savings" and not one.saved_bytes
        assert not one.advice if is_done else 10 < len(one.advice) < 120
        assert not one.text.endswith(".")
        assert not one.advice.endswith(".")
        assert one.memory in ("", "ROM", "RAM", "time")
        assert one.saved_bytes >= 0


@pytest.mark.parametrize(
    ("names", "text"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcd", "4 nodes")],
)
def test_names_in_a_sentence(names, text):
    assert listed(tuple(names)) == text


@pytest.mark.parametrize("name", ["kws", "speech"])
def test_no_rule_fails_on_a_readable_file(public_models, bundle_of, name):
    """Bits flipped anywhere; what the reader takes, every rule must take."""
    data, random = public_models[name], np.random.default_rng(11)
    whole, judged = bundle_of({"a": data, "b": data}), 0
    found = footprint(whole, NANO)
    for _ in range(250):
        mutated = bytearray(data)
        for place in random.integers(0, len(data), random.integers(1, 40)):
            mutated[place] ^= 1 << random.integers(8)
        try:
            graph = read_graph(bytes(mutated))
        except FlatbufferError:
            continue
        node = replace(
            whole.nodes["a"],
            data=bytes(mutated),
            unstripped_bytes=len(mutated),
            operators=tuple(sorted(graph.operator_names)),
        )
        odd = replace(whole, nodes={**whole.nodes, "a": node})
        if graph.operator_names <= set(whole.nodes["a"].operators):
            lint(odd, found)
            judged += 1
    assert judged > 20


def test_ten_nodes_take_a_fraction_of_the_gate_s_second(public_models, bundle_of):
    names = list(public_models)
    nodes = {
        # A byte behind the end makes a flatbuffer of its own, which no cache knows.
        f"node{index}": public_models[names[index % 4]] + bytes([index] * 16)
        for index in range(10)
    }
    bundle = bundle_of(nodes)
    found = footprint(bundle, NANO)
    start = time.process_time()
    lint(bundle, found)
    assert time.process_time() - start < 0.5


def test_lint_needs_numpy_alone(bundle_folder):
    code = (
        "import sys\n"
        "for name in ('ai_edge_litert', 'flatbuffers', 'tensorflow', 'tflite_micro', 'keras'):\n"
        "    sys.modules[name] = None\n"
        "from deploy.board import load_board\n"
        "from deploy.footprint import footprint\n"
        "from deploy.lint import lint\n"
        "from quantize.bundle import Bundle\n"
        "bundle = Bundle.load(sys.argv[1])\n"
        "found = lint(bundle, footprint(bundle, load_board('nano33ble')))\n"
        "print(*[finding.rule for finding in found])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(bundle_folder)],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert run.stdout.split() == ["replaceable-softmax", "wide-seam", "strip-savings"]
