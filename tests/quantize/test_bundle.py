"""The bundle as a value: its parts, its paths, its selection, its runs on the host."""

import json
import re
import subprocess
import sys
import textwrap
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from quantize.bundle import Bundle, BundleError, InputNormalization, Score, Seam
from quantize.interpreter import ArenaRecording, run_path


def test_contract_is_the_text_that_the_documentation_states():
    seam = Seam("s", (1, 8, 8, 16), float(np.float32(0.05)), -128, ("trunk",), ("leaf",))
    assert seam.contract == "int8;1,8,8,16;3d4ccccd;-128"
    # printf 'int8;1,8,8,16;3d4ccccd;-128' | sha256sum
    assert seam.contract_sha256 == (
        "d17ea0f75b92fcb2eb40fcb6a4d585e8b5d5ed3a10537da0bd76e9dd058ea3fc"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (1, 8, 16, 8)},
        {"scale": float(np.nextafter(np.float32(0.05), np.float32(1)))},
        {"zero_point": 3},
    ],
)
def test_contract_changes_with_shape_scale_and_zero_point(change):
    before = Seam("s", (1, 8, 8, 16), float(np.float32(0.05)), -128, ("a",), ("b",))
    assert before.contract_sha256 != replace(before, **change).contract_sha256


def test_contract_does_not_depend_on_the_names_of_nodes():
    first = Seam("s", (1, 4), 0.5, 0, ("a",), ("b",))
    second = Seam("t", (1, 4), 0.5, 0, ("c",), ("d", "e"))
    assert first.contract_sha256 == second.contract_sha256


def test_normalization_scales_then_shifts():
    pixels = np.array([0, 128, 255], np.uint8)
    network_input = InputNormalization(1 / 127.5, -1.0).apply(pixels)
    assert network_input.dtype == np.float32
    np.testing.assert_allclose(network_input, [-1, 128 / 127.5 - 1, 1], atol=1e-6)


def test_save_and_load_give_the_same_bundle(small_bundle, tmp_path):
    folder = small_bundle.save(tmp_path / "bundle")
    assert folder == tmp_path / "bundle"
    assert Bundle.load(folder) == small_bundle
    assert Bundle.load(str(folder), verify_golden=True) == small_bundle


def test_equality_sees_one_changed_golden_code(small_bundle):
    task = small_bundle.tasks["digit"]
    outputs = task.golden_outputs.copy()
    outputs[0, 0] ^= 1
    assert replace(task, golden_outputs=outputs) != task
    assert replace(task, golden_outputs=task.golden_outputs.copy()) == task


def test_two_saves_give_the_same_bytes(small_bundle, tmp_path):
    first = files_of(small_bundle.save(tmp_path / "first"))
    second = files_of(Bundle.load(tmp_path / "first").save(tmp_path / "second"))
    assert first == second
    assert sorted(first) == [
        "golden/angle.npz",
        "golden/digit.npz",
        "manifest.json",
        "nodes/angle.tflite",
        "nodes/digit.tflite",
        "nodes/mid.tflite",
        "nodes/trunk.tflite",
    ]


def files_of(folder):
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_path_nodes_are_in_running_order(small_bundle):
    assert [n.name for n in small_bundle.path_nodes("angle")] == ["trunk", "mid", "angle"]


@pytest.mark.parametrize("verb", ["path_nodes", "select"])
def test_unknown_task_offers_the_near_one(small_bundle, verb):
    with pytest.raises(BundleError, match=r"no task 'digits'\. Did you mean 'digit'"):
        getattr(small_bundle, verb)("digits")


def test_unknown_task_without_a_near_one_lists_all(small_bundle):
    with pytest.raises(BundleError, match="It has: digit, angle"):
        small_bundle.run("zzz", np.zeros((1, 8, 8, 1), np.int8))


def test_selected_task_keeps_only_its_nodes_and_seams(small_bundle, tmp_path):
    digit = small_bundle.select(["digit"])
    assert list(digit.nodes) == ["trunk", "digit"]
    assert [(seam.producers, seam.consumers) for seam in digit.seams] == [(("trunk",), ("digit",))]
    assert Bundle.load(digit.save(tmp_path / "digit"), verify_golden=True) == digit


def test_selection_keeps_the_seams_contract(small_bundle):
    contracts = {seam.contract_sha256 for seam in small_bundle.seams}
    assert {s.contract_sha256 for s in small_bundle.select("digit").seams} < contracts


def test_selecting_all_tasks_changes_nothing(small_bundle):
    assert small_bundle.select(["angle", "digit"]) == small_bundle


def test_selecting_nothing_is_refused(small_bundle):
    with pytest.raises(BundleError, match="`tasks` must name at least one"):
        small_bundle.select([])


