"""A worker process: functions run apart from the user's process, which survives their crash.

Belongs here: starting, asking, burying and cleaning up after one subprocess, and the loop that runs
inside it. Does not belong here: what it is asked to do (`convert.py`).

The worker is started with `subprocess`, not with `multiprocessing`: it neither imports the user's
`__main__` nor needs it guarded, and works from a notebook. Its stdout and stderr go to a file,
whose tail belongs to the message when something fails. It ends with its parent: its stdin closes.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from quantize.conversion.worker import serve; serve(sys.argv[2])"
)
_LAST_SECONDS = 5.0
_TAIL_LINES = 20
_LINE_CHARACTERS = 1000  # longer ones are dumps, e.g. of all extension modules


class WorkerCrashError(RuntimeError):
    """The worker process ended while it worked.

    Args:
        status: How it ended, e.g. "ended with exit code 1".
        tail: What it printed last.
    """

    def __init__(self, status: str, tail: str) -> None:
        super().__init__(f"The worker process {status}. Its last words:\n{tail}")
        self.status = status
        self.tail = tail


class WorkerStartError(RuntimeError):
    """The module's `prepare` raised, so that the worker can do nothing; `args[0]` says why."""


class WorkerTaskError(RuntimeError):
    """The function that the worker ran raised; `args[0]` is its message, `tail` the traceback."""

    def __init__(self, message: str, tail: str) -> None:
        super().__init__(message)
        self.tail = tail


class Worker:
    """One subprocess that runs functions of one module, and is replaced when it dies.

    Use it as a context manager; on leaving, by an exception too, the process is ended.

    Args:
        module: Name of the module whose functions the process runs; its `prepare()` runs first.
        environment: Variables set in the process; None removes one.
    """

    def __init__(self, module: str, environment: dict[str, str | None] | None = None) -> None:
        self._module = module
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process's number, or None while there is no process."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process unless it runs; it loads its module while the caller goes on."""
        if self._process is not None:
            return
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP, json.dumps(_search_path()), self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(self._environment),
        )

    def run(self, function: str, *arguments: Any) -> Any:
        """Run a function of the module in the process and return what it returns.

        Raises:
            WorkerStartError: The process could not be made ready.
            WorkerTaskError: The function raised.
            WorkerCrashError: The process died; the next call starts another one.
        """
        self.start()
        try:
            self._send((function, arguments))
            succeeded, value = self._receive()
        except (EOFError, OSError) as error:
            raise self._bury() from error
        if succeeded:
            return value
        if succeeded is None:
            raise WorkerStartError(value[0])
        raise WorkerTaskError(*value)

    def close(self) -> None:
        """End the process, if there is one, and remove what it left."""
        process, self._process = self._process, None
        log, self._log = self._log, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                _close_quietly(pipe)
        if log is not None:
            log.close()

    def _send(self, message: Any) -> None:
        if self._process is None or self._process.stdin is None:
            raise EOFError
        _write(self._process.stdin, message)

    def _receive(self) -> Any:
        if self._process is None or self._process.stdout is None:
            raise EOFError
        return _read(self._process.stdout)

    def _bury(self) -> WorkerCrashError:
        """Return what is known of the process that died, and clean up after it."""
        tail = ""
        status = "did not answer"
        if self._process is not None and self._log is not None:
            code = _exit_code(self._process)
            status = f"ended with exit code {code}"
            if code < 0:
                status = f"was ended by signal {-code} ({signal.strsignal(-code)})"
            self._log.seek(0)
            tail = _tail(self._log.read().decode(errors="replace"))
        self.close()
        return WorkerCrashError(status, tail)


def serve(module_name: str) -> None:
    """Answer requests until stdin closes; runs inside the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    _die_with_parent()
    faulthandler.enable()
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Whatever libraries print on stdout goes to the log as well.
    try:
        module = importlib.import_module(module_name)
        prepared = _answer(module.prepare)
        while True:
            function, arguments = _read(requests)
            _empty_log()
            if prepared[0]:
                _write(replies, _answer(getattr(module, function), *arguments))
            else:
                _write(replies, (None, prepared[1]))
    except (EOFError, BrokenPipeError):
        return


def _empty_log() -> None:
    """Let the log tell of one request only, also where Python keeps back what was printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)


def _answer(function: Any, *arguments: Any) -> tuple[bool, Any]:
    """Return (True, result), or (False, (message, end of the traceback))."""
    try:
        return True, function(*arguments)
    except Exception as error:
        trace = _tail("".join(traceback.format_exception(error)))
        return False, (f"{type(error).__name__}: {error}", trace)


def _die_with_parent() -> None:
    """Leave neither an orphan nor a core file, where the system can see to that."""
    try:
        import ctypes
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            pr_set_pdeathsig = 1
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    except (ImportError, OSError, ValueError):
        return


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    """Return how a process ended that no longer answers; one that lingers is ended."""
    try:
        return process.wait(timeout=_LAST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and len(line) < _LINE_CHARACTERS]
    return "\n".join(lines[-_TAIL_LINES:])


def _search_path() -> list[str]:
    """Return the parent's search path, so that the worker finds what the parent found."""
    package_home = str(Path(__file__).resolve().parents[1])
    return [*(entry or os.getcwd() for entry in sys.path), package_home]


def _environment(changes: dict[str, str | None]) -> dict[str, str]:
    environment = dict(os.environ)
    for key, value in changes.items():
        environment.pop(key, None)
        if value is not None:
            environment[key] = value
    return environment


def _write(pipe: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(struct.pack("<Q", len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> Any:
    (length,) = struct.unpack("<Q", _read_exactly(pipe, 8))
    return pickle.loads(_read_exactly(pipe, length))


def _read_exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) != length:
        raise EOFError
    return data


def _close_quietly(pipe: Iterable[bytes] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()  # type: ignore[attr-defined]
    except BrokenPipeError:
        return
