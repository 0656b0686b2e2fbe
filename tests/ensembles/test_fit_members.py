"""`members = {...}` through an ordinary fit: the average of runs inside the run, scored out of fold, and resumable."""

import json

import numpy as np
import pytest

import tltool as tl
from tests.pictures import make_class_folders
from tests.trained import TINY, finished_run
from tltool.data.decoding import decode
from tltool.ensembles.fit_members import MEMBERS
from tltool.errors import RecipeError
from tltool.evaluation.metrics import score
from tltool.recipes import load_recipe
from tltool.run import Run
from tltool.training.events import read_events
from tltool.training.run_folder import RunFolder

# A probe that is too weak and a high rate: what fine-tuning gives is kept.
WEAK = (*TINY, "head.strengths=[100.0]", "stages.top.epochs=1", "stages.top.learning_rate=0.004")


def members_of(run):
    return [Run(RunFolder(path)) for path in sorted((run.path / MEMBERS).iterdir())]


def said(run, rows, data):
    return np.concatenate([run.model.predict_on_batch(decode(data.paths[row])[None]) for row in rows])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("members")


@pytest.fixture(scope="module")
def by_folds(folder):
    settings = (*TINY, 'members={ by = "folds", count = 3 }')
    return tl.fit(finished_run().data.root, "linear-probe", out=folder / "folds", settings=settings)


@pytest.fixture(scope="module")
def by_seeds(folder):
    data = make_class_folders(folder / "pictures", dict.fromkeys(("ant", "bee", "cat"), 14), size=48)
    settings = (*WEAK, 'members={ by = "seeds", count = 2 }')
    return tl.fit(data, "finetune-top", out=folder / "seeds", settings=settings)


@pytest.mark.parametrize(("way", "count"), [("by_folds", 3), ("by_seeds", 2)])
def test_it_is_the_mean_of_its_members(request, way, count):
    run = request.getfixturevalue(way)
    members = members_of(run)
    assert len(members) == count
    rows = run.data.indices("test")
    found, *each = (said(one, rows, run.data) for one in (run, *members))
    assert max(np.abs(one - each[0]).max() for one in each) > 1e-4
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)
    assert run.metrics.pictures == len(rows)
    expected = score(np.mean(each, axis=0), run.data.labels_of(rows), run.class_names)
    assert run.metrics.top1 == expected.top1
    state = run.folder.read_state()
    assert (state["state"], state["recipe"]) == ("done", load_recipe(run.folder.recipe).name)
    assert run.decision["used"] == state["recipe"]
    assert load_recipe(run.folder.recipe).members.count == count
    assert load_recipe(members[0].folder.recipe).members == "none"
    assert [event["event"] for event in read_events(run.folder.events)].count("end") == 1
    assert any("Probabilities, calibrated after averaging" in event.get("text", "") for event in told(run))
    (prediction,) = tl.load_model(run.path).predict(run.data.paths[0])
    assert prediction.label in run.class_names


def told(run):
    return [event for event in read_events(run.folder.events) if event["event"] == "note"]


def test_members_by_seeds_share_the_split_and_differ_in_their_seed(by_seeds):
    first, second = members_of(by_seeds)
    assert first.data.parts == second.data.parts
    assert [run.folder.read_state()["seed"] for run in (first, second)] == [0, 1]


def test_out_of_fold_scores_are_of_members_that_have_not_seen_the_picture(by_folds):
    """Each learning picture once, by the one member whose data set lacks it."""
    data, members = by_folds.data, members_of(by_folds)
    rows = data.indices("train", "valid")
    prob = []
    for row in rows:
        (blind,) = [member for member in members if data.files[row] not in member.data.files]
        prob.append(said(blind, [row], data)[0])
    expected = score(np.array(prob), data.labels_of(rows), data.class_names)
    found = json.loads(by_folds.folder.metrics.read_text("utf-8"))["out_of_fold"]
    assert found["pictures"] == len(rows)
    assert found["top1"] == expected.top1
    assert found["log_loss"] == pytest.approx(expected.log_loss, abs=5e-3)
    assert any(event["text"].startswith(f"Out of fold, on {len(rows)} pictures") for event in told(by_folds))


def test_a_run_that_was_stopped_goes_on_with_its_second_member(by_folds, tmp_path):
    def stopping(event):
        if event.get("text") == "Member 2 of 3":
            raise KeyboardInterrupt

    data = finished_run().data.root
    settings = (*TINY, 'members={ by = "folds", count = 3 }')
    with pytest.raises(KeyboardInterrupt):
        tl.fit(data, "linear-probe", out=tmp_path / "run", settings=settings, listener=stopping)
    heard = []
    again = tl.resume(tmp_path / "run", listener=heard.append)
    stages = [event["text"] for event in heard if event["event"] == "stage"]
    assert [text for text in stages if text.startswith("Member")] == ["Member 2 of 3", "Member 3 of 3"]
    for one, other in zip(again.model.get_weights(), by_folds.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_that_was_killed_once_it_had_its_scores_lacks_nothing(by_folds, tmp_path):
    def stopping(event):
        if event.get("text") == "Writing the report":
            raise KeyboardInterrupt

    settings = (*TINY, 'members={ by = "folds", count = 3 }')
    with pytest.raises(KeyboardInterrupt):
        tl.fit(finished_run().data.root, "linear-probe", out=tmp_path / "run", settings=settings, listener=stopping)
    again = tl.resume(tmp_path / "run")
    for name in ("recipe.toml", "decision.json", "data.json", "labels.json", "seen.json"):
        assert (again.path / name).read_bytes() == (by_folds.path / name).read_bytes(), name
    assert again.folder.report.exists()


def test_epochs_of_members_are_no_epochs_of_the_run(by_seeds):
    assert not [event for event in read_events(by_seeds.folder.events) if event["event"] == "epoch"]
    for member in members_of(by_seeds):
        assert [event for event in read_events(member.folder.events) if event["event"] == "epoch"]


def test_members_may_have_backbones_of_their_own(folder):
    names = ["tiny_random", "efficientnet_lite0"]
    settings = [f"backbones={json.dumps(names)}", 'members={ by = "backbones", count = 2 }', "image_size=64", *TINY[1:]]
    run = tl.fit(finished_run().data.root, "joined-probe", out=folder / "backbones", settings=settings)
    assert [load_recipe(member.folder.recipe).backbone for member in members_of(run)] == names
    rows = run.data.indices("test")
    each = [said(one, rows, run.data) for one in members_of(run)]
    np.testing.assert_allclose(said(run, rows, run.data), np.mean(each, axis=0), atol=1e-5)


def test_what_cannot_be_is_told(tmp_path):
    data = finished_run().data.root
    for recipe, message in ((None, "the table has not picked it yet"), ("linear-probe", "the same for every seed")):
        with pytest.raises(RecipeError, match=message):
            tl.fit(data, recipe, out=tmp_path / "run", settings=['members={ by = "seeds", count = 2 }'])
    with pytest.raises(RecipeError, match="Several backbones are read by one probe"):
        tl.fit(data, out=tmp_path / "run", settings=['backbones=["efficientnet_lite0", "tiny_random"]'])
    with pytest.raises(RecipeError, match="a search is for one classifier"):
        tl.tune(data, "finetune-top", out=tmp_path / "run", settings=['members={ by = "seeds", count = 2 }'])
    assert not (tmp_path / "run").exists()
