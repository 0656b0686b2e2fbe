"""Soups of fine-tuned runs: the mean of the weights that help, as a run of its own; starts that differ are refused."""

import json
import shutil

import keras
import numpy as np
import pytest

import tltool as tl
from tests.trained import TINY, finished_run
from tltool.data.decoding import Framing, decode, prepare
from tltool.ensembles.made_run import MADE_OF
from tltool.ensembles.soup_of_runs import check_same_start, soup_of_runs
from tltool.errors import RunError
from tltool.evaluation.metrics import score
from tltool.export.predictor import load_model
from tltool.heads.network import CLIP, LOGITS, prepared_model
from tltool.run import Run
from tltool.training.run_folder import RunFolder

# A probe that is too weak and a high rate: what fine-tuning gives is kept.
WEAK = (*TINY, "head.strengths=[100.0]", "stages.top.epochs=1", "stages.top.batch_size=16")
NORM = "stage7_block1_expand_bn"


def tuned(folder, *settings):
    data = finished_run().data.root
    return tl.fit(data, "finetune-top", out=folder, settings=(*WEAK, "stages.top.learning_rate=0.004", *settings))


@pytest.fixture(scope="module")
def middle(tmp_path_factory):
    run = tuned(tmp_path_factory.mktemp("cooked") / "middle")
    assert run.tuning.kept
    return run


def moved(run, name, step, learned):
    """A copy of a run whose head, and if it has learned statistics those of one layer, lie a step away."""
    folder = run.path.parent / name
    shutil.copytree(run.path, folder)
    model = load_model(folder).model
    random = np.random.default_rng(0)
    head = model.get_layer(LOGITS)
    head.set_weights([weight + step * random.normal(0, 0.5, weight.shape) for weight in head.get_weights()])
    if learned:
        norm = model.get_layer(NORM)
        *scales, mean, variance = norm.get_weights()
        norm.set_weights([*scales, mean + step * random.normal(0, 0.1, mean.shape), variance])
    model.save(folder / "model.keras")
    return Run(RunFolder(folder))


@pytest.fixture(scope="module", params=["kept", "learned"])
def runs(request, middle):
    """On two sides of the middle, and one much farther away."""
    learned = request.param == "learned"
    steps = {"left": -1.0, "right": 1.0, "far": 20.0}
    return [moved(middle, f"{name}-{request.param}", step, learned) for name, step in steps.items()]


@pytest.fixture(scope="module")
def soup(runs):
    return soup_of_runs(runs, runs[0].path.with_name(f"soup-of-{runs[0].path.name}"))


def loss_on_validation(model, run):
    """Through tltool's own squares, scored by hand."""
    prob = prepared_model(model).predict_on_batch(squares_of(run, "valid"))
    return score(prob, run.data.labels_of(run.data.indices("valid")), run.class_names).log_loss


def squares_of(run, part):
    return np.stack([prepare(decode(run.data.paths[row]), Framing(32)) for row in run.data.indices(part)])


def test_it_is_the_middle_of_the_two_that_help(runs, soup, middle):
    assert set(soup.chosen) == {runs[0].path.name, runs[1].path.name}
    for variable, found, expected in zip(
        soup.run.model.weights, soup.run.model.get_weights(), middle.model.get_weights(), strict=True
    ):
        if not variable.path.startswith(f"{NORM}/moving"):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=variable.path)


def test_statistics_that_were_learned_are_those_of_the_training_pictures(runs, soup, middle):
    """Of the layer that learned them; where they were kept, the mean is as it was."""
    found = soup.run.model.get_layer(NORM).get_weights()[-2:]
    if runs[0].path.name == "left-kept":
        expected = middle.model.get_layer(NORM).get_weights()[-2:]
    else:
        below = keras.Model(middle.model.get_layer(CLIP).output, middle.model.get_layer(NORM).input)
        values = below.predict_on_batch(squares_of(middle, "train")).astype(np.float64)
        values = values.reshape(-1, values.shape[-1])
        expected = values.mean(axis=0), values.var(axis=0)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_the_first_is_the_best_on_the_validation_pictures_and_the_soup_is_no_worse(runs, soup):
    losses = {run.path.name: loss_on_validation(run.model, run) for run in runs}
    assert min(losses, key=losses.get) == soup.chosen[0]
    loss = loss_on_validation(soup.run.model, runs[0])
    assert loss < min(losses.values())
    note = json.loads((soup.run.path / MADE_OF).read_text("utf-8"))
    assert note["chosen"] == list(soup.chosen)
    assert note["validation_log_loss"] == pytest.approx(losses, abs=1e-4)
    assert note["validation_log_loss_of_soup"] == pytest.approx(loss, abs=1e-4)


def test_it_has_the_size_of_one_and_a_row_of_its_own(runs, soup):
    assert soup.run.model.count_params() == runs[0].model.count_params()
    assert [price.name for price in soup.members] == [run.path.name for run in runs]
    assert soup.whole.name == "soup of 2 of 3"
    assert soup.whole.accuracy == soup.run.metrics.top1
    assert soup.run.metrics.pictures == soup.pictures == len(runs[0].data.indices("test"))
    assert soup.whole.seconds == sum(price.seconds for price in soup.members)
    assert all(name in str(soup) for name in soup.chosen)


def test_the_runs_stay_as_they_are(runs, soup):
    for run in runs:
        saved = load_model(run.path).model
        for held, stored in zip(run.model.get_weights(), saved.get_weights(), strict=True):
            np.testing.assert_array_equal(held, stored)


def test_it_predicts_like_any_run(soup):
    picture = finished_run().data.paths[0]
    (prediction,) = tl.load_model(soup.run.path).predict(picture)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)


def changed(run, folder, **settings):
    """A copy of a run whose recipe says otherwise."""
    shutil.copytree(run.path, folder)
    recipe = (folder / "recipe.toml").read_text("utf-8")
    for key, value in settings.items():
        line = next(line for line in recipe.splitlines() if line.startswith(f"{key} = "))
        recipe = recipe.replace(line, f"{key} = {value}", 1)
    (folder / "recipe.toml").write_text(recipe, "utf-8")
    return Run(RunFolder(folder))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": '"efficientnet_lite0"'}, "backbone = 'tiny_random', .* from 'efficientnet_lite0'"),
        ({"weights": '"/other.weights.h5"'}, "weights = 'pretrained', .* from '/other.weights.h5'"),
        ({"fit": '"crop"'}, "fit = 'squish', .* from 'crop'"),
    ],
)
def test_other_starts_are_refused(middle, tmp_path, settings, message):
    with pytest.raises(RunError, match=message):
        soup_of_runs([middle, changed(middle, tmp_path / "other", **settings)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_probes_are_refused(middle):
    with pytest.raises(RunError, match="is a probe, which has learned from its validation pictures"):
        soup_of_runs([middle, finished_run()])


def test_other_layers_are_refused(middle, tmp_path):
    wider = tuned(tmp_path / "wider", 'head.taps="all"')
    with pytest.raises(RunError, match="differ in their layers"):
        check_same_start([middle, wider])


def test_a_split_that_leaves_nothing_to_choose_by_is_told(middle, tmp_path):
    shutil.copytree(middle.path, tmp_path / "greedy")
    greedy = Run(RunFolder(tmp_path / "greedy"))
    index = json.loads(greedy.folder.data.read_text("utf-8"))
    for row in index["files"]:
        row[2] = "test" if row[2] == "test" else "train"
    greedy.folder.data.write_text(json.dumps(index), "utf-8")
    with pytest.raises(RunError, match="no validation picture is left"):
        soup_of_runs([middle, greedy], tmp_path / "out")
