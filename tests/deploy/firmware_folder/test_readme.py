"""The README of a folder: its example compiles, its commands run, it lists every file."""

import re
from pathlib import Path

import pytest
from folder_building import DECLARATIONS, STRICT, run, written

from deploy.firmware import firmware


@pytest.mark.parametrize("task", ["digit", "angle"])
def test_the_example_of_the_readme_compiles(device_bundle, nano33ble, task, tmp_path):
    folder = written(firmware(device_bundle, nano33ble, tasks=task), tmp_path / "firmware")
    (example,) = blocks(folder, "c")
    (tmp_path / "example.c").write_text(example)
    places = [f"-I{folder / name}" for name in ("include", "model")]
    run("cc", "-std=c99", *STRICT.split(), *places, "-c", tmp_path / "example.c",
        "-o", tmp_path / "example.o")  # fmt: skip


def test_the_example_for_tflm_compiles(on_tflm, tmp_path):
    folder = written(on_tflm, tmp_path / "firmware")
    (example,) = blocks(folder, "c")
    places = [f"-I{folder / name}" for name in ("include", "model")]
    for compiler, name in (("cc", "example.c"), ("c++", "example.cc")):
        (tmp_path / name).write_text(example)
        run(compiler, *STRICT.split(), *places, "-c", tmp_path / name, "-o", tmp_path / "example.o")


def test_the_commands_of_the_readme_run(in_c, on_tflm, tmp_path):
    folder = written(in_c, tmp_path / "in_c")
    for commands in blocks(folder, "sh"):
        run("sh", "-ec", f"cd '{folder}'\n{commands}")
    folder = written(on_tflm, tmp_path / "on_tflm")
    alone, with_make, library = blocks(folder, "sh")
    assert "-DKT_TFLM_DIR=/path/to/tflite-micro" in alone
    assert "KT_TFLM_LIBRARY=" in with_make
    # For this machine: the cross compiler's C++ headers are a package of their own.
    named = library.replace("/path/to/tflite-micro", str(DECLARATIONS))
    host = re.sub(r"arm-none-eabi-|-m[\w-]+(=\S+?)?(?=[ \"])", "", named).replace("-DCMSIS_NN", "")
    run("sh", "-ec", f"cd '{folder}'\n{host}")


def blocks(folder: Path, language: str) -> list[str]:
    text = (folder / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_every_file_is_in_the_readme(in_c, on_tflm):
    for made in (in_c, on_tflm):
        section = made.files["README.md"].decode().split("\n## Files\n")[1].split("\n## ")[0]
        listed = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
        for name in made.files:
            assert any(name == one or name.startswith(one.rstrip("*")) for one in listed), name
