"""The wheel holds what the installed packages read at run time."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_wheel_is_complete(tmp_path: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    source = tmp_path / "source"  # a copy: building leaves a folder behind
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path)]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("keras_tree-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    packages = ("keras_tree/", "quantize/", "deploy/")
    assert "deploy/boards/nano33ble.toml" in held
    assert {name for name in tracked if name.startswith(packages)} <= held
    plain = {name for name in tracked if name.startswith("firmware_stubs/") and "/." not in name}
    shipped = {name.split("/data/share/keras-tree/")[-1] for name in held if "/data/share/" in name}
    assert {name for name in plain if not name.startswith("firmware_stubs/tests/")} == shipped
