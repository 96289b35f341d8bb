"""Ctrl-C while code that is not Python's runs, and calls Python back.

An exception that is raised in such a call back is printed and lost: the run would go on, with
figures that miss what the call back was to count.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping_on_interrupt(stop: Callable[[], object]) -> Iterator[None]:
    """Let Ctrl-C stop what runs in the block, and be raised when it has ended.

    Args:
        stop: Makes the block end soon; called where Ctrl-C is noticed.

    Raises:
        KeyboardInterrupt: Ctrl-C came while the block ran.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    noticed = False

    def notice(number: int, frame: FrameType | None) -> None:
        nonlocal noticed
        noticed = True
        stop()

    signal.signal(signal.SIGINT, notice)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if noticed:
        raise KeyboardInterrupt