def test_run_is_the_chain_of_flatbuffers(small_bundle):
    task = small_bundle.tasks["angle"]
    chain = [small_bundle.nodes[name].data for name in task.path]
    outputs = small_bundle.run("angle", task.golden_inputs)
    np.testing.assert_array_equal(outputs, run_path(chain, task.golden_inputs))
    np.testing.assert_array_equal(outputs, task.golden_outputs)


def test_predict_takes_the_networks_input_and_gives_real_numbers(small_bundle):
    task, trunk = small_bundle.tasks["angle"], small_bundle.nodes["trunk"]
    x = trunk.input.dequantize(task.golden_inputs)
    predicted = small_bundle.predict("angle", x)
    assert predicted.dtype == np.float32
    expected = small_bundle.nodes["angle"].output.dequantize(task.golden_outputs)
    np.testing.assert_array_equal(predicted, expected)


def test_predict_of_one_sample_without_a_batch_axis_is_refused(small_bundle):
    with pytest.raises(ValueError, match=r"`x` must have the shape \(n, \*\(8, 8, 1\)\) .* got"):
        small_bundle.predict("angle", np.zeros((8, 8, 1), np.float32))


def test_codes_from_raw_apply_the_normalization_and_predict_does_not(small_bundle):
    raw = np.array([[0, 255]], np.uint8)
    trunk = small_bundle.nodes["trunk"].input
    # raw / 255 - 0.5 is -0.5 and 0.5; scale 0.02 and zero point -5 give -30 and 20.
    np.testing.assert_array_equal(small_bundle.codes_from_raw(raw), [[-30, 20]])
    np.testing.assert_array_equal(trunk.quantize(raw), [[-5, 127]])


def test_golden_vectors_replay(small_bundle):
    small_bundle.verify_golden()


def test_a_changed_weight_fails_the_replay(small_bundle):
    damaged = with_golden(small_bundle, "digit", lambda codes: codes + (codes < 127))
    with pytest.raises(BundleError, match=r"task 'digit'.*bit for bit on tflm; vector 0.*must be"):
        damaged.verify_golden()


def test_between_two_interpreters_one_lsb_is_taken_for_equal(small_bundle):
    def on_other_interpreter(change):
        bundle = with_golden(small_bundle, "digit", change)
        task = replace(bundle.tasks["digit"], golden_backend="litert")
        return replace(bundle, tasks=bundle.tasks | {"digit": task})

    on_other_interpreter(lambda codes: codes + (codes < 127)).verify_golden("tflm")
    with pytest.raises(BundleError, match="within 1 LSB on tflm"):
        on_other_interpreter(lambda codes: codes + 2 * (codes < 126)).verify_golden("tflm")


def with_golden(bundle, name, change):
    task = bundle.tasks[name]
    changed = replace(task, golden_outputs=change(task.golden_outputs).astype(np.int8))
    return replace(bundle, tasks=bundle.tasks | {name: changed})


def test_loading_imports_no_interpreter_and_no_framework(small_bundle, tmp_path):
    folder = small_bundle.save(tmp_path / "bundle")
    script = (
        "import sys; from quantize.bundle import Bundle; Bundle.load(sys.argv[1]);"
        "heavy = {'tensorflow', 'keras', 'tflite_micro', 'ai_edge_litert.interpreter'};"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", script, str(folder)]
    subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parents[2])


DOCUMENTATION = Path(__file__).parents[2] / "docs" / "bundle.md"


def test_every_field_of_the_manifest_is_documented(small_bundle, tmp_path):
    manifest = json.loads((small_bundle.save(tmp_path / "b") / "manifest.json").read_text("utf-8"))
    node, task = manifest["nodes"]["trunk"], manifest["tasks"]["digit"]
    score = {field.name for field in fields(Score)}
    arena = {field.name for field in fields(ArenaRecording)}
    used = {*manifest, *node, *node["input"], *task, *task["golden"], *manifest["seams"]["mid"]}
    text = DOCUMENTATION.read_text(encoding="utf-8")
    assert {name for name in used | score | arena if f"`{name}`" not in text} == set()


def test_the_examples_of_the_documentation_run(small_bundle, tmp_path, monkeypatch):
    small_bundle.save(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    names = {"raw": np.zeros((2, 8, 8, 1), np.uint8)}
    for block in re.findall(r"(?:^    .*\n|^\n)+", DOCUMENTATION.read_text("utf-8"), re.MULTILINE):
        if "import " in block:
            exec(textwrap.dedent(block), names)
    assert (tmp_path / "outputs.bin").stat().st_size == 3 * 5
    assert names["outputs"].shape == names["values"].shape == (2, 5)
    assert names["outputs"].dtype == np.int8
