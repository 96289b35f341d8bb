"""Fixtures that several packages' tests use."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that: the
# tests of Ctrl-C would wait for ever. (xdist imports this file in its workers too.)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def shared_folder() -> Path | None:
    """The folder of real data sets and public models, or None where it is not installed."""
    named = os.environ.get("KERAS_TREE_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    return folder if (folder / "datasets").is_dir() else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator:
    """In the gate, where everything is installed and the data is there, a skipped test fails."""
    report = yield
    if report.skipped and os.environ.get("KERAS_TREE_REQUIRE_SHARED"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and here no test may: {call.excinfo}"
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data: `datasets/*.npz` and `models/*.tflite`; a test that needs it skips without."""
    folder = shared_folder()
    if folder is None:
        if os.environ.get("KERAS_TREE_REQUIRE_SHARED"):
            pytest.fail("KERAS_TREE_REQUIRE_SHARED is set, but the real data is not there")
        pytest.skip("the folder of real data is not installed: set KERAS_TREE_SHARED to it")
    return folder
