"""Averages of weights along a stage: what is in them, against weights noted on the way; only better ones stay."""

import keras
import numpy as np
import pytest

from tests.training.bench import STAGE, make_bench, same
from tltool.training import stage_average
from tltool.training.fine_tuning import FineTuning
from tltool.training.stage_average import StageAverage
from tltool.training.stage_network import StageNetwork

CONSTANT = STAGE.model_copy(
    update={"trainable": "top:2", "schedule": "constant", "epochs": 8, "patience": 8, "learning_rate": 0.02}
)
CYCLIC = {"schedule": "restarts", "schedule_arguments": {"cycles": 4, "growth": 1.0}}
WAYS = {
    "ema": CONSTANT.model_copy(update={"average": "ema"}),
    "swa": CONSTANT.model_copy(update={"average": "swa"}),
    "snapshots": CONSTANT.model_copy(update={"snapshots": 2} | CYCLIC),
}


@pytest.fixture
def noted(monkeypatch):
    """Trainable weights after each step, and after each epoch; those that are averaged are given back at the end."""
    steps, epochs, averages = [], [], []
    step, add, weights = StageNetwork.step, StageAverage.after_epoch, StageAverage.weights

    def stepped(self, examples):
        loss = step(self, examples)
        steps.append([keras.ops.convert_to_numpy(variable).copy() for variable in self.network.trainable_variables])
        return loss

    def ended(self, epoch, values):
        epochs.append(values)
        add(self, epoch, values)

    def averaged(self, model, network):
        trained = {id(variable) for variable in network.trainable_variables}
        found = weights(self, model, network)
        rows = zip(model.weights, found, strict=True)
        averages.append((found, [value for variable, value in rows if id(variable) in trained]))
        return found

    monkeypatch.setattr(StageNetwork, "step", stepped)
    monkeypatch.setattr(StageAverage, "after_epoch", ended)
    monkeypatch.setattr(StageAverage, "weights", averaged)
    return steps, epochs, averages


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_ema_is_the_textbook_one_over_all_steps(pictures, noted):
    steps, _, averages = noted
    bench = make_bench(pictures)
    bench.tune(WAYS["ema"])
    momentum = 1 - 1 / max(stage_average.EMA_STEPS, stage_average.EMA_SHARE * len(steps))
    expected = [weight.astype(np.float64) for weight in steps[0]]
    for weights in steps[1:]:
        expected = [momentum * mean + (1 - momentum) * weight for mean, weight in zip(expected, weights, strict=True)]
    close(averages[0][1], expected)


@pytest.mark.parametrize(("way", "ends"), [("swa", [7, 8]), ("snapshots", [6, 8])])
def test_swa_and_snapshots_are_means_of_the_right_epochs(pictures, noted, way, ends):
    _, epochs, averages = noted
    bench = make_bench(pictures)
    bench.tune(WAYS[way])
    assert len(epochs) == 8
    expected = [
        np.mean(values, axis=0, dtype=np.float64) for values in zip(*(epochs[end - 1] for end in ends), strict=True)
    ]
    close(averages[0][0], expected)


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_out_is_never_worse_than_without(pictures, way):
    """An average changes nothing in the course of a stage, so the better of the two is at least as good."""
    plain, averaging = make_bench(pictures), make_bench(pictures)
    without = plain.tune(WAYS[way].model_copy(update={"average": "none", "snapshots": 0}))
    found = averaging.tune(WAYS[way])
    (average,) = found.averages
    assert (average.stage, average.kind) == ("tune", way)
    assert average.plain == pytest.approx(without.fine_tuned, rel=1e-5)
    assert found.fine_tuned == pytest.approx(min(average.plain, average.averaged), rel=1e-5)
    assert [epoch["score"] for epoch in averaging.epochs] == [epoch["score"] for epoch in plain.epochs]
    assert average.in_words("log_loss") in averaging.texts("note")
    assert FineTuning.from_json(found.to_json()) == found
    assert "averages" not in without.to_json()


def test_a_better_average_is_what_comes_out(pictures, monkeypatch):
    """Given for the average: the weights of a stage that was trained for longer."""
    better = make_bench(pictures)
    goal = better.tune(CONSTANT.model_copy(update={"epochs": 20, "patience": 20}))
    weights = better.model.get_weights()
    monkeypatch.setattr(StageAverage, "weights", lambda *_: weights)
    bench = make_bench(pictures)
    found = bench.tune(WAYS["swa"])
    assert found.averages[0].kept
    assert found.fine_tuned == pytest.approx(goal.blended, rel=1e-5)
    assert found.factor == 1.0
    assert same(bench.model.get_weights(), weights)


def test_a_worse_average_is_not(pictures, monkeypatch):
    monkeypatch.setattr(StageAverage, "weights", lambda self, model, network: [9 - w for w in model.get_weights()])
    bench, plain = make_bench(pictures), make_bench(pictures)
    found = bench.tune(WAYS["swa"])
    plain.tune(WAYS["swa"].model_copy(update={"average": "none"}))
    assert not found.averages[0].kept
    assert same(bench.model.get_weights(), plain.model.get_weights())


def test_a_stage_that_ends_before_its_last_quarter_says_so(pictures):
    bench = make_bench(pictures)
    found = bench.tune(WAYS["swa"].model_copy(update={"patience": 1, "learning_rate": 1.0, "optimizer": "sgd"}))
    assert found.averages == ()
    assert "tune: it ended before there was anything to average." in bench.texts("note")


def test_learned_statistics_are_those_of_the_average(pictures, monkeypatch):
    """What its first BatchNorm sees of all training pictures, in float64; what that is worth says
    `tests/training/test_recomputed_statistics.py`."""
    seen = []
    recompute = StageNetwork.recompute_statistics

    def recomputed(self):
        recompute(self)
        (batch,) = self.train.read(self._framing, 1000)
        before = keras.Model(self.model.input, self.model.get_layer("conv1").output)
        values = before.predict_on_batch(batch.pixels).astype(np.float64)
        *_, mean, variance = self.model.get_layer("bn1").get_weights()
        seen.append((mean, variance, values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))))

    monkeypatch.setattr(StageNetwork, "recompute_statistics", recomputed)
    learned = {"trainable": "all", "epochs": 2, "patience": 2}
    make_bench(pictures).tune(WAYS["swa"].model_copy(update=learned | {"statistics": "learned"}))
    make_bench(pictures).tune(WAYS["swa"].model_copy(update=learned | {"statistics": "kept"}))
    (mean, variance, *expected), kept = seen
    np.testing.assert_allclose([mean, variance], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(kept[:2], [np.zeros(8), np.ones(8)])
