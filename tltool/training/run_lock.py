"""The lock of whoever works on a run. The system lets go of it when a process dies, however it dies."""

from pathlib import Path

from filelock import FileLock, Timeout

RETRY = 0.01  # seconds
LOOK = 0.05  # seconds; two that look at the same moment hold the lock against each other, for microseconds


def lock_of(path: Path) -> FileLock:
    """The lock, not yet taken; it is let go of by whatever thread comes to it last."""
    return FileLock(path, thread_local=False, poll_interval=RETRY)


def is_held(path: Path) -> bool | None:
    """Whether a living process holds the lock; None where the file system cannot tell. Makes no file."""
    if not path.exists():
        return False
    try:
        with lock_of(path).acquire(timeout=LOOK):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return None
