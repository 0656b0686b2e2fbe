"""A run is a folder: all that went into it and came out of it, readable while it runs and after."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tltool.errors import RunError, TltoolError
from tltool.files import write_json, write_text
from tltool.training.run_lock import is_held

State = Literal["queued", "running", "stopped", "failed", "done", "interrupted"]
STATE_FILE = "run.json"
CALIBRATION_FILE, NOVELTY_FILE = "calibration.json", "novelty.npz"  # go with the model wherever it goes
STARTING = 60.0  # seconds that a run waits for its process before it counts as interrupted; Keras takes some to load
SILENT = 60.0  # seconds without a heartbeat after which a process that cannot be seen counts as gone


@dataclass(frozen=True)
class RunFolder:
    """Names of what lies in a run's folder."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def found_recipe(self) -> Path:
        """What a search has found, until the run is done; its trials belong to the other one."""
        return self.path / "recipe.found.toml"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def inspection(self) -> Path:
        return self.path / "inspection.json"

    @property
    def ranking(self) -> Path:
        """Of backbones, where the recipe leaves the choice to the pictures."""
        return self.path / "ranking.json"

    @property
    def decision(self) -> Path:
        return self.path / "decision.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    @property
    def labels(self) -> Path:
        return self.path / "labels.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """One page with all of it, for people."""
        return self.path / "report.html"

    @property
    def seen(self) -> Path:
        """Content keys of the pictures that were learned from."""
        return self.path / "seen.json"

    @property
    def versions(self) -> Path:
        return self.path / "versions.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def request(self) -> Path:
        """What the run was asked for."""
        return self.path / "request.json"

    @property
    def lock(self) -> Path:
        """Locked by the process that works on the run."""
        return self.path / ".lock"

    @property
    def heartbeat(self) -> Path:
        """Touched every few seconds by the process that works on the run."""
        return self.path / "heartbeat"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def probe(self) -> Path:
        """The solved head that fine-tuning starts from."""
        return self.path / "probe.npz"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def scratch(self) -> Path:
        """What can be made again; it goes when the run is done."""
        return self.path / "scratch"

    @property
    def state_file(self) -> Path:
        return self.path / STATE_FILE

    def read_state(self) -> dict[str, Any]:
        """What `run.json` says; a run whose process is gone without a word is "interrupted".

        Raises:
            RunError: if this is not a run folder.
        """
        try:
            state = json.loads(self.state_file.read_text("utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.path}: not a run folder ({STATE_FILE} is missing).") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.state_file}: cannot be read ({error}).") from None
        if not isinstance(state, dict) or not {"state", "pid", "started"} <= state.keys():
            raise RunError(f"{self.path}: not a run folder ({STATE_FILE} is not one of tltool's).")
        if state["state"] in ("queued", "running") and not self._is_worked_on(state):
            state["state"] = "interrupted"
        return state

    def write_state(self, **changes: Any) -> None:
        """Merges changes into `run.json`.

        Raises:
            OSError: if it cannot be written; what was there is whole.
        """
        state = json.loads(self.state_file.read_text("utf-8")) if self.state_file.exists() else {}
        write_json(self.state_file, state | changes | {"updated": time.time()})

    def require_done(self) -> None:
        """Raises RunError unless the run has a model and its scores, which are written last."""
        state = self.read_state()
        if state["state"] == "done" or self.metrics.exists():
            return
        reason = f": {state['reason']}" if state.get("reason") else ""
        advice = {
            "queued": "Wait for it.",
            "running": "Wait for it.",
            "stopped": f"`tltool resume {self.path}` goes on with it.",
            "interrupted": f"`tltool resume {self.path}` goes on with it.",
        }.get(state["state"], "Fit again.")
        raise RunError(
            f"{self.path}: this run is {state['state']}{reason.rstrip('.')}, so it has no model to use. {advice}"
        )

    def require_unfinished(self) -> None:
        """Raises RunError if there is no such run, or it is done."""
        if self.read_state()["state"] == "done":
            raise RunError(f"{self.path}: this run is done; there is nothing to resume.")

    def seconds_spent(self) -> float:
        """How long the run was worked on, while nobody does; of a process that was killed, until its last heartbeat."""
        state = self.read_state()
        spent, since = state.get("spent", 0.0), state.get("working_since")
        if since is None:
            return spent
        with suppress(OSError):
            return spent + max(0.0, self.heartbeat.stat().st_mtime - since)
        return spent

    def _is_worked_on(self, state: dict[str, Any]) -> bool:
        # Before its process has it nobody holds the lock.
        if state["pid"] is None and time.time() - state.get("updated", 0.0) < STARTING:
            return True
        # A lock is not seen from other machines on every file system; its file may lie where nobody may write.
        held = is_held(self.lock) if state.get("host", socket.gethostname()) == socket.gethostname() else None
        return self.is_beating() if held is None else held

    def is_beating(self) -> bool:
        """Whether there was a heartbeat of late."""
        try:
            return time.time() - self.heartbeat.stat().st_mtime < SILENT
        except OSError:
            return False


def create_run(folder: Path, name: str, recipe: str, seed: int) -> RunFolder:
    """Makes the folder of a new run, which is queued until a process takes it.

    Raises:
        RunError: if something is there already, or the folder cannot be made.
    """
    run = RunFolder(folder)
    held = f"{folder}: already holds a run. Give another --out, or delete the folder yourself."
    try:
        if run.state_file.exists():
            raise RunError(held)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"{folder}: exists and is not empty. Give another --out.")
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        state = {"name": name, "recipe": recipe, "seed": seed, "state": "queued", "pid": None}
        state |= {"host": socket.gethostname(), "started": now, "reason": None, "updated": now}
        try:
            # "x", although all else is written by renaming: of two processes that found the folder empty, one gets it.
            with run.state_file.open("x", encoding="utf-8") as file:
                json.dump(state, file, indent=1, ensure_ascii=False)
        except FileExistsError:
            raise RunError(held) from None
        write_text(run.events, "")
    except OSError as error:
        raise _unwritable(folder, error) from None
    return run


def new_run_path(name: str, parent: Path) -> Path:
    """Makes the first of NAME-1, NAME-2, ... in `parent` that does not exist; no two processes get the same one.

    Raises:
        RunError: if the folder cannot be made.
    """
    number = 1
    path = parent / f"{name}-{number}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
                path = parent / f"{name}-{number}"
            else:
                return path
    except OSError as error:
        raise _unwritable(path, error) from None


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short, rather than the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Appends what tltool logs to a file, and the traceback of an error that ends the block."""
    logger = logging.getLogger("tltool")
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except BaseException as error:
        # At the level of information: a handler of the caller's that shows errors would show it a second time.
        told = isinstance(error, KeyboardInterrupt | TltoolError)  # in words; where it was thrown helps nobody
        logger.info("The run ended early. %s", error, exc_info=not told)
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def list_runs(parent: Path) -> list[RunFolder]:
    """The runs directly inside a folder, oldest first; what other programs left there is passed over."""
    if not parent.is_dir():
        return []
    started = {}
    for path in parent.glob(f"*/{STATE_FILE}"):
        run = RunFolder(path.parent)
        with suppress(RunError):
            started[run] = run.read_state()["started"]
    return sorted(started, key=started.__getitem__)


def _unwritable(folder: Path, error: OSError) -> RunError:
    return RunError(f"{folder}: the run cannot be written there ({error.strerror}). Give another --out.")
