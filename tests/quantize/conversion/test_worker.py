"""The worker process: it answers, it may die, and it never outlives its parent."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from quantize.conversion.worker import Worker, WorkerCrashError, WorkerStartError, WorkerTaskError

ROOT = Path(__file__).resolve().parents[3]

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

TASKS = """
    import ctypes, os, sys, time

    READY = []

    def prepare():
        READY.append(True)

    def double(values):
        return values * 2

    def state():
        return os.getpid(), len(READY), os.environ.get("GIVEN"), os.environ.get("TAKEN")

    def fail(text):
        raise ValueError(text)

    def chatter():
        print("printed")
        os.system("echo from a child process")
        print("complained", file=sys.stderr)
        return "done"

    def crash():
        print("last words", flush=True)
        ctypes.string_at(0)

    def leave():
        sys.exit(3)

    def sleep(seconds):
        time.sleep(seconds)
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """Name of an importable module with the functions above."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "worker_tasks.py").write_text(textwrap.dedent(TASKS))
    broken = "def prepare():\n    raise RuntimeError('no TensorFlow')\n"
    (folder / "broken_tasks.py").write_text(broken)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(folder)]))
        yield "worker_tasks"


@pytest.fixture
def worker(module):
    with Worker(module) as opened:
        yield opened


def test_answers_with_arrays(worker):
    np.testing.assert_array_equal(worker.run("double", np.arange(5)), [0, 2, 4, 6, 8])


def test_one_process_serves_all_requests_and_prepares_once(worker):
    first, second = worker.run("state"), worker.run("state")
    assert first == second == (worker.pid, 1, None, None)


def test_environment_is_changed_in_the_process_alone(module, monkeypatch):
    monkeypatch.setenv("TAKEN", "here")
    with Worker(module, {"GIVEN": "value", "TAKEN": None}) as worker:
        assert worker.run("state")[2:] == ("value", None)
    assert os.environ["TAKEN"] == "here"


def test_an_exception_comes_back_and_the_process_stays(worker):
    pid = worker.run("state")[0]
    with pytest.raises(WorkerTaskError, match="ValueError: bad node") as caught:
        worker.run("fail", "bad node")
    assert "in fail" in caught.value.tail
    assert worker.run("state")[0] == pid


def test_nothing_is_printed(worker, capfd):
    assert worker.run("chatter") == "done"
    assert capfd.readouterr() == ("", "")


def test_a_crash_is_told_and_the_next_request_gets_a_new_process(worker):
    pid = worker.run("state")[0]
    worker.run("chatter")
    with pytest.raises(WorkerCrashError, match="signal 11") as caught:
        worker.run("crash")
    assert "last words" in caught.value.tail
    assert "Segmentation fault" in caught.value.tail
    assert "printed" not in caught.value.tail, "the tail tells of the last request only"
    assert worker.pid is None
    assert worker.run("state")[0] != pid


@pytest.mark.parametrize("unbuffered", ["1", None])
def test_what_an_earlier_request_printed_is_not_told(module, unbuffered):
    with Worker(module, {"PYTHONUNBUFFERED": unbuffered}) as worker:
        worker.run("chatter")
        with pytest.raises(WorkerCrashError) as caught:
            worker.run("crash")
    assert caught.value.tail.lstrip().startswith("last words")
    assert not {"\0", "printed", "complained"} & {*caught.value.tail, *caught.value.tail.split()}


def test_an_exit_is_told(worker):
    with pytest.raises(WorkerCrashError, match="ended with exit code 3"):
        worker.run("leave")


def test_a_module_that_cannot_prepare(module):
    with Worker("broken_tasks") as worker, pytest.raises(WorkerStartError, match="no TensorFlow"):
        worker.run("double", 1)


def test_a_module_that_is_not_there(module):
    with Worker("absent_tasks") as worker, pytest.raises(WorkerCrashError) as caught:
        worker.run("double", 1)
    assert "No module named 'absent_tasks'" in caught.value.tail


@on_linux
def test_leaving_the_context_ends_the_process(module):
    with Worker(module) as worker:
        pid = worker.run("state")[0]
    assert worker.pid is None
    assert not is_running(pid)


PARENT = """
    from quantize.conversion.worker import Worker
    with Worker("worker_tasks") as worker:
        print(worker.run("state")[0], flush=True)
        worker.run("sleep", 60)
"""


def parent(tmp_path, **settings):
    """A process whose worker sleeps, and the worker's number; it has no guarded `__main__`."""
    process = subprocess.Popen(
        [sys.executable, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        **settings,
    )
    with process.stdin as source:
        source.write(textwrap.dedent(PARENT))
    pid = process.stdout.readline()
    assert pid, process.stderr.read()
    return process, int(pid)


@on_linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_worker_does_not_outlive_its_parent(module, tmp_path, number):
    process, pid = parent(tmp_path)
    assert is_running(pid)
    process.send_signal(number)
    process.wait(timeout=20)
    assert wait_until(lambda: not is_running(pid))
    assert list(tmp_path.iterdir()) == []
    process.stdout.close()
    process.stderr.close()


@on_linux
def test_ctrl_c_in_a_terminal_reaches_both_and_the_parent_says_so(module, tmp_path):
    process, pid = parent(tmp_path, start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=20)
    assert process.stderr.read().rstrip().endswith("KeyboardInterrupt")
    assert wait_until(lambda: not is_running(pid))
    process.stdout.close()
    process.stderr.close()


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
