"""New runs: all mistakes before anything is made, and a folder that another process can carry out."""

import tomllib
from pathlib import Path

import pytest

from tests.pictures import make_class_folders
from tltool.data import load_dataset, load_index
from tltool.errors import RecipeError, RunError, TltoolError
from tltool.recipes import check_recipe, load_recipe
from tltool.training import mlflow_log
from tltool.training import new_run as module
from tltool.training.new_run import check_settings, new_run
from tltool.training.request import read_request

PLAIN = {"out": None, "seed": 0, "settings": (), "budget": None}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return make_class_folders(tmp_path_factory.mktemp("data") / "photos", {"ant": 6, "bee": 6})


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_holds_all_that_carrying_it_out_takes(here, photos):
    data = load_dataset(photos, 3)
    changes = {"seed": 3, "settings": ["head.folds=3"], "budget": 60.0}
    run = new_run(data, "stage-probe", **PLAIN | changes)
    assert run.path == Path("runs/photos-1")
    assert run.read_state()["state"] == "queued"
    assert run.read_state()["recipe"] == "stage-probe"
    request = read_request(run.request)
    assert (request.settings, request.seed, request.budget, request.mlflow) == (("head.folds=3",), 3, 60.0, None)
    wanted = load_recipe("stage-probe", ["head.folds=3"])
    assert check_recipe(tomllib.loads(request.recipe), "request") == wanted
    assert load_index(run.data) == data


def test_the_table_may_decide(here, photos):
    run = new_run(load_dataset(photos), None, **PLAIN | {"out": "mine", "settings": ["head.folds=3"]})
    assert run.path == Path("mine")
    assert run.read_state()["recipe"] == "decided by the table"
    assert read_request(run.request).recipe is None


def test_a_recipe_object_is_kept_whole(here, photos):
    recipe = load_recipe("finetune-top").model_copy(update={"name": "mine"})
    run = new_run(load_dataset(photos), recipe, **PLAIN)
    assert check_recipe(tomllib.loads(read_request(run.request).recipe), "request") == recipe


def test_the_data_are_found_from_another_folder(here, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    run = new_run(load_dataset("photos"), "linear-probe", **PLAIN | {"out": here / "run"})
    monkeypatch.chdir(here)
    assert all(path.exists() for path in load_index(run.data).paths)


def test_files_are_found_from_another_folder(here, photos):
    (here / "mine.weights.h5").touch()
    whole = str(here / "mine.weights.h5")
    run = new_run(load_dataset(photos, 0), "stage-probe", **PLAIN | {"settings": ["weights=mine.weights.h5"]})
    assert tomllib.loads(read_request(run.request).recipe)["weights"] == whole
    run = new_run(load_dataset(photos, 0), None, **PLAIN | {"settings": ["weights = mine.weights.h5", "head.folds=3"]})
    assert read_request(run.request).settings == (f"weights={whole}", "head.folds=3")
    run = new_run(load_dataset(photos, 0), "stage-probe", **PLAIN, mlflow="logged")
    assert read_request(run.request).mlflow == str(here / "logged")
    run = new_run(load_dataset(photos, 0), "stage-probe", **PLAIN, mlflow="http://somewhere:5000")
    assert read_request(run.request).mlflow == "http://somewhere:5000"


def test_nothing_is_made_where_a_check_fails(here, photos):
    data = load_dataset(photos)
    recipe = load_recipe("linear-probe")
    before = sorted(photos.rglob("*"))
    for error, told, arguments in [
        (RecipeError, "No recipe is called 'linear-prob'", {"recipe": "linear-prob"}),
        (RecipeError, "head", {"recipe": "linear-probe", "settings": ["head.folds=1"]}),
        (RecipeError, "no section 'heads'", {"settings": ["heads.folds=3"]}),
        (RecipeError, "change the Recipe object itself", {"recipe": recipe, "settings": ["head.folds=3"]}),
        (RunError, "lies inside the data set", {"recipe": "linear-probe", "out": photos / "ant" / "run"}),
    ]:
        with pytest.raises(error, match=told):
            new_run(data, **{"recipe": None} | PLAIN | arguments)
    assert list(here.iterdir()) == []
    assert sorted(photos.rglob("*")) == before


def test_a_missing_mlflow_is_told_before_anything_is_made(here, photos, monkeypatch):
    monkeypatch.setattr(mlflow_log, "find_spec", lambda name: None)
    with pytest.raises(TltoolError, match=r'pip install "tltool\[mlflow\]"'):
        new_run(load_dataset(photos), "linear-probe", **PLAIN, mlflow="http://127.0.0.1:1")
    assert list(here.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(here, photos):
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="exists and is not empty"):
        new_run(load_dataset(photos), "linear-probe", **PLAIN | {"out": "mine"})
    assert [path.name for path in (here / "mine").iterdir()] == ["thesis.txt"]


def test_a_disk_that_is_full_is_a_clear_error(here, photos, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(RunError, match=r"cannot be written there \(No space left on device\)\. Give another --out"):
        new_run(load_dataset(photos), "linear-probe", **PLAIN)


def test_settings_need_to_suit_one_recipe_that_the_table_may_pick():
    check_settings(["head.folds=3", "stages.0.epochs=2"])
    for setting in ("head.fold=3", "stages.nowhere.epochs=2", "epochs"):
        with pytest.raises(RecipeError):
            check_settings([setting])
