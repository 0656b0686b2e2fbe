"""`views = K`: the head learns from augmented views of its pictures, which stay on their pictures' side of a fold."""

import json

import numpy as np
import pytest

import tltool as tl
from tests.pictures import make_class_folders
from tltool.heads.cross_validation import cross_validate, out_of_fold_logits
from tltool.heads.logistic import LogisticProblem
from tltool.recipes import load_recipe

TINY = ["backbone=tiny_random", "head.folds=2", "head.shuffles=1"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_class_folders(tmp_path_factory.mktemp("views"), {"ant": 12, "bee": 12, "cat": 12})


def made(count: int = 40, features: int = 6, seed: int = 0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return random.normal(size=(count, features)) + 0.8 * labels[:, None], labels


def test_views_are_learned_from_and_never_scored():
    clean, labels = made()
    # Views of nothing but noise: were they scored, their losses would show; were they held out with others, no change.
    noise = np.random.default_rng(1).normal(size=clean.shape)
    problem = LogisticProblem(np.concatenate([clean, noise]), np.concatenate([labels, labels]), 2)
    found = cross_validate(problem, [0.1], folds=4, shuffles=1, seed=0, views=1)
    assert found.losses.shape == labels.shape
    again = out_of_fold_logits(problem, 0.1, folds=4, seed=0, views=1)
    assert again.shape == (40, 2)
    np.testing.assert_array_equal(again.argmax(axis=1) == labels, found.correct.astype(bool))


def test_a_picture_s_views_are_not_learned_from_while_it_is_held_out():
    # Features that say nothing but who a picture is, and a view that is its very copy: whoever learned from the copy
    # would know its label.
    labels = np.random.default_rng(0).permutation(np.arange(24) % 2)
    identity = np.eye(24)
    problem = LogisticProblem(np.concatenate([identity, identity]), np.concatenate([labels, labels]), 2)
    found = cross_validate(problem, [0.001], folds=4, shuffles=1, seed=0, views=1)
    assert found.accuracy < 0.7


def test_copies_as_views_give_the_head_of_the_pictures_alone():
    clean, labels = made()
    alone = LogisticProblem(clean, labels, 2).fit(0.1)
    copied = LogisticProblem(np.concatenate([clean] * 3), np.concatenate([labels] * 3), 2).fit(0.1)
    np.testing.assert_allclose(copied.kernel, alone.kernel, rtol=1e-3, atol=1e-5)


def test_a_run_with_views(photos, tmp_path):
    settings = [*TINY, "head.views=2"]
    run = tl.fit(photos, "linear-probe", out=tmp_path / "run", settings=settings)
    assert load_recipe(run.folder.recipe).head.views == 2
    decision = json.loads(run.folder.decision.read_text("utf-8"))
    # What the decision picked stands in the run's recipe, which is complete.
    assert load_recipe(run.folder.recipe).head.augmentation == decision["augmentation"]
    plain = tl.fit(photos, "linear-probe", out=tmp_path / "plain", settings=TINY)
    assert np.abs(run.model.get_weights()[-2] - plain.model.get_weights()[-2]).max() > 1e-4
    again = tl.fit(photos, "linear-probe", out=tmp_path / "again", settings=settings)
    for one, other in zip(run.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("recipe", ["stage-probe", None])
def test_fractional_max_pooling_as_a_head_s_pooling(photos, tmp_path, recipe):
    import keras

    settings = [*TINY, 'head.pooling=["mean", "fractional-max"]', "head.views=1", "head.augmentation=light"]
    run = tl.fit(photos, recipe, out=tmp_path / "run", settings=settings)
    # Loads without tltool, and says what the run's own model says.
    model = keras.saving.load_model(run.folder.model, compile=False, safe_mode=True)
    assert not any(type(layer).__module__.startswith("tltool") for layer in model.layers)
    plain = tl.fit(photos, recipe, out=tmp_path / "plain", settings=[*TINY, 'head.pooling=["mean"]'])
    assert model.get_weights()[-2].shape[0] == 2 * plain.model.get_weights()[-2].shape[0]


def test_nothing_of_augmentation_or_regularizers_is_in_the_saved_model(photos, tmp_path):
    import keras

    settings = [*TINY, "stages.top.epochs=1", "stages.top.augmentation=strong", "stages.top.learning_rate=0.01"]
    settings += ["stages.top.regularizers={dropout=0.2, drop_connect=0.1, l2_sp=0.01}", "stages.top.trainable=top:1"]
    run = tl.fit(photos, "finetune-top", out=tmp_path / "tuned", settings=settings)
    code_free = keras.saving.load_model(run.folder.model, compile=False, safe_mode=True)
    assert {type(layer).__module__.split(".")[0] for layer in code_free.layers} == {"keras"}
    kinds = {type(layer).__name__ for layer in code_free.layers}
    assert not kinds & {"Dropout", "DropConnect", "_Augmentation", "StochasticDepth"}
