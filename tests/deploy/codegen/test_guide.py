"""The guide of plain C: its examples run, its figures and its list of operators are true."""

import re
from pathlib import Path

import pytest

from benchmarks.packed_weights import HEAD, Row, measured
from deploy.codegen import compile_bundle
from deploy.codegen.lowering.node import LOWERINGS
from deploy.footprint.ram import node_arena
from deploy.models import load_models
from quantize.strip import strip

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "plain_c.md").read_text(encoding="utf-8")
MODELS = {
    "anomaly detection (`ad01`)": "mlperftiny__ad01_int8",
    "keyword spotting (`kws`)": "mlperftiny__kws_ref_model",
    "image classification (`resnet`)": "mlperftiny__pretrainedResnet_quant",
    "`micro_speech`": "tflm__micro_speech_quantized",
}


def test_the_operators():
    section = GUIDE[GUIDE.index("## What can be compiled") : GUIDE.index("## How it is known")]
    assert set(re.findall(r"\b[A-Z][A-Z0-9]+[A-Z0-9_]*\b", section)) == set(LOWERINGS)


def test_the_example_in_python(bundle_folder, tmp_path, monkeypatch):
    code = re.search(r"\n\n((?:    .*\n|\n)+)", GUIDE)[1]
    (tmp_path / "bundle").symlink_to(bundle_folder)
    (tmp_path / "firmware").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(compile(re.sub(r"^    ", "", code, flags=re.MULTILINE), "guide", "exec"), {})
    assert (tmp_path / "firmware" / "kt_model.c").is_file()


def test_the_example_in_c(device_bundle, write_program, stubs, run_compiler, tmp_path):
    lines = re.search(r'    #include "kt_model.h"\n((?:    .*\n|\n)+)', GUIDE)[1].splitlines()
    static, *body = (line.strip() for line in lines if line.strip())
    write_program(compile_bundle(device_bundle), tmp_path)
    source = tmp_path / "main.c"
    source.write_text(
        '#include <string.h>\n#include "kt_model.h"\n'
        f"{static}\nint main(int count, char **codes) {{\n(void)count;\n"
        + "\n".join(body).replace("codes,", "codes[0],")
        + "\nreturn digits[0] + angle[0];\n}\n"
    )
    run_compiler("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                 "-I", stubs / "include", source)  # fmt: skip


def packed_rows() -> list[list[str]]:
    """The cells of the table of packed weights."""
    section = GUIDE[GUIDE.index("## Packed weights") : GUIDE.index("## What can be compiled")]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "form"), [("kws", "lut2"), ("ad", "int4"), ("ad", "lut4")])
def test_the_figures_of_packed_weights(shared, model, form):
    head, _, *rows = packed_rows()
    assert tuple(head) == HEAD
    found: Row = measured(model, form, "cortex-m4", shared / "models")
    assert found.cells() == next(row for row in rows if row[:2] == [f"`{model}`", form])
    kinds = [one.rom_by_kind()["kernel"] for one in (found.packed, found.plain)]
    assert (kinds[0] - kinds[1]) / 1000 == pytest.approx(0.6 if model == "ad" else 1.6, abs=0.06)


def test_what_the_guide_says_of_the_time_of_packed_weights():
    rows = packed_rows()[2:]
    assert len(rows) == 12
    weights = 640 * 128 + 128 * 128 * 3 + 128 * 8 + 8 * 128 + 128 * 128 * 3 + 128 * 640
    for model, form, *cells in rows:
        plain, packed = (int(cell.replace(",", "")) for cell in cells[6:8])
        if model != "`ad`":
            assert 1.08 < packed / plain < 1.15
            continue
        assert 2 < packed / plain < 4
        per_weight = round((packed - plain) / weights, 1)
        assert per_weight == 1.9 if form == "int4" else 3.7 <= per_weight <= 4.5


@pytest.mark.parametrize("row", MODELS)
def test_the_figures(shared, row):
    (line,) = (line for line in GUIDE.splitlines() if line.startswith(f"| {row} |"))
    bundle = load_models([shared / "models" / f"{MODELS[row]}.tflite"])
    program = compile_bundle(bundle)
    (data,) = (node.data for node in bundle.nodes.values())
    figures = (
        program.buffer_bytes,
        node_arena(data, "cortex-m4", "reference").head_bytes,
        program.stored_bytes + program.parameter_bytes,
        len(data),
        len(strip(data)),
    )
    assert [cell.strip() for cell in line.split("|")[2:-1]] == [f"{one:,}" for one in figures]
