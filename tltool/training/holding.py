"""One process at a time works on a run, and shows that it lives."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from filelock import Timeout

from tltool.errors import RunError
from tltool.training.run_folder import RunFolder
from tltool.training.run_lock import lock_of

BEAT = 5.0  # seconds; far below `run_folder.SILENT`
PATIENCE = 1.0  # seconds; whoever reads the state takes the lock for a moment

log = logging.getLogger(__name__)


@contextmanager
def holding(run: RunFolder) -> Iterator[float]:
    """While it is entered the run is this process's: state "running", lock and heartbeat.

    How the run ended is written by whoever carries it out.

    Yields:
        Seconds that processes before this one have worked on it, those that were killed included.

    Raises:
        RunError: if another process works on it, or the folder cannot be written.
    """
    with _locked(run):
        spent = run.seconds_spent()
        with _beating(run):
            about = {"pid": os.getpid(), "host": socket.gethostname(), "spent": spent, "working_since": None}
            try:
                run.write_state(state="running", reason=None, **about)
            except OSError as error:
                raise _unwritable(run, error) from None
            yield spent


def _locked(run: RunFolder) -> AbstractContextManager:
    try:
        return lock_of(run.lock).acquire(timeout=PATIENCE)
    except Timeout:
        raise _taken(run) from None
    except (OSError, NotImplementedError) as error:
        if not os.access(run.path, os.W_OK):
            raise _unwritable(run, error) from None
        if run.is_beating():
            raise _taken(run) from None
        log.warning("%s: cannot be locked (%s); nothing but its heartbeat keeps others away.", run.path, error)
        return nullcontext()


@contextmanager
def _beating(run: RunFolder) -> Iterator[None]:
    done, told = threading.Event(), threading.Event()

    def beat() -> None:
        try:
            run.heartbeat.touch()
        except OSError as error:  # a full disk stops training where it has something to lose, not here
            if not told.is_set():
                log.warning("%s: cannot be written (%s).", run.heartbeat, error)
            told.set()

    def beat_on() -> None:
        while not done.wait(BEAT):
            beat()

    beat()  # before anybody is told that the run is in hand
    thread = threading.Thread(target=beat_on, name="tltool-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _taken(run: RunFolder) -> RunError:
    state = run.read_state()
    return RunError(
        f"{run.path}: another process (pid {state['pid']} on {state.get('host')}) is working on this run. "
        "Wait for it, or stop it first."
    )


def _unwritable(run: RunFolder, error: Exception) -> RunError:
    return RunError(f"{run.path}: the run cannot be written there ({error}). Make the folder writable.")
