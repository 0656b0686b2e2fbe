"""Ctrl-C and SIGTERM: a run is asked to stop, and stops where nothing is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminable() -> Iterator[None]:
    """While it is entered, SIGTERM interrupts as Ctrl-C does, so that whoever works can tidy up.

    Only the main thread hears signals; elsewhere nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """While it is entered, the first request is only noted; the second interrupts at once.

    Yields:
        Whether there was a request.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            _interrupt(number, frame)
        asked.set()

    before = {number: signal.signal(number, note) for number in ASKING}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
