"""A step in pieces is the step of the whole batch; what does not fit is told from other faults."""

import keras
import numpy as np
import pytest

from tests.training.bench import STAGE, make_bench
from tltool.errors import TltoolError
from tltool.layers.penalties import penalized
from tltool.optimizers.catalogue import OPTIMIZERS, get
from tltool.optimizers.whole_set import WholeSet
from tltool.training import finetune
from tltool.training.checkpoints import Checkpoints
from tltool.training.selection import select_trainable
from tltool.training.stage_network import StageNetwork
from tltool.training.train_step import OutOfMemoryError, TrainStep, is_out_of_memory, padded

RANDOM = np.random.default_rng(0)
X, W = RANDOM.normal(size=(7, 5)).astype("float32"), RANDOM.uniform(0.2, 2, 7).astype("float32")
Y = np.eye(3, dtype="float32")[RANDOM.integers(0, 3, 7)]
STEPWISE = [name for name, entry in OPTIMIZERS.items() if not entry.full_batch]


def network(optimizer) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    hidden = keras.layers.Dense(4, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.01))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer, loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("weights", [None, W], ids=["alike", "weighted"])
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_pieces_give_the_step_of_the_whole(weights, parts):
    whole, cut = (TrainStep(network(keras.optimizers.SGD(0.5))) for _ in range(2))
    cut.parts = parts
    for _ in range(3):
        assert cut(X, Y, weights) == pytest.approx(whole(X, Y, weights), rel=1e-5)
    for a, b in zip(cut._network.get_weights(), whole._network.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", STEPWISE)
def test_pieces_count_as_one_step_for_every_optimizer(name):
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.05, 0.0])
    step = TrainStep(network(get(name, learning_rate=rate)))
    step.parts = 4
    step(X, Y)
    assert int(step._network.optimizer.iterations) == 1
    other = TrainStep(network(get(name, learning_rate=rate)))
    other(X, Y)
    for a, b in zip(step._network.get_weights(), other._network.get_weights(), strict=True):
        # Signs and roots of gradients that are nearly 0 turn rounding into movement.
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-3)


def test_the_loss_is_that_of_the_textbook():
    model = network(keras.optimizers.SGD(0.0))
    first, bias, last, offset = (array.astype(float) for array in model.get_weights())
    logits = np.tanh(X @ first + bias) @ last + offset
    losses = np.log(np.exp(logits).sum(1)) - (logits * Y).sum(1)
    expected = (W * losses).mean() + 0.01 * (first**2).sum()
    step = TrainStep(model)
    for step.parts in (1, 3):
        assert step(X, Y, W) == pytest.approx(expected, rel=1e-5)


def test_a_batch_that_devices_share_has_the_same_mean():
    values = RANDOM.normal(size=7)
    rows, targets, weights = padded(values, Y, W, 4)
    assert len(rows) == len(targets) == len(weights) == 8
    assert (weights * rows).mean() == pytest.approx((W * values).mean())
    assert (weights[7:] == 0).all()
    (one, two), _, alike = padded([values, -values], Y, None, 2)
    np.testing.assert_array_equal(one, -two)
    assert (alike * one).mean() == pytest.approx(values.mean())


def test_what_out_of_memory_is():
    import tensorflow as tf

    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"))
    assert is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes."))
    assert not is_out_of_memory(ValueError("shapes"))


def fits(monkeypatch, most: int) -> list[int]:
    """Lets no more pictures at once into memory; some weights have moved when it is noticed."""
    import tensorflow as tf

    sizes, whole = [], TrainStep._whole

    def tight(self, inputs, targets, weights):
        sizes.append(len(targets))
        if len(targets) <= most:
            return whole(self, inputs, targets, weights)
        variable = self._network.trainable_variables[0]
        variable.assign(variable + 1.0)
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(TrainStep, "_whole", tight)
    return sizes


def test_out_of_memory_goes_on_in_pieces_from_weights_that_are_whole(pictures, tmp_path, monkeypatch):
    stage = STAGE.model_copy(update={"trainable": "top:1", "learning_rate": 0.02})
    plain = make_bench(pictures)
    plain.tune(stage)
    sizes = fits(monkeypatch, 4)
    bench = make_bench(pictures)
    bench.tune(stage, checkpoints=Checkpoints(tmp_path / "c"))
    assert sizes == [8]
    assert bench.texts("note")[0] == (
        "Out of memory with 8 pictures at once: going on with 4, and 2 such pieces a step."
    )
    assert [epoch["loss"] for epoch in bench.epochs] == pytest.approx(
        [epoch["loss"] for epoch in plain.epochs], rel=1e-3
    )


def test_out_of_memory_while_an_epoch_is_measured(pictures, monkeypatch):
    sizes = fits(monkeypatch, 4)
    bench = make_bench(pictures)
    before = bench.model.get_weights()
    select_trainable(bench.model, bench.backbone, "top:1")
    stage = STAGE.model_copy(update={"trainable": "top:1", "augmentation": "light"})
    given = bench.model, stage, bench.train, bench.valid, bench.backbone.framing, 0
    with StageNetwork(*given, device=False) as trained:
        trained.prepare()
        assert finetune._epoch_seconds(trained) > 0
    assert sizes == [8]
    for then, now in zip(before, bench.model.get_weights(), strict=True):
        np.testing.assert_array_equal(then, now)


def test_out_of_memory_in_a_full_batch_stage_takes_smaller_batches(pictures, monkeypatch):
    whole = {"optimizer": "lbfgs", "learning_rate": 1.0, "schedule": "constant", "weight_decay": 0.0, "epochs": 3}
    plain = make_bench(pictures)
    plain.tune(STAGE.model_copy(update=whole))
    mean, sizes = WholeSet._mean, []

    def tight(self, function):
        def computed(batch):
            sizes.append(len(batch[1]))
            if sizes[-1] > 4:
                raise MemoryError
            return function(batch)

        return mean(self, computed)

    monkeypatch.setattr(WholeSet, "_mean", tight)
    bench = make_bench(pictures)
    bench.tune(STAGE.model_copy(update=whole))
    assert sizes[0] == 8
    assert max(sizes[1:]) == 4
    assert bench.texts("note")[0].startswith("Out of memory with 8 pictures at once")
    assert bench.texts("note")[1] == plain.texts("note")[0]


def test_one_picture_that_does_not_fit_is_an_error_with_advice():
    step = TrainStep(network(keras.optimizers.SGD(0.1)))
    step.parts = 8
    with pytest.raises(TltoolError, match=r"one picture at a time\. Give a smaller image_size"):
        step.make_smaller(8)


def test_other_faults_are_not_taken_for_it():
    step = TrainStep(network(keras.optimizers.SGD(0.1)))
    with pytest.raises(Exception, match=r"(?i)shape|dimension|incompatible|expected") as caught:
        step(X[:, :3], Y)
    assert not isinstance(caught.value, OutOfMemoryError)


def test_penalties_count_once(pictures):
    bench = make_bench(pictures)
    select_trainable(bench.model, bench.backbone, "head")
    (batch,) = bench.train.read(bench.backbone.framing, 8 * 8)
    targets = bench.train.targets(3)[: len(batch.pixels)]
    with penalized(bench.model, {"l2": 1.0}):
        bench.model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
        step = TrainStep(bench.model)
        whole = step(batch.pixels, targets)
        step.parts = 3
        assert step(batch.pixels, targets) == pytest.approx(whole, rel=1e-5)
