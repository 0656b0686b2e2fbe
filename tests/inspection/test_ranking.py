"""Ranked backbones: measured on the same pictures, and the quickest of those that are as good."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.trained import TINY, copy_pictures, finished_run
from tltool import carry_out, pipeline
from tltool.backbones import load_backbone
from tltool.errors import RecipeError, RunError, TltoolError, WeightsError
from tltool.features.extract import extract
from tltool.heads.cross_validation import cross_validate
from tltool.heads.logistic import LogisticProblem
from tltool.inspection.logme import log_evidence
from tltool.inspection.ranking import Ranked, _pick, rank_backbones, read_ranking
from tltool.recipes import load_recipe

FIRST = Ranked("slow", 0.9, 0.01, 0.30, 0.0, 0.0, -0.1, 10.0, 20.0, 260)


def beside(name, behind, error, milliseconds):
    return replace(FIRST, name=name, behind=behind, behind_error=error, milliseconds=milliseconds)


@pytest.mark.parametrize(
    ("others", "pick", "reason"),
    [
        ([], "slow", "the only one that was measured"),
        ([beside("quick", 0.02, 0.03, 4.0)], "quick", r"not behind slow beyond .* \+0\.020 ± 0\.030.* 40% of its time"),
        ([beside("quick", 0.04, 0.03, 4.0)], "slow", r"better than quick beyond .* -0\.040 ± 0\.030"),
        ([beside("slower", 0.02, 0.03, 14.0)], "slow", "the best, and the quickest of those within a standard error"),
        ([beside("a", 0.01, 0.03, 8.0), beside("b", 0.02, 0.03, 5.0), beside("c", 0.2, 0.03, 1.0)], "b", "50% of its"),
    ],
)
def test_the_quickest_of_those_as_good_is_picked(others, pick, reason):
    found, why = _pick([FIRST, *others])
    assert found == pick
    assert why.startswith(f"{pick}: ")
    assert re.search(reason, why)


def test_numbers_are_those_of_a_probe_on_the_same_pictures():
    data = finished_run().data
    ranking = pipeline.rank_backbones(data, ["tiny_random"], seed=3)
    (found,) = ranking.backbones
    backbone, head = load_backbone("tiny_random"), load_recipe("linear-probe").head
    rows = data.indices("train", "valid")
    table = extract(backbone, data.root, [data.files[row] for row in rows])
    features, labels = table.select(backbone.stage_names[-1:], head.pooling), data.labels_of(rows)
    expected = cross_validate(LogisticProblem(features, labels, 3), head.strengths, head.folds, head.shuffles, 3)
    assert ranking.pictures == len(rows)
    assert (found.accuracy, found.log_loss) == (pytest.approx(expected.accuracy), pytest.approx(expected.log_loss))
    assert found.log_evidence == pytest.approx(log_evidence(features, labels))
    top = backbone.network.get_layer(backbone.stages[-1].layer)
    below = backbone.network.layers[: backbone.network.layers.index(top) + 1]
    assert found.megabytes == pytest.approx(4e-6 * sum(np.prod(w.shape) for layer in below for w in layer.weights))
    assert found.milliseconds > 0


def test_what_cannot_be_loaded_is_left_out_and_said(tmp_path, monkeypatch):
    data = finished_run().data
    probe = carry_out.ProbeSpec("p", (), ("mean",), (1.0,), 2, 1)

    def load(name, *args, **kwargs):
        if name == "resnet50":
            raise WeightsError("no network")
        return load_backbone(name, *args, **kwargs)

    monkeypatch.setattr("tltool.inspection.ranking.load_backbone", load)
    ranking = rank_backbones(data, ["tiny_random", "resnet50", "tiny_random"], probe)
    assert [each.name for each in ranking.backbones] == ["tiny_random"]
    assert ranking.left_out == {"resnet50": "no network"}
    with pytest.raises(TltoolError, match="No backbone can be ranked: no network"):
        rank_backbones(data, ["resnet50"], probe)
    with pytest.raises(TltoolError, match="There is no backbone 'nonsense'"):
        rank_backbones(data, ["tiny_random", "nonsense"], probe)
    with pytest.raises(RecipeError, match="can be told image_size and fit"):
        pipeline.rank_backbones(data, settings=["head.folds=3"])


def test_a_ranking_is_read_back_and_a_damaged_one_told_of(tmp_path):
    ranking = pipeline.rank_backbones(finished_run().data, ["tiny_random"])
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps(ranking.to_json()))
    assert read_ranking(path) == ranking
    path.write_text("{}")
    with pytest.raises(RunError, match=r"ranking\.json: cannot be read .* ranked anew"):
        read_ranking(path)


def test_a_backbone_that_is_left_to_the_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(carry_out, "offline_names", lambda: ("tiny_random",))
    photos = copy_pictures(tmp_path / "photos", range(12))
    heard = []
    settings = ["backbone=auto", *TINY[1:]]
    run = pipeline.fit(photos, "linear-probe", out=tmp_path / "run", settings=settings, listener=heard.append)
    assert load_recipe(run.folder.recipe).backbone == "tiny_random"
    told = [event.get("text") for event in heard]
    assert "Ranking backbones" in told
    assert "Backbone tiny_random: the only one that was measured." in told
    undecided = pipeline.fit(photos, out=tmp_path / "undecided", settings=["backbone=auto"])
    assert load_recipe(undecided.folder.recipe).backbone == "tiny_random"
    facts = pipeline.inspect(photos, settings=["backbone=auto"])
    assert facts.backbone == "tiny_random"
    assert pipeline.recommend(facts).recipe.backbone == "tiny_random"
    assert pipeline.examine(photos, settings=["backbone=auto"]).checkup.data.class_names == run.class_names
    assert pipeline.preview(photos, settings=["backbone=auto"], policy="none").grid.shape[2] == 32

    def refuse(*args, **kwargs):
        raise AssertionError("it was ranked before")

    monkeypatch.setattr(carry_out, "rank_backbones", refuse)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    for file in (run.folder.request, run.folder.data, run.folder.ranking):
        (unfinished / file.name).write_bytes(file.read_bytes())
    (unfinished / "run.json").write_text(json.dumps(run.folder.read_state() | {"state": "stopped"}))
    resumed = pipeline.resume(unfinished)
    assert load_recipe(resumed.folder.recipe).backbone == "tiny_random"


def test_local_weights_belong_to_a_backbone_with_a_name():
    with pytest.raises(RecipeError, match=r"`weights` = 'file.keras': a backbone that is left"):
        load_recipe("linear-probe", ["backbone=auto", "weights=file.keras"])
