"""A stage's augmentation and regularizers are what trains, and leave nothing behind in the classifier."""

import keras
import numpy as np
import pytest

from tests.training.test_finetune import SIZE, STAGE, Bench, make_bench, pictures  # noqa: F401
from tltool.data.decoding import Framing
from tltool.errors import RegularizerError
from tltool.training.finetune import select_trainable
from tltool.training.stage_network import StageNetwork

EVERYTHING = {"dropout": 0.3, "drop_connect": 0.2, "drop_block": 0.2, "l1": 0.001, "l2": 0.01, "l2_sp": 0.01}


@pytest.fixture
def bench(pictures) -> Bench:  # noqa: F811
    return make_bench(pictures)


def network(bench: Bench, device: bool = False, **changes) -> StageNetwork:
    select_trainable(bench.model, bench.backbone, "all")
    stage = STAGE.model_copy(update=changes)
    return StageNetwork(bench.model, stage, bench.train, Framing(SIZE), seed=0, device=device)


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
    assert network(bench).network is bench.model


def test_the_pipeline_and_the_device_train_alike(pictures):  # noqa: F811
    found = []
    for device in (False, True):
        bench = make_bench(pictures)
        # These steps have one form, so that the pictures are the same up to a rounding.
        with network(bench, device, augmentation={"flip_horizontal": 0.5, "rotate": 20, "contrast": 0.3}) as trained:
            trained.compile(keras.optimizers.SGD(0.01))
            found.append(losses(trained))
    np.testing.assert_allclose(found[0], found[1], rtol=2e-3)


def test_same_seed_same_losses(pictures):  # noqa: F811
    found = []
    for _ in range(2):
        with network(make_bench(pictures), augmentation="photographs", regularizers={"dropout": 0.5}) as trained:
            keras.utils.set_random_seed(0)
            trained.compile(keras.optimizers.SGD(0.01))
            found.append(losses(trained))
    np.testing.assert_array_equal(found[0], found[1])


def test_a_penalty_is_in_the_loss(bench):
    (examples,) = network(bench).batches(np.arange(8), 1)
    found = {}
    for strength in (0.0, 0.5):
        with network(bench, regularizers={"l2": strength} if strength else {}) as trained:
            trained.compile(keras.optimizers.SGD(0.0))
            found[strength] = trained.step(examples)
    kernels = [v for v in bench.model.trainable_variables if v.path.endswith("kernel")]
    squares = sum(float(np.square(keras.ops.convert_to_numpy(kernel)).sum()) for kernel in kernels)
    assert found[0.5] - found[0.0] == pytest.approx(0.5 * squares / 2, rel=1e-4)


def test_a_regularizer_without_a_place_is_told(bench):
    with pytest.raises(RegularizerError, match="no residual branch"):
        network(bench, regularizers={"stochastic_depth": 0.2})
