"""A run in MLflow, read back by its own client from a folder; servers that fail keep nobody."""

import os
import socket

import mlflow.exceptions
import pytest
from mlflow import MlflowClient

from tltool.errors import TltoolError
from tltool.files import write_json, write_text
from tltool.recipes import load_recipe
from tltool.training import mlflow_log
from tltool.training.events import EventLog
from tltool.training.mlflow_log import MLflowLog, check_mlflow
from tltool.training.run_folder import RunFolder, create_run


@pytest.fixture
def run(tmp_path) -> RunFolder:
    run = create_run(tmp_path / "run", "run", "r", 0)
    write_text(run.recipe, load_recipe("finetune-all").to_toml())
    write_json(run.metrics, {"top1": 0.75, "recipe": "finetune-all", "validation": {"probe": 0.5, "kept": "blend"}})
    return run


@pytest.fixture
def client(tmp_path, monkeypatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return MlflowClient(tracking_uri=(tmp_path / "store").as_uri())


def tell(uri: str, run: RunFolder, epochs: list[tuple[str, int, float]], **end: object) -> None:
    """What one process tells of a run."""
    events = EventLog(run.events, MLflowLog(uri, run))
    for stage, number, loss in epochs:
        events.report("training", 0, 10)
        events.emit("epoch", stage=stage, epoch=number, loss=loss, valid_log_loss=2 * loss, rate=None)
    if end:
        events.emit("end", **end)
    events.close()


def logged(client: MlflowClient, run: RunFolder):
    return client.get_run(run.read_state()["mlflow_run"])


def history(client: MlflowClient, run: RunFolder, name: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.read_state()["mlflow_run"], name)]


def test_recipe_epochs_and_scores_arrive(tmp_path, run, client):
    tell(str(tmp_path / "store"), run, [("head", 1, 0.5), ("all", 1, 0.25)], state="done", seconds=2.0)
    found = logged(client, run)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "run"
    assert found.data.tags["tltool.run"] == str(run.path)
    assert found.data.tags["tltool.state"] == "done"
    assert client.get_experiment(found.info.experiment_id).name == "tltool"
    recipe = load_recipe("finetune-all")
    assert found.data.params["backbone"] == recipe.backbone
    assert found.data.params["head.folds"] == str(recipe.head.folds)
    last = recipe.stages[-1]
    assert found.data.params[f"stages.{last.name}.epochs"] == str(last.epochs)
    assert history(client, run, "loss") == [(1, 0.5), (2, 0.25)]
    assert history(client, run, "valid_log_loss") == [(1, 1.0), (2, 0.5)]
    assert found.data.metrics.keys() == {"loss", "valid_log_loss", "top1", "validation.probe"}
    assert history(client, run, "top1") == [(2, 0.75)]


def test_a_resumed_run_goes_on_in_the_same_one(tmp_path, run, client):
    uri = (tmp_path / "store").as_uri()
    tell(uri, run, [("all", 1, 0.5)], state="stopped", reason="")
    assert logged(client, run).info.status == "KILLED"
    number = run.read_state()["mlflow_run"]
    tell(uri, run, [("all", 2, 0.25)])
    assert run.read_state()["mlflow_run"] == number
    assert logged(client, run).info.status == "RUNNING"
    tell(uri, run, [("all", 3, 0.125)], state="failed", reason="no space left")
    assert logged(client, run).info.status == "FAILED"
    assert history(client, run, "loss") == [(1, 0.5), (2, 0.25), (3, 0.125)]


def test_a_run_that_the_server_lost_is_logged_anew(tmp_path, run, client):
    run.write_state(mlflow_run="0" * 32)
    tell(str(tmp_path / "store"), run, [("all", 1, 0.5)], state="done")
    assert history(client, run, "loss") == [(1, 0.5)]


def test_the_environment_names_the_experiment_and_is_left_as_it_was(tmp_path, run, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "beetles")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    before = dict(os.environ)
    tell(str(tmp_path / "store"), run, [], state="done")
    assert client.get_experiment(logged(client, run).info.experiment_id).name == "beetles"
    assert dict(os.environ) == before


def test_a_server_that_does_not_answer_is_told_once_and_ends_nothing(run, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        tell(uri, run, [("all", number, 0.5) for number in range(1, 20)], state="done")
    assert [record.message.partition(" (")[0] for record in caplog.records if record.name == mlflow_log.__name__] == [
        f"{uri}: MLflow does not take what happens"
    ]
    assert run.events.read_text().count('"epoch"') == 2 * 19


def test_what_a_server_did_not_take_is_sent_later(tmp_path, run, client, monkeypatch):
    asked = []

    def fail(uri):
        asked.append(uri)
        raise mlflow.exceptions.MlflowException("down")

    listener = MLflowLog(str(tmp_path / "store"), run)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow_log, "_client", fail)
        for number in (1, 2):
            listener({"time": 1.0, "event": "epoch", "stage": "all", "epoch": number, "loss": 0.5})
    assert len(asked) == 1  # not at every epoch
    listener({"time": 2.0, "event": "epoch", "stage": "all", "epoch": 3, "loss": 0.25})
    assert "mlflow_run" not in run.read_state()
    listener({"time": 3.0, "event": "end", "state": "done"})
    assert history(client, run, "loss") == [(1, 0.5), (2, 0.5), (3, 0.25)]
    assert logged(client, run).info.status == "FINISHED"


def test_more_than_a_server_takes_at_once(tmp_path, run, client, monkeypatch):
    monkeypatch.setattr(mlflow_log, "MOST_AT_ONCE", 3)
    tell(str(tmp_path / "store"), run, [("all", number, 0.5) for number in range(1, 3)], state="done")
    assert len(logged(client, run).data.params) > 20
    assert len(history(client, run, "loss")) == 2


def test_tables_and_stages_become_names():
    values = {"a": 1, "b": {"c": [1, 2], "d": {}}, "e": [{"name": "top", "f": True}, {"f": 2}], "g": []}
    assert mlflow_log._flat(values) == {
        "a": 1,
        "b.c": [1, 2],
        "e.top.name": "top",
        "e.top.f": True,
        "e.1.f": 2,
        "g": [],
    }


def test_an_address_that_mlflow_does_not_know():
    with pytest.raises(TltoolError, match=r"--mlflow gopher://x: .* Give http://HOST:PORT of a server, or a folder"):
        check_mlflow("gopher://x")


def test_a_server_need_not_answer_before_the_run(tmp_path):
    check_mlflow("http://127.0.0.1:1")
    check_mlflow(str(tmp_path / "store"))
    assert list(tmp_path.iterdir()) == []


def test_without_mlflow_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(mlflow_log, "find_spec", lambda name: None)
    with pytest.raises(TltoolError, match=r'pip install "tltool\[mlflow\]"'):
        check_mlflow("http://127.0.0.1:1")
