"""A stage's augmentation and regularizers are what trains, and leave nothing behind in the classifier."""

import keras
import numpy as np
import pytest

from tests.training.bench import SIZE, STAGE, Bench, make_bench
from tltool.data.decoding import Framing
from tltool.errors import RegularizerError, StoppedError
from tltool.training import stage_network, stored_rows
from tltool.training.selection import select_trainable
from tltool.training.stage_network import StageNetwork

EVERYTHING = {"dropout": 0.3, "drop_connect": 0.2, "drop_block": 0.2, "l1": 0.001, "l2": 0.01, "l2_sp": 0.01}


@pytest.fixture
def bench(pictures) -> Bench:
    return make_bench(pictures)


def network(bench: Bench, device: bool = False, **changes) -> StageNetwork:
    select_trainable(bench.model, bench.backbone, "all")
    stage = STAGE.model_copy(update=changes)
    return StageNetwork(bench.model, stage, bench.train, bench.valid, Framing(SIZE), seed=0, device=device)


def losses(trained: StageNetwork) -> list[float]:
    order = np.arange(len(trained.train))
    return [trained.step(examples) for epoch in (1, 2) for examples in trained.batches(order, epoch)]


@pytest.mark.parametrize("device", [False, True], ids=["pipeline", "device"])
def test_everything_at_once_trains_the_classifier_and_leaves_it_plain(bench, device):
    before, layers = bench.model.get_weights(), [layer.name for layer in bench.model.layers]
    batch = next(bench.valid.read(Framing(SIZE), 4)).pixels
    with network(bench, device, augmentation="strong", regularizers=EVERYTHING) as trained:
        trained.compile(keras.optimizers.SGD(0.01))
        assert np.isfinite(losses(trained)).all()
    assert [layer.name for layer in bench.model.layers] == layers
    assert bench.model.losses == []
    moved = [np.abs(a - b).max() for a, b in zip(before, bench.model.get_weights(), strict=True)]
    assert max(moved) > 0
    # Nothing random: two looks in training mode are the same, and so is a copy that knows nothing of the stage.
    first, second = (keras.ops.convert_to_numpy(bench.model(batch, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    copy = keras.models.clone_model(bench.model)
    copy.set_weights(bench.model.get_weights())
    np.testing.assert_allclose(copy.predict_on_batch(batch), bench.model.predict_on_batch(batch), rtol=1e-5, atol=1e-6)


def test_nothing_asked_is_the_classifier_itself(bench):
    with network(bench, device=True) as trained:
        assert trained.network is bench.model


def test_the_pipeline_and_the_device_train_alike(pictures):
    found = []
    for device in (False, True):
        bench = make_bench(pictures)
        # These steps have one form, so that the pictures are the same up to a rounding.
        with network(bench, device, augmentation={"flip_horizontal": 0.5, "rotate": 20, "contrast": 0.3}) as trained:
            trained.compile(keras.optimizers.SGD(0.01))
            found.append(losses(trained))
    np.testing.assert_allclose(found[0], found[1], rtol=2e-3)


def test_same_seed_same_losses(pictures):
    found = []
    for _ in range(2):
        with network(make_bench(pictures), augmentation="photographs", regularizers={"dropout": 0.5}) as trained:
            keras.utils.set_random_seed(0)
            trained.compile(keras.optimizers.SGD(0.01))
            found.append(losses(trained))
    np.testing.assert_array_equal(found[0], found[1])


def test_a_penalty_is_in_the_loss(bench):
    with network(bench) as trained:
        (examples,) = trained.batches(np.arange(8), 1)
    found = {}
    for strength in (0.0, 0.5):
        with network(bench, regularizers={"l2": strength} if strength else {}) as trained:
            trained.compile(keras.optimizers.SGD(0.0))
            found[strength] = trained.step(examples)
    kernels = [v for v in bench.model.trainable_variables if v.path.endswith("kernel")]
    squares = sum(float(np.square(keras.ops.convert_to_numpy(kernel)).sum()) for kernel in kernels)
    assert found[0.5] - found[0.0] == pytest.approx(0.5 * squares / 2, rel=1e-4)


def test_a_regularizer_without_a_place_is_told(bench):
    with (
        pytest.raises(RegularizerError, match="no residual branch"),
        network(bench, regularizers={"stochastic_depth": 0.2}),
    ):
        pass


def test_what_frozen_layers_give_is_computed_once_and_the_steps_are_the_same(pictures, tmp_path, monkeypatch):
    """Against the same stage with nothing kept: its loss, step after step, and its answers."""
    found = {}
    for kept in (True, False):
        bench = make_bench(pictures)
        select_trainable(bench.model, bench.backbone, "top:1")
        stage = STAGE.model_copy(update={"trainable": "top:1"})
        with monkeypatch.context() as patch:
            if not kept:
                patch.setattr(stage_network, "cut", lambda *_: None)
            given = bench.model, stage, bench.train, bench.valid, Framing(SIZE), 0
            with StageNetwork(*given, scratch=tmp_path) as trained:
                trained.prepare()
                assert bool(list(tmp_path.rglob("rows.json"))) == kept
                trained.compile(keras.optimizers.SGD(0.05))
                if kept:  # neither pictures nor frozen layers are asked again
                    patch.setattr(type(bench.train), "read", None)
                found[kept] = losses(trained), trained.predict()
                trained.clear()
    np.testing.assert_allclose(found[True][0], found[False][0], rtol=1e-4)
    np.testing.assert_allclose(found[True][1], found[False][1], rtol=1e-3, atol=1e-4)


def test_fixed_views_are_shown_in_turn(pictures, tmp_path):
    bench = make_bench(pictures)
    select_trainable(bench.model, bench.backbone, "top:1")
    stage = STAGE.model_copy(update={"trainable": "top:1", "augmentation": "standard", "views": 2})
    with StageNetwork(bench.model, stage, bench.train, bench.valid, Framing(SIZE), 0, scratch=tmp_path) as trained:
        trained.prepare()
        first, second, third = (next(trained.batches(np.arange(8), epoch)).pixels[0] for epoch in (1, 2, 3))
    np.testing.assert_array_equal(first, third)
    assert np.abs(first - second).max() > 1e-3
    with StageNetwork(bench.model, stage, bench.train, bench.valid, Framing(SIZE), 0, device=False) as fresh:
        pixels = next(fresh.batches(np.arange(8), 1)).pixels
        below = keras.Model(bench.model.input, bench.model.get_layer("relu3").output)
        np.testing.assert_allclose(first, below.predict_on_batch(pixels), rtol=1e-3, atol=1e-3)


def test_a_full_disk_is_said_and_nothing_is_kept(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_rows, "FREE_KEPT", 10**18)
    bench = make_bench(pictures)
    select_trainable(bench.model, bench.backbone, "top:1")
    stage, told = STAGE.model_copy(update={"trainable": "top:1"}), []
    given = bench.model, stage, bench.train, bench.valid, Framing(SIZE), 0
    with StageNetwork(*given, scratch=tmp_path, say=told.append) as trained:
        trained.prepare()
        trained.compile(keras.optimizers.SGD(0.05))
        assert np.isfinite(losses(trained)).all()
    assert "too little space to keep what the frozen layers give" in told[0]


def test_a_stage_goes_on_as_it_began(pictures, tmp_path, monkeypatch):
    """What the frozen part gives is the same from disk and anew, but for the last digits."""
    bench = make_bench(pictures)
    select_trainable(bench.model, bench.backbone, "top:1")
    given = bench.model, STAGE.model_copy(update={"trainable": "top:1"}), bench.train, bench.valid, Framing(SIZE), 0
    with StageNetwork(*given, scratch=tmp_path) as trained:
        trained.prepare()
        assert trained.keeps_rows
    monkeypatch.setattr(stored_rows, "FREE_KEPT", 10**18)
    with StageNetwork(*given, scratch=tmp_path) as trained:
        trained.prepare()
        assert trained.keeps_rows, "all rows are there: no room is needed"
        trained.clear()
    with StageNetwork(*given, scratch=tmp_path) as trained, pytest.raises(StoppedError, match="Make room"):
        trained.prepare(keep=True)
    monkeypatch.undo()
    with StageNetwork(*given, scratch=tmp_path) as trained:
        trained.prepare(keep=False)
        assert not trained.keeps_rows


def test_fixed_views_are_mixed_across_classes(pictures, tmp_path):
    """The set lies class by class; batches do not."""
    bench = make_bench(pictures)
    select_trainable(bench.model, bench.backbone, "top:1")
    bench.train = bench.train.take(np.argsort(bench.train.labels, kind="stable"))
    stage = STAGE.model_copy(
        update={"trainable": "top:1", "augmentation": {"mix_up": 1.0}, "views": 1, "batch_size": 4}
    )
    with StageNetwork(bench.model, stage, bench.train, bench.valid, Framing(SIZE), 0, scratch=tmp_path) as trained:
        trained.prepare()
        everything = np.arange(len(bench.train))
        targets = np.concatenate([examples.targets for examples in trained.batches(everything, 1)])
    own = targets[everything, bench.train.labels]
    assert own.mean() > 0.5, "each row is of the picture that it is asked for as"
    assert (own < 1 - 1e-6).mean() > 0.4


def test_a_picture_that_comes_again_is_drawn_for_anew(pictures):
    bench = make_bench(pictures)
    rare = np.flatnonzero(bench.train.labels == 2)[1:]
    bench.train = bench.train.take(np.setdiff1d(np.arange(len(bench.train)), rare))
    with network(bench, balance="sampling", augmentation="standard", batch_size=4) as trained:
        order = trained.order(1)
        pixels = np.concatenate([examples.pixels for examples in trained.batches(order, 1)])
        rest = np.concatenate([examples.pixels for examples in trained.batches(order, 1, done=8)])
    np.testing.assert_array_equal(pixels[8:], rest)
    again = pixels[bench.train.labels[order] == 2]
    assert len(again) > 3
    assert len(np.unique(again, axis=0)) == len(again)


def test_smaller_pictures_train_the_same_weights(pictures):
    bench = make_bench(pictures)
    before = bench.model.get_weights()
    with network(bench, image_size=48) as trained:
        trained.prepare()
        trained.compile(keras.optimizers.SGD(0.05))
        assert next(trained.batches(np.arange(4), 1)).pixels.shape == (4, 48, 48, 3)
        assert np.isfinite(losses(trained)).all()
        assert trained.predict().shape == (len(bench.valid), 3)  # at full size
    assert any(not np.array_equal(a, b) for a, b in zip(before, bench.model.get_weights(), strict=True))


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_rare_classes_count_more_or_come_oftener(pictures, balance):
    bench = make_bench(pictures)
    rare = np.flatnonzero(bench.train.labels == 2)[1:]
    bench.train = bench.train.take(np.setdiff1d(np.arange(len(bench.train)), rare))
    with network(bench, balance=balance) as trained:
        order = trained.order(1)
        (examples, *_) = trained.batches(order, 1)
        weights = trained.weights_of(examples.targets)
    labels = bench.train.labels[order]
    if balance == "weights":
        assert (labels == 2).sum() == 1
        assert weights is not None
        whole = trained.weights_of(bench.train.targets(3)[order])
        assert whole[labels == 2].min() > 1.5 * whole[labels == 0].max()
    else:
        assert weights is None
        assert np.ptp(np.bincount(labels)) <= 1
