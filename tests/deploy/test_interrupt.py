"""Ctrl-C during an emulation ends it, and no figure of a run that missed a count is told."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from deploy.emulation.interrupt import stopping_on_interrupt
from deploy.emulation.unicorn_core import UnicornCore


def test_it_is_raised_when_the_block_has_stopped():
    stopped = []
    with pytest.raises(KeyboardInterrupt), stopping_on_interrupt(lambda: stopped.append(True)):
        os.kill(os.getpid(), signal.SIGINT)
    assert stopped == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_it_nothing_changes():
    with stopping_on_interrupt(pytest.fail):
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_and_a_handler_of_the_users_own_are_left_alone():
    seen = []
    thread = threading.Thread(target=lambda: [seen.append(1) for _ in [stop_in_thread()]])
    thread.start()
    thread.join()
    assert seen == [1]
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(2))
    try:
        with stopping_on_interrupt(pytest.fail):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1, 2]


def stop_in_thread() -> None:
    with stopping_on_interrupt(pytest.fail):
        pass


def test_the_emulated_core_is_stopped_and_not_the_call_back():
    told = []

    def emu_start(pc, until):
        os.kill(os.getpid(), signal.SIGINT)
        told.append("went on to the end of the call back")

    machine = SimpleNamespace(emu_start=emu_start, emu_stop=lambda: told.append("stopped"))
    core = SimpleNamespace(
        _until=8, _thumb=0, _machine=machine, _unicorn=SimpleNamespace(UcError=ValueError)
    )
    with pytest.raises(KeyboardInterrupt):
        UnicornCore._start(core, 4, 8)
    assert told == ["stopped", "went on to the end of the call back"]


def test_control_c_ends_a_measurement(bundle_folder):
    """Sent while the emulated core runs: in calls back from code that is not Python's."""
    code = (
        "import sys, deploy.emulation.unicorn_core as core\n"
        "from deploy.cli import main\n"
        "run = core.UnicornCore.run\n"
        "def told(*given):\n"
        "    print('runs', file=sys.stderr, flush=True)\n"
        "    while True: run(*given)\n"
        "core.UnicornCore.run = told\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    arguments = ["measure", str(bundle_folder), "--core", "cortex-m0plus"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr.readline() == "runs\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.strip().endswith("interrupted")
    assert "Traceback" not in error
