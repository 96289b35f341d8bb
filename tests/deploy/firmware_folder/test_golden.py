"""Models without golden vectors get some, or fail their self-test and say why."""

from dataclasses import replace

from folder_building import STRICT, make, written

from deploy.firmware import firmware
from deploy.firmware_folder.golden import with_golden_vectors
from deploy.models import load_models

KWS = "mlperftiny__kws_ref_model.tflite"


def test_a_model_alone_gets_vectors(shared, nano33ble, tmp_path):
    made = firmware(load_models([shared / "models" / KWS]), nano33ble)
    assert made.untested == ()
    told = make(written(made, tmp_path / "firmware"), "test").stdout
    assert "4 of 4 vectors equal" in told
    assert told.endswith("PASS\n")


def test_without_vectors_the_self_test_does_not_pass(
    device_bundle, nano33ble, tmp_path, monkeypatch
):
    monkeypatch.setattr("quantize.interpreter.tflm_version", lambda: None)
    none = {
        name: replace(
            task, golden_inputs=task.golden_inputs[:0], golden_outputs=task.golden_outputs[:0]
        )
        for name, task in device_bundle.tasks.items()
    }
    some = {**device_bundle.tasks, "angle": none["angle"]}
    for number, tasks in enumerate((none, some)):
        made = firmware(replace(device_bundle, tasks=tasks), nano33ble)
        assert made.untested == (("digit", "angle") if tasks is none else ("angle",))
        folder = written(made, tmp_path / str(number))
        done = make(folder, "test", f"CFLAGS={STRICT}", check=False)
        assert done.returncode == 2
        assert "golden angle: no golden vectors, not tested\n" in done.stdout
        assert done.stdout.endswith("FAIL\n")
        assert "- angle: no golden vectors, so" in (folder / "README.md").read_text()


def test_vectors_of_litert_are_computed_anew(device_bundle):
    task = device_bundle.tasks["digit"]
    near = replace(task, golden_outputs=task.golden_outputs ^ 1, golden_backend="litert")
    found = with_golden_vectors(
        replace(device_bundle, tasks={**device_bundle.tasks, "digit": near})
    )
    assert found.tasks["digit"] == task
