"""Processes that do the work: they outlive whoever starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.errors import TltoolError
from tltool.files import write_json

MESSAGE = "tltool: "  # what a process prints before a mistake of the user's, as the command line does
LOG_TAIL = 20_000  # bytes of a log that are searched for its last words
STARTING = 10  # seconds in which a record without a process number counts as a process about to start
PATIENCE = 10  # seconds between asking a process to stop and ending it

# Processes that this one started. A finished one stays a zombie, which looks alive, until it is polled.
_mine: dict[int, subprocess.Popen] = {}


@dataclass(frozen=True)
class Job:
    """A process and what it left behind.

    Attributes:
        record: JSON file with its number and command; the log lies beside it.
    """

    record: Path

    @property
    def name(self) -> str:
        return self.record.stem

    @property
    def log(self) -> Path:
        return self.record.with_suffix(".log")

    @property
    def exists(self) -> bool:
        return self.record.exists()

    @property
    def started(self) -> float:
        """Seconds since 1970."""
        return self._read().get("started") or self.record.stat().st_mtime

    def is_running(self) -> bool:
        pid = self._pid()
        if pid is None:
            return self.exists and time.time() - self.started < STARTING
        if pid in _mine:
            return _mine[pid].poll() is None
        return is_alive(pid) and self._is_ours(pid)

    def stop(self, patience: float = PATIENCE) -> None:
        """Asks the process to stop; one that has not by then is ended. Returns once it is gone.

        Args:
            patience: Seconds, >= 0, that it has after each request; the last is none.
        """
        pid = self._pid()
        if pid is None or not self.is_running():
            return
        with suppress(OSError):  # a full disk must not keep anybody from stopping
            write_json(self.record, self._read() | {"stopped": True})
        for request in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + patience
            with suppress(ProcessLookupError):
                os.kill(pid, request)
            while self.is_running() and (time.monotonic() < deadline or request == signal.SIGKILL):
                time.sleep(0.05)

    @property
    def was_stopped(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._read().get("stopped", False)

    def forget(self) -> None:
        """Removes the record, so that the job can be started anew."""
        self.record.unlink(missing_ok=True)

    def forget_stopped(self) -> None:
        """The same, but only for a job that somebody stopped."""
        if self.was_stopped and not self.is_running():
            self.forget()

    def failure(self) -> str:
        """Why the process ended without a result, in a sentence or two."""
        lines = self._last_lines()
        messages = [index for index, line in enumerate(lines) if line.startswith(MESSAGE)]
        if messages:
            return " ".join(lines[messages[-1] :]).removeprefix(MESSAGE)
        if any(line.startswith("Traceback ") for line in lines):
            return f"tltool itself has failed ({lines[-1]}). Please report it with the log: {self.log}"
        return (
            "The process ended without a word; perhaps the machine was switched off or had too little memory. "
            "Close other programs and try again."
        )

    def _last_lines(self) -> list[str]:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - LOG_TAIL))
                return [line.rstrip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        except OSError:
            return []

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self.record.read_text("utf-8"))
        except (OSError, ValueError):
            return {}

    def _pid(self) -> int | None:
        return self._read().get("pid")

    def _is_ours(self, pid: int) -> bool:
        # After a restart of the machine the number may be somebody else's, whom Stop must not hit.
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return not Path("/proc/self").exists()  # no such folder on macOS: believe the number
        return os.fsencode(self._read()["command"][-1]) in words


def start(arguments: Sequence[str], record: Path, folder: Path | None = None) -> Job:
    """Starts `python -m ARGUMENTS` in a session of its own, unless this record's process was started before.

    Args:
        arguments: A module and its arguments; the last one tells this process from others.
        record: Where its number is kept; standard output and error go into the log beside it.
        folder: That it works in; the record's where None.

    Raises:
        TltoolError: if it cannot be started.
    """
    job = Job(record)
    # -P: a folder that is called like a module must not be imported from the working directory.
    command = [sys.executable, "-P", "-m", *arguments]
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        try:
            record.touch(exist_ok=False)
        except FileExistsError:
            return job  # another tab was faster
        with job.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder or record.parent,
                start_new_session=True,
            )
    except OSError as error:
        job.forget()
        raise TltoolError(f"No process could be started ({error.strerror}). Free some space or memory.") from None
    _mine[process.pid] = process
    write_json(record, {"pid": process.pid, "command": command, "started": time.time()})
    return job


def is_alive(pid: int) -> bool:
    """Whether a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it exists and belongs to somebody else
    return True
