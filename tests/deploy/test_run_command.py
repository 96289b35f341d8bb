"""`keras-tree run`: what an input file becomes, and how the outputs are told."""

import json
from dataclasses import replace

import numpy as np
import pytest

from deploy.cli import main
from deploy.sample_input import SampleError, read_codes
from quantize.bundle import InputNormalization


def saved(folder, array, name="x.npy"):
    np.save(folder / name, array)
    return folder / name


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (1, 8, 8), (3, 8, 8), (3, 8, 8, 1)])
def test_an_axis_of_one_and_the_batch_may_be_missing(device_bundle, tmp_path, shape):
    codes, _ = read_codes(saved(tmp_path, np.zeros(shape, np.int8)), device_bundle)
    assert codes.shape == (shape[0] if shape[0] == 3 else 1, 8, 8, 1)
    assert codes.dtype == np.int8


def test_raw_values_normalised_floats_and_codes_are_the_same_input(device_bundle, tmp_path, image):
    spec = device_bundle.nodes["trunk"].input
    as_float = image.astype(np.float32) / np.float32(255)
    forms = [image, image.astype(np.int64), as_float, spec.quantize(as_float)]
    codes = [read_codes(saved(tmp_path, form), device_bundle)[0] for form in forms]
    for other in codes[1:]:
        assert np.array_equal(codes[0], other)


def test_an_image_is_resized_and_converted(device_bundle, tmp_path, image):
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(image).save(tmp_path / "same.png")
    exact, _ = read_codes(tmp_path / "same.png", device_bundle)
    assert np.array_equal(exact, read_codes(saved(tmp_path, image), device_bundle)[0])
    pillow.fromarray(np.full((30, 20, 3), 200, np.uint8)).save(tmp_path / "large.png")
    flat, done = read_codes(tmp_path / "large.png", device_bundle)
    assert done.startswith("large.png, image of 30x20 RGB as 8x8x1")
    assert np.array_equal(flat, np.full((1, 8, 8, 1), flat[0, 0, 0, 0]))


def test_values_beyond_the_calibrated_range_are_told(device_bundle, tmp_path):
    _, done = read_codes(saved(tmp_path, np.full((8, 8), 200.0, np.float32)), device_bundle)
    assert "100% of the values lie outside" in done
    _, done = read_codes(saved(tmp_path, np.full((8, 8), 0.5, np.float32)), device_bundle)
    assert "outside" not in done


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((7, 7), np.float32), "must have shape 8x8x1 or nx8x8x1"),
        (np.zeros((0, 8, 8), np.float32), "must have shape"),
        (np.float32(3), "has one number"),
        (np.full((8, 8), np.nan, np.float32), "has 64 NaN"),
        (np.full((8, 8), np.inf, np.float32), "or infinite"),
        (np.zeros((8, 8), complex), "holds complex128"),
        (np.zeros((8, 8), bool), "holds bool"),
        (np.array([["a"] * 8] * 8), "holds <U1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(device_bundle, tmp_path, array, said):
    with pytest.raises(SampleError) as caught:
        read_codes(saved(tmp_path, array), device_bundle)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.npy", b"\x93NUMPY\x01"), ("x.npy", b""), ("x.png", b"\x89PNG\r\n\x1a\n"), ("x.txt", b"a")],
)
def test_files_that_are_cut_or_foreign_are_refused(device_bundle, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SampleError, match="cannot be read"):
        read_codes(tmp_path / name, device_bundle)


def test_pickles_are_never_loaded(device_bundle, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SampleError, match="cannot be read"):
        read_codes(path, device_bundle)


def test_one_sample_shows_labels_with_probabilities(bundle_folder, tmp_path, image, capsys):
    path = saved(tmp_path, image)
    assert main(["run", str(bundle_folder), "--task", "digit", "--input", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("device: task digit, trunk > digit, on ")
    shown = [line.split() for line in lines if line.startswith("  class")]
    assert len(shown) == 3
    percents = [float(line[2].rstrip("%")) for line in shown]
    assert percents == sorted(percents, reverse=True)
    assert any(line.startswith("output: ") for line in lines)


def test_json_tells_codes_values_and_classes_that_agree(
    bundle_folder, device_bundle, tmp_path, image, capsys
):
    path = saved(tmp_path, np.stack([image, 255 - image]))
    command = ["run", str(bundle_folder), "--task", "digit", "--input", str(path), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    codes, _ = read_codes(path, device_bundle)
    expected = device_bundle.run("digit", codes, told["backend"])
    assert [sample["codes"] for sample in told["samples"]] == expected.tolist()
    for sample in told["samples"]:
        values = (np.array(sample["codes"]) + 128) / 256
        assert np.allclose(sample["values"], values)
        best = sample["classes"][0]
        assert best["probability"] == values.max()
        assert best["label"] == f"class {best['index']}"


def test_a_regression_shows_its_value_and_no_classes(bundle_folder, tmp_path, image, capsys):
    path = saved(tmp_path, image)
    assert main(["run", str(bundle_folder), "--task", "angle", "--input", str(path)]) == 0
    out = capsys.readouterr().out
    assert "output: " in out
    assert "%" not in out


def test_several_samples_take_a_line_each(bundle_folder, tmp_path, image, capsys):
    path = saved(tmp_path, np.stack([image] * 12))
    command = ["run", str(bundle_folder), "--task", "digit", "--input", str(path), "--top", "1"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()[3:]
    assert [line.split()[0] for line in lines] == [str(number) for number in range(12)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["--task", "digits", "--input", "x.npy"], "Did you mean 'digit'?"),
        (["--task", "digit", "--input", "gone.npy"], "'gone.npy' is not a file"),
        (["--task", "digit", "--input", "x.npy", "--top", "0"], "`--top` must be at least 1"),
    ],
)
def test_wrong_usage_ends_with_2(
    bundle_folder, tmp_path, image, monkeypatch, capsys, settings, said
):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, image)
    assert main(["run", str(bundle_folder), *settings]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("scale", "offset", "formula"),
    [
        (1 / 255, 0.0, "raw * 1/255"),
        (1 / 127.5, -1.0, "raw * 0.00784314 - 1"),
        (1.0, 0.0, "raw values"),
        (1.0, 0.5, "raw values + 0.5"),
        (-2.0, 0.0, "raw * -2"),
    ],
)
def test_the_normalization_is_told(device_bundle, tmp_path, image, scale, offset, formula):
    bundle = replace(device_bundle, input_normalization=InputNormalization(scale, offset))
    _, done = read_codes(saved(tmp_path, image), bundle)
    assert done.split(";")[0] == f"x.npy, 8x8 uint8, {formula}"
