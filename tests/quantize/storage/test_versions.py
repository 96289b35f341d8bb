"""Versions are told from what is installed, without importing it."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from quantize.bundle import current_versions
from quantize.storage import versions


def test_versions_are_those_installed():
    found = current_versions()
    assert found["tensorflow"] == metadata.version("tensorflow")
    assert found["keras"] == metadata.version("keras")
    assert {"tensorflow", "keras", "ai_edge_litert"} <= set(found)


def test_what_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setitem(versions._DISTRIBUTIONS, "tflite_micro", "no-such-distribution")
    assert "tflite_micro" not in current_versions()


def test_a_library_run_from_its_sources_says_so(monkeypatch):
    monkeypatch.setitem(versions._DISTRIBUTIONS, "keras_tree", "no-such-distribution")
    assert versions.library_version() == "(not installed)"


def test_nothing_heavy_is_imported():
    script = (
        "import sys; from quantize.bundle import current_versions; current_versions();"
        "sys.exit(','.join({'tensorflow', 'keras', 'tflite_micro'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", script]
    subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parents[3])
