"""The adapter on TensorFlow Lite Micro runs, on a stand-in for the runtime, with sanitizers."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("tflm_cases", HERE / "tflm_cases.py")
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)

GXX = ["g++", *cases.CPP, *cases.WARNINGS, *cases.SANITIZERS]
PORT = '#include <stdio.h>\nextern "C" void kt_port_write(const char *t) { fputs(t, stdout); }\n'


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> list[Path]:
    """What is the same for every bundle, compiled once."""
    folder = tmp_path_factory.mktemp("adapter")
    (folder / "port.cc").write_text(PORT)
    sources = [*cases.ADAPTER.glob("*.cc"), folder / "port.cc"]
    includes = [cases.ADAPTER, cases.DECLARATIONS]
    return [cases.compiled(GXX, one, folder / f"{one.stem}.o", includes) for one in sources]


def program(folder: Path, adapter: list[Path], main: Path) -> str:
    """Link a bundle's sources with the adapter and the stand-in, run them, return the output."""
    sources = [folder / f"kt_model_{part}.cc" for part in ("config", "data", "golden")]
    sources += [main, cases.STUBS / "tests" / "tflm_fake.cc"]
    includes = [folder, cases.ADAPTER, cases.DECLARATIONS]
    objects = [cases.compiled(GXX, one, folder / f"{one.stem}.o", includes) for one in sources]
    target = folder / "program"
    subprocess.run([*GXX, *map(str, adapter + objects), "-o", str(target)], check=True)
    run = subprocess.run([target], capture_output=True, text=True, timeout=60)
    return run.stdout + run.stderr


@pytest.mark.parametrize(
    ("name", "allocate"),
    [
        ("alone", "all"),
        ("tree", "all"),
        ("nested", "all"),
        ("nested", "one"),
        ("meeting", "all"),
        ("twice", "all"),
        ("twice", "one"),
    ],
)
def test_every_path_and_every_way_to_continue(name, allocate, adapter, tmp_path) -> None:
    model = cases.with_formula(cases.bundle(name))
    folder = cases.write(tmp_path, model, allocate=allocate)
    output = program(folder, adapter, folder / "kt_model_selftest.cc")
    assert output.endswith("PASS\n"), output
    assert output.count(": 3 of 3 vectors equal\n") == len(model.tasks)


def test_a_lost_copy_is_found(adapter, tmp_path) -> None:
    """The self-test is no formality: two copies at one place fail it."""
    model = cases.with_formula(cases.bundle("nested"))
    folder = cases.write(tmp_path, model)
    source = folder / "kt_model_config.cc"
    text = source.read_text()
    assert "{16, 0}," in text
    source.write_text(text.replace("{16, 0},", "{0, 0},", 1))
    output = program(folder, adapter, folder / "kt_model_selftest.cc")
    assert "continuing differs" in output
    assert output.endswith("FAIL\n")


@pytest.mark.parametrize("allocate", ["all", "one"])
def test_what_open_refuses(allocate, adapter, tmp_path) -> None:
    folder = cases.write(tmp_path, cases.bundle("tree"), allocate=allocate)
    output = program(folder, adapter, cases.STUBS / "tests" / "tflm_checks.cc")
    assert output == "CHECKS PASS\n"
