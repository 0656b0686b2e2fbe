"""Runs in processes of their own, which outlive whoever asked for them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.data import Dataset, load_dataset
from tltool.errors import RunError
from tltool.recipes import Recipe
from tltool.training.job import Job, start
from tltool.training.run_folder import RunFolder, State

COMMAND = ("tltool", "resume")  # takes a run's folder
RECORD = "worker.json"  # in the run's folder, with worker.log
PATIENCE = 60.0  # seconds between asking a run to stop and ending it: a step, and a checkpoint
LOOK_EVERY = 0.1  # seconds


@dataclass(frozen=True)
class Submission:
    """A run in a process of its own."""

    run: RunFolder

    @property
    def state(self) -> State:
        """Where it is; "interrupted" as soon as its process is gone."""
        running = self.is_running()  # first: a process that ends in between has written its state before
        state = self.run.read_state()
        never_began = state["state"] == "queued" and state["pid"] is None and not running
        return "interrupted" if never_began else state["state"]

    @property
    def since(self) -> float:
        """When its process was started, in seconds since 1970; the run, where none was started from here."""
        return self._job.started if self._job.exists else self.run.read_state()["started"]

    @property
    def was_stopped(self) -> bool:
        """Whether `stop` was called on it."""
        return self._job.was_stopped

    def is_running(self) -> bool:
        """Whether its process lives, be it to wait for its turn."""
        return self._job.is_running()

    def stop(self, patience: float = PATIENCE) -> None:
        """Asks the run to stop, which writes a checkpoint, and returns once its process is gone.

        Args:
            patience: Seconds, >= 0, after which a process that still runs is ended.

        Raises:
            RunError: if another process carries the run out.
        """
        self._job.stop(patience)
        state = self.run.read_state()
        if state["state"] == "interrupted" or (state["state"] == "queued" and state["pid"] is None):
            self.run.write_state(state="stopped", reason="Stopped before it came to a checkpoint of its own")
        elif state["state"] in ("queued", "running"):
            raise RunError(f"{self.run.path}: process {state['pid']} on {state.get('host')} carries it out. Stop that.")

    def wait(self, timeout: float | None = None) -> State:
        """Waits for the process to end, at most so many seconds, and says where the run is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.is_running() and (deadline is None or time.monotonic() < deadline):
            time.sleep(LOOK_EVERY)
        return self.state

    def failure(self) -> str:
        """Why a process that is gone left no result, in a sentence or two."""
        told = None if self._job.exists else self.run.read_state().get("reason")
        return told or self._job.failure()

    @property
    def _job(self) -> Job:
        return Job(self.run.path / RECORD)


def submit(
    data: Dataset | str | Path,
    recipe: str | Path | Recipe | None = None,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
    budget: float | None = None,
    mlflow: str | None = None,
) -> Submission:
    """Starts a run in a process of its own; mistakes are told at once, before there is one.

    Of the runs that one machine is given at a time, each waits for those before it.

    Args:
        data: A data set, or what `load_dataset` takes.
        recipe: A shipped recipe's name, a TOML file, or a `Recipe`; None to let the table decide.
        out: The run's folder, new or empty; `runs/NAME-N` where None.
        seed: Of the split (where `data` is not split yet), the folds and the order of the pictures.
        settings: Changes to the recipe such as "head.folds=3".
        budget: Seconds that carrying it out may take; None for no bound.
        mlflow: Address of an MLflow tracking server, or a folder, that the run is logged to as well.

    Raises:
        TltoolError: if the data, the recipe or the folder cannot be used, or no process can be started.
    """
    # Late: the table comes with SciPy, and a page that only watches runs shall not load it.
    from tltool.training.new_run import new_run

    data = data if isinstance(data, Dataset) else load_dataset(data, seed)
    run = new_run(data, recipe, out=out, seed=seed, settings=settings, budget=budget, mlflow=mlflow)
    return _start(run)


def resubmit(run: RunFolder) -> Submission:
    """Goes on with a run, in a new process of its own.

    Raises:
        RunError: if it is done, or a process works on it.
        TltoolError: if no process can be started.
    """
    run.require_unfinished()
    state = Submission(run).state
    if state in ("queued", "running"):
        raise RunError(f"{run.path}: this run is {state} already. Wait for it.")
    run.write_state(state="queued", pid=None, reason=None)
    Job(run.path / RECORD).forget()
    return _start(run)


def _start(run: RunFolder) -> Submission:
    # In the caller's folder: its settings, such as where the cache is, may be named from there.
    folder = run.path.absolute()
    start([*COMMAND, str(folder)], folder / RECORD, Path())
    return Submission(run)
