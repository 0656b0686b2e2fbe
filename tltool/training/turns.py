"""Runs on one machine take turns, first come, first served: two at a time would fight for its cores and memory."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tltool.cache import cache_dir
from tltool.errors import TltoolError
from tltool.training.run_folder import RunFolder
from tltool.training.run_lock import is_held, lock_of

FOLDER = "queue"  # in the cache folder
ENDING = ".ticket"
LOOK_EVERY = 0.5  # seconds
PATIENCE = 10.0  # seconds for the lock of the queue, which nobody holds for longer than it takes to list a folder

log = logging.getLogger(__name__)

_turns_of_this_process = 0
_count = threading.Lock()


def queue_folder() -> Path:
    """Of this machine; its cache folder may be one that other machines share."""
    return cache_dir() / FOLDER / socket.gethostname()


@contextmanager
def turn(run: RunFolder, waiting: Callable[[str], None]) -> Iterator[None]:
    """Waits until no run that came before is alive on this machine; the next ones wait until the block ends.

    A process that has its turn has it for all its runs. Where the cache folder takes no locks nobody waits.

    Args:
        run: Its state is "queued" while it waits, "running" after.
        waiting: Told once, in a sentence, what is waited for.
    """
    global _turns_of_this_process
    with _ticket(run) as ticket:
        if ticket is not None:
            _wait(run, ticket, waiting)
        with _count:
            _turns_of_this_process += 1
        try:
            yield
        finally:
            with _count:
                _turns_of_this_process -= 1


@dataclass(frozen=True)
class _Ticket:
    """A place in the queue, held for as long as its file is locked."""

    path: Path
    lock: FileLock


@contextmanager
def _ticket(run: RunFolder) -> Iterator[_Ticket | None]:
    ticket = _draw(run)
    try:
        yield ticket
    finally:
        if ticket is not None:
            # In this order, and alone: a file that is unlinked after it was let go of may be the next one's.
            with suppress(OSError, Timeout), _alone(ticket.path.parent):
                ticket.path.unlink(missing_ok=True)
            ticket.lock.release()


def _draw(run: RunFolder) -> _Ticket | None:
    if _turns_of_this_process:
        return None
    try:
        folder = queue_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            last = max((int(path.stem) for path in _tickets(folder)), default=0)
            path = folder / f"{last + 1:08}{ENDING}"
            path.write_text(json.dumps({"run": str(run.path), "pid": os.getpid(), "since": time.time()}), "utf-8")
            lock = lock_of(path)
            lock.acquire(timeout=PATIENCE)
    except (OSError, Timeout, TltoolError, NotImplementedError) as error:
        log.warning("Runs on this machine do not wait for each other: %s", error)
        return None
    return _Ticket(path, lock)


def _wait(run: RunFolder, ticket: _Ticket, waiting: Callable[[str], None]) -> None:
    told = False
    while before := _before(ticket.path):
        if not told:
            told = True
            with suppress(OSError):  # what others see is not worth ending a run for
                run.write_state(state="queued")
            waiting(_in_words(before))
        time.sleep(LOOK_EVERY)
    if told:
        with suppress(OSError):
            run.write_state(state="running")


def _before(mine: Path) -> list[Path]:
    """Tickets of living processes that were drawn before this one; those of dead ones are thrown away."""
    try:
        with _alone(mine.parent):
            older = [path for path in _tickets(mine.parent) if path < mine]
            held = {path: is_held(path) for path in older}
            for path in older:
                if held[path] is False:
                    path.unlink(missing_ok=True)
            return [path for path in older if held[path]]
    except Timeout:  # somebody is slow: no reason to go first
        return [path for path in _tickets(mine.parent) if path < mine]
    except OSError as error:
        log.warning("Runs on this machine do not wait for each other: %s", error)
        return []


def _tickets(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{ENDING}") if path.stem.isdigit())


def _alone(folder: Path) -> FileLock:
    """Nobody else draws or throws away tickets in the meantime."""
    return FileLock(folder / ".lock", timeout=PATIENCE, thread_local=False, poll_interval=0.01)


def _in_words(before: list[Path]) -> str:
    more = f" In the queue before this one: {len(before) - 1} more." if len(before) > 1 else ""
    try:
        first = json.loads(before[0].read_text("utf-8"))
        since = time.strftime("%H:%M", time.localtime(first["since"]))
        return f"Waiting for {first['run']}, which started at {since}.{more}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"Waiting for another run on this machine.{more}"
