"""The lock of whoever works on a run. The system lets go of it when a process dies, however it dies."""

from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

RETRY = 0.01  # seconds
LOOK = 0.05  # seconds; where locks cannot be shared two that look at the same moment hold them against each other


def lock_of(path: Path) -> FileLock:
    """The lock, not yet taken; it is let go of by whatever thread comes to it last."""
    return FileLock(path, thread_local=False, poll_interval=RETRY)


def is_held(path: Path) -> bool | None:
    """Whether a living process holds the lock; None where the file system cannot tell. Makes no file."""
    try:
        if fcntl is None:
            return _is_taken(path)
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # `FileLock` takes it alone, those that look share it
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except (OSError, NotImplementedError):
        return None


def _is_taken(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with lock_of(path).acquire(timeout=LOOK):
            return False
    except Timeout:
        return True
