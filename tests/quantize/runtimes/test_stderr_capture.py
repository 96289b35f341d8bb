import os
import sys
import threading

import pytest

from quantize.runtimes.stderr_capture import captured_stderr


def test_text_written_below_python_is_caught(capfd):
    os.write(2, b"before\n")
    with captured_stderr() as text:
        os.write(2, b"from C++ \xff\n")
        print("from Python", file=sys.__stderr__, flush=True)
        so_far = text.read()
        os.write(2, b"more\n")
    os.write(2, b"after\n")
    assert so_far.startswith("from C++ \ufffd\n")
    assert text.read().startswith(so_far)
    assert text.read().endswith("more\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_standard_error_comes_back_after_a_failure(capfd):
    def fail():
        os.write(2, b"inside")
        raise KeyError

    with captured_stderr() as text, pytest.raises(KeyError):
        fail()
    with pytest.raises(KeyError), captured_stderr():
        fail()
    os.write(2, b"outside")
    assert text.read() == "inside"
    assert capfd.readouterr().err == "outside"


def test_threads_take_turns(capfd):
    texts = {}

    def write(number):
        with captured_stderr() as text:
            for _ in range(50):
                os.write(2, str(number).encode())
        texts[number] = text.read()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {number: str(number) * 50 for number in range(8)}
    assert capfd.readouterr().err == ""


def test_a_process_without_standard_error_can_capture():
    saved = os.dup(2)
    os.close(2)
    try:
        with captured_stderr() as text:
            os.write(2, b"caught")
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(2, b"nowhere")
    finally:
        os.dup2(saved, 2)
        os.close(saved)
    assert text.read() == "caught"


def test_descriptors_do_not_leak():
    def open_count():
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    before = open_count()
    for _ in range(20):
        with captured_stderr():
            pass
    assert open_count() == before
