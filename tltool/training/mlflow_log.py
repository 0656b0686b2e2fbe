"""What happens in a run, for an MLflow server."""

import json
import logging
import os
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tltool.errors import TltoolError
from tltool.training.epoch_steps import EpochSteps, scores_of
from tltool.training.events import Event
from tltool.training.run_folder import RunFolder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

EXPERIMENT = "tltool"  # where the environment names none
STATUS = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
LONGEST_PARAMETER = 500  # characters; older servers refuse more
MOST_AT_ONCE = 100  # parameters or metrics in one call; servers refuse more
PAUSE = 60.0  # seconds before a server that failed is asked again; doubled each time, as each asking stalls the run
# MLflow's own would have a run wait minutes for a server that does not answer; and it wants to be told that a folder,
# which it would rather see replaced by a database, is meant.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}

log = logging.getLogger(__name__)


def check_mlflow(uri: str) -> None:
    """Checks, before any work, that there is an MLflow to log with and that it knows such an address.

    Raises:
        TltoolError: if not. A server that does not answer is no fault: it may be there when there is something to log.
    """
    if find_spec("mlflow") is None:
        raise TltoolError('Logging to MLflow needs its client: `pip install "tltool[mlflow]"`.')
    if _is_folder(uri):
        return  # to ask would make it
    try:
        with _environment():
            _client(uri)
    except Exception as error:  # each kind of store has its own
        reason = str(error).strip().splitlines()[0]
        raise TltoolError(f"--mlflow {uri}: {reason} Give http://HOST:PORT of a server, or a folder.") from None


class MLflowLog:
    """A listener that logs the recipe as parameters, the scores of epochs as metrics, and how the run ended.

    A run that is resumed goes on in the same MLflow run. What a server does not take is kept and sent again later, at
    the latest with the end; the first fault is logged, and none ends the run.

    Args:
        uri: Address of a tracking server, or a folder.
        run: Its `run.json` keeps the number of the MLflow run.
    """

    def __init__(self, uri: str, run: RunFolder):
        self._uri = uri
        self._run = run
        self._steps = EpochSteps(run)
        self._client: MlflowClient | None = None
        self._id: str | None = None
        self._metrics: list[Metric] = []
        self._has_parameters = False
        self._pause = PAUSE
        self._silent_until = 0.0

    def __call__(self, event: Event) -> None:
        if event["event"] == "progress":
            return
        try:
            with _environment():
                self._keep(event)
                if event["event"] == "end" or time.monotonic() >= self._silent_until:
                    self._send(event)
        except Exception as error:  # whatever it is, a record of the training is not worth the training
            if self._pause == PAUSE:
                log.warning("%s: MLflow does not take what happens (%s). It is tried again later.", self._uri, error)
            self._silent_until = time.monotonic() + self._pause
            self._pause *= 2

    def _keep(self, event: Event) -> None:
        scores = scores_of(event) if event["event"] == "epoch" else {}
        step = self._steps.step_of(event) if scores else 0
        if event["event"] == "end" and event["state"] == "done":
            scores, step = _numbers(json.loads(self._run.metrics.read_text("utf-8"))), self._steps.last
        if scores:
            from mlflow.entities import Metric

            when = int(event["time"] * 1000)
            self._metrics += [Metric(name, value, when, step) for name, value in scores.items()]

    def _send(self, event: Event) -> None:
        if self._client is None:
            self._client = _client(self._uri)
        if self._id is None:
            self._id = self._find() or self._create()
        if not self._has_parameters and self._run.recipe.exists():
            self._send_parameters()
        while self._metrics:
            self._client.log_batch(self._id, metrics=self._metrics[:MOST_AT_ONCE])
            del self._metrics[:MOST_AT_ONCE]
        if event["event"] == "end":
            self._client.set_tag(self._id, "tltool.state", event["state"])
            self._client.set_terminated(self._id, STATUS[event["state"]])

    def _find(self) -> str | None:
        """The MLflow run that this run was logged to before, opened again."""
        known = self._run.read_state().get("mlflow_run")
        if known is None:
            return None
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(known, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None  # somebody deleted it, or this is another server
        return known

    def _create(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        tags = {"tltool.run": str(self._run.path.absolute())}
        found = self._client.create_run(number, tags=tags, run_name=self._run.path.name).info.run_id
        self._run.write_state(mlflow_run=found)
        return found

    def _send_parameters(self) -> None:
        from mlflow.entities import Param

        values = _flat(tomllib.loads(self._run.recipe.read_text("utf-8")))
        parameters = [Param(name, str(value)[:LONGEST_PARAMETER]) for name, value in values.items()]
        for start in range(0, len(parameters), MOST_AT_ONCE):
            self._client.log_batch(self._id, params=parameters[start : start + MOST_AT_ONCE])
        self._has_parameters = True


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=Path(uri).as_uri() if _is_folder(uri) else uri)


def whole_address(uri: str) -> str:
    """The same address from any folder."""
    return str(Path(uri).expanduser().absolute()) if _is_folder(uri) else uri


def _is_folder(uri: str) -> bool:
    return "://" not in uri and uri.split(":")[0] not in ("databricks", "uc")


@contextmanager
def _environment() -> Iterator[None]:
    """What the user has not set is set, for the calls inside alone."""
    own = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


def _flat(values: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Tables and stages under names such as "stages.top.epochs"."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{place}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for number, item in enumerate(value):
                flat |= _flat(item, f"{place}{key}.{item.get('name', number)}.")
        else:
            flat[place + key] = value
    return flat


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in _flat(metrics).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
