"""Fixtures that several packages' tests use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def shared_folder() -> Path | None:
    """The folder of real data sets and public models, or None where it is not installed."""
    named = os.environ.get("KERAS_TREE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    return folder if (folder / "datasets").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data: `datasets/*.npz` and `models/*.tflite`; a test that needs it skips without."""
    folder = shared_folder()
    if folder is None:
        if os.environ.get("KERAS_TREE_REQUIRE_SHARED"):
            pytest.fail("KERAS_TREE_REQUIRE_SHARED is set, but the real data is not there")
        pytest.skip("the folder of real data is not installed: set KERAS_TREE_SHARED to it")
    return folder
