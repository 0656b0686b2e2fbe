"""A run is a folder: all that went into it and came out of it, readable while it runs and after."""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tltool.errors import RunError
from tltool.files import write_json, write_text

State = Literal["running", "done", "failed", "stopped", "interrupted"]
STATE_FILE = "run.json"


@dataclass(frozen=True)
class RunFolder:
    """Names of what lies in a run's folder."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def data(self) -> Path:
        return self.path / "data.json"

    @property
    def inspection(self) -> Path:
        return self.path / "inspection.json"

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
        if state["state"] == "running" and not is_alive(state["pid"]):
            state["state"] = "interrupted"
        return state

    def write_state(self, **changes: Any) -> None:
        """Merges changes into `run.json`."""
        state = json.loads(self.state_file.read_text("utf-8")) if self.state_file.exists() else {}
        write_json(self.state_file, state | changes | {"updated": time.time()})

    def require_done(self) -> None:
        """Raises RunError unless the run finished."""
        state = self.read_state()
        if state["state"] != "done":
            reason = f": {state['reason']}" if state.get("reason") else ""
            raise RunError(f"{self.path}: this run is {state['state']}{reason}, so it has no model to use. Fit again.")


def create_run(folder: Path, name: str, recipe: str, seed: int) -> RunFolder:
    """Makes the folder of a new run.

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
        state = {"name": name, "recipe": recipe, "seed": seed, "state": "running", "pid": os.getpid()}
        state |= {"started": now, "reason": None, "updated": now}
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


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Appends what tltool logs to a file, and the traceback of an error that ends the block."""
    logger = logging.getLogger("tltool")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except BaseException:
        # At the level of information: a handler of the caller's that shows errors would show it a second time.
        logger.info("The run ended early.", exc_info=True)
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


def is_alive(pid: int) -> bool:
    """Whether a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it exists and belongs to somebody else
    return True
