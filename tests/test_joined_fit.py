"""`backbones = [...]` through an ordinary fit: one model of both, that predicts, resumes and exports like any other."""

import json

import numpy as np
import pytest

import tltool as tl
from tests.trained import TINY, finished_run
from tltool.backbones import load_backbone
from tltool.data.decoding import decode
from tltool.errors import RecipeError
from tltool.features.extract import extract
from tltool.heads.network import LOGITS, framings_of
from tltool.recipes import load_recipe
from tltool.training.run_folder import RunFolder

BOTH = ["tiny_random", "efficientnet_lite0"]
SETTINGS = (f"backbones={json.dumps(BOTH)}", "image_size=64", *TINY[1:])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("joined") / "run"
    return tl.fit(finished_run().data.root, "joined-probe", out=out, settings=SETTINGS)


def test_the_recipe_that_ships_names_two():
    assert load_recipe("joined-probe").joined == ("efficientnet_lite0", "efficientnet_lite2")


def test_the_model_reads_the_features_of_both(run):
    """Their last stages side by side, through the head that the file holds, in float64."""
    data = run.data
    rows = data.indices("test")
    kernel, bias = run.model.get_layer(LOGITS).get_weights()
    files = [data.files[row] for row in rows]
    blocks = [
        extract(backbone, data.root, files).select((backbone.stage_names[-1],), ("mean",))
        for backbone in (load_backbone(name, image_size=64) for name in BOTH)
    ]
    values = np.concatenate(blocks, axis=1).astype(np.float64)
    assert values.shape[1] == len(kernel)
    logits = values @ kernel + bias
    prob = np.exp(logits - logits.max(axis=1, keepdims=True))
    prob /= prob.sum(axis=1, keepdims=True)
    found = np.concatenate([run.model.predict_on_batch(decode(data.paths[row])[None]) for row in rows])
    np.testing.assert_allclose(found, prob, atol=1e-2)
    assert len(framings_of(run.model)) == 1  # of one size: the square is made once


def test_whatever_takes_a_run_takes_it(run, tmp_path):
    picture = run.data.paths[0]
    (prediction,) = tl.load_model(run.path).predict(picture)
    bundle = run.export(tmp_path / "bundle")
    (again,) = tl.load_model(bundle.folder).predict(picture)
    assert again.probabilities == prediction.probabilities
    assert json.loads(run.folder.versions.read_text())["backbone"] == "tiny_random, efficientnet_lite0"
    assert load_recipe(run.folder.recipe).joined == tuple(BOTH)
    assert run.evaluate(run.data.root).pictures == run.metrics.pictures


def test_a_run_that_was_stopped_ends_the_same(run, tmp_path):

    def stopping(event):
        if event["event"] == "stage" and event["text"].startswith("Calibrating"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tl.fit(run.data.root, "joined-probe", out=tmp_path / "run", settings=SETTINGS, listener=stopping)
    again = tl.resume(tmp_path / "run")
    for one, other in zip(again.model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_be_joined_is_told(tmp_path):
    data = finished_run().data.root
    with pytest.raises(RecipeError, match="two or more that differ"):
        tl.fit(data, "joined-probe", out=tmp_path / "run", settings=['backbones=["tiny_random"]'])
    with pytest.raises(RecipeError, match="there is nothing to search"):
        tl.tune(data, "joined-probe", out=tmp_path / "run", settings=SETTINGS)
    assert not RunFolder(tmp_path / "run").path.exists()
