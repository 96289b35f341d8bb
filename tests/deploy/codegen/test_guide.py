"""The guide of plain C: its examples run, its figures and its list of operators are true."""

import re
from pathlib import Path

import pytest

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
