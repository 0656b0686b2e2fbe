"""Fine-tuning: what moves, what stays, and that the probe is what comes out unless something better was found."""

import math
import re
import time

import keras
import numpy as np
import pytest

from tests.training.bench import SIZE, STAGE, Bench, changed, make_bench, same, value, weights_of
from tltool.data import batches, read_batches
from tltool.data.content import content_key
from tltool.data.decoding import Framing
from tltool.errors import DivergedError
from tltool.heads.logistic import log_loss
from tltool.heads.network import LOGITS
from tltool.training import blend, finetune, stage_run
from tltool.training.fine_tuning import FineTuning
from tltool.training.pictures import Pictures
from tltool.training.selection import select_trainable
from tltool.training.stage_network import StageNetwork

STATISTICS = ("gamma", "beta", "moving_mean", "moving_variance")


@pytest.fixture
def bench(pictures):
    return make_bench(pictures)


def scripted(monkeypatch, bench: Bench, *epochs: float, probe: float = 1.0, blends: dict | None = None) -> list:
    """Validation scores as told, whatever the pictures say; gives the weights that each epoch's score was given to.

    Between probe and fine-tuned network nothing is better than the better of the two, unless told otherwise.
    """
    seen, later = [], iter(epochs)
    factors = iter([None, *finetune.FACTORS])

    def of_an_epoch(*_) -> float:
        seen.append(bench.model.get_weights())
        return next(later)

    def of_a_blend(*_) -> float:
        factor, best = next(factors), min(epochs[: len(seen)], default=0.0)
        return probe if factor in (None, 0.0) else (blends or {}).get(factor, best if factor == 1 else 99.0)

    monkeypatch.setattr(stage_run, "score", of_an_epoch)
    monkeypatch.setattr(finetune, "score", of_a_blend)
    return seen


@pytest.mark.parametrize("trainable", ["head", "top:1", "top:3", "all"])
def test_frozen_means_frozen(bench: Bench, monkeypatch, trainable: str):
    # Whatever the validation pictures say, what was trained is kept: here it is asked what training moves.
    scripted(monkeypatch, bench, 0.5)
    before = weights_of(bench.model)
    tuning = bench.tune(STAGE.model_copy(update={"trainable": trainable, "epochs": 1}))
    assert tuning.kept
    moved = changed(before, weights_of(bench.model))

    count = {"head": 0, "all": len(bench.backbone.stages)}.get(trainable) or int("0" + trainable[4:])
    stages = bench.backbone.stage_names[len(bench.backbone.stages) - count :]
    named = [layer for stage in stages for layer in bench.backbone.layers_of(stage)]
    expected = {
        variable.path
        for layer in [*named, bench.model.get_layer(LOGITS)]
        for variable in layer.weights
        if not isinstance(layer, keras.layers.BatchNormalization)
    }
    assert moved == expected
    assert {f"{LOGITS}/kernel", f"{LOGITS}/bias"} <= moved
    assert not [path for path in moved if path.endswith(STATISTICS)]
    assert [path for path in before if path.endswith("moving_mean")]
    assert [path for path in before if path.startswith("preprocess_")]


def test_absurd_rate_hands_the_probe_back_bit_for_bit(bench: Bench):
    before = bench.model.get_weights()
    tuning = bench.tune(STAGE.model_copy(update={"trainable": "all", "learning_rate": 10.0}))
    assert not tuning.kept
    assert tuning.fine_tuned > tuning.probe == tuning.blended
    assert same(before, bench.model.get_weights())
    (note,) = bench.texts("note")
    assert "the probe is handed back" in note
    assert f"probe {tuning.probe:.4f}" in note
    assert f"fine-tuned {tuning.fine_tuned:.4f}" in note


@pytest.mark.parametrize(("schedule", "epochs"), [("constant", 50), ("cosine", 1), ("plateau", 2)])
def test_a_loss_that_is_no_number_stops_the_run_with_advice(bench: Bench, schedule: str, epochs: int):
    stage = STAGE.model_copy(update={"trainable": "all", "learning_rate": 1e30, "schedule": schedule, "epochs": epochs})
    with pytest.raises(DivergedError) as caught:
        bench.tune(stage)
    text = str(caught.value)
    assert re.match(
        r"Stage 'tune', step \d+: the loss is (nan|inf) after a step at a rate of [12](\.\d+)?e\+29\.", text
    )
    assert "--set stages.tune.learning_rate=0.001," in text
    assert "--set stages.tune.optimizer_arguments.clipnorm=1.0." in text
    assert not bench.epochs
    tries = bench.texts("note")
    assert [line.rsplit(" ", 1)[1] for line in tries] == ["2.", "4."]
    assert all("Back to step 0, with the rate divided by" in line for line in tries)


def test_a_weak_probe_is_improved_and_the_best_weights_come_out(bench: Bench):
    tuning = bench.tune(STAGE.model_copy(update={"trainable": "top:2", "epochs": 6, "learning_rate": 0.02}))
    assert tuning.kept
    assert tuning.blended <= tuning.fine_tuned < tuning.probe - 0.05
    assert tuning.fine_tuned == pytest.approx(min(epoch["valid_log_loss"] for epoch in bench.epochs), abs=1e-6)
    assert "is kept" in bench.texts("note")[-1]
    # The weights that the model holds now are those that were scored.
    (batch,) = read_batches(bench.valid.paths, Framing(SIZE), len(bench.valid))
    now = log_loss(bench.model.predict_on_batch(batch.pixels), bench.valid.labels).mean()
    assert now == pytest.approx(tuning.blended, abs=1e-5)


def test_early_stopping_by_patience_keeps_the_best_epoch(bench: Bench, monkeypatch):
    seen = scripted(monkeypatch, bench, 0.9, 0.5, 0.6, 0.7, 0.1)
    tuning = bench.tune(STAGE.model_copy(update={"epochs": 10, "patience": 2}))
    assert [epoch["score"] for epoch in bench.epochs] == [0.9, 0.5, 0.6, 0.7]
    assert tuning == FineTuning("log_loss", probe=1.0, fine_tuned=0.5, factor=1.0, blended=0.5)
    assert same(bench.model.get_weights(), seen[1])
    assert not same(seen[1], seen[2])
    last = {event["task"]: event for event in bench.heard if event["event"] == "progress"}
    assert all(bar["done"] == bar["total"] for bar in last.values())


def test_the_best_blend_is_what_comes_out(bench: Bench, monkeypatch):
    start = bench.model.get_weights()
    seen = scripted(monkeypatch, bench, 0.5, blends={0.3: 0.4})
    tuning = bench.tune(STAGE.model_copy(update={"epochs": 1, "trainable": "all"}))
    (tuned,) = seen
    assert tuning == FineTuning("log_loss", probe=1.0, fine_tuned=0.5, factor=0.3, blended=0.4)
    assert "30% of the way between them is kept, 0.4000" in bench.texts("note")[-1]
    for weight, first, last in zip(bench.model.get_weights(), start, tuned, strict=True):
        np.testing.assert_allclose(weight, 0.7 * first.astype(float) + 0.3 * last, rtol=1e-6, atol=1e-8)


def test_same_seed_same_weights_another_seed_others(pictures, monkeypatch):
    # Whatever the validation pictures say, what was trained is kept.
    stage = STAGE.model_copy(update={"trainable": "all", "learning_rate": 0.01, "epochs": 1})
    results = []
    for seed in (3, 3, 4):
        bench = make_bench(pictures)
        scripted(monkeypatch, bench, 0.5)
        assert bench.tune(stage, seed=seed).kept
        results.append(bench.model.get_weights())
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_a_second_stage_goes_on_from_the_best_of_the_first(bench: Bench, monkeypatch):
    seen = scripted(monkeypatch, bench, 0.5, 0.8, 0.6, 0.4)
    nothing = STAGE.model_copy(update={"name": "still", "learning_rate": 1e-30, "weight_decay": 0.0})
    tuning = bench.tune(STAGE, nothing)
    assert same(seen[2], seen[0])  # the second stage cannot move, so it still has what the first handed on
    assert not same(seen[1], seen[0])
    assert tuning == FineTuning("log_loss", probe=1.0, fine_tuned=0.4, factor=1.0, blended=0.4)
    assert [text.split(":")[0] for text in bench.texts("stage")] == [
        "Fine-tuning stage 1 of 2",
        "Fine-tuning stage 2 of 2",
    ]


@pytest.mark.parametrize(
    ("optimizer", "changes"),
    [
        ("momentum", {"learning_rate": 0.1}),
        ("adamw", {"learning_rate": 0.02}),
        ("adamw", {"learning_rate": 0.02, "optimizer_arguments": {"use_ema": True, "ema_momentum": 0.5}}),
        ("nesterov", {"learning_rate": 0.05, "optimizer_arguments": {"form": "lookahead"}}),
        ("decayed-adagrad", {"learning_rate": 0.1}),
        ("lion", {"learning_rate": 0.005}),
        ("muon", {"learning_rate": 0.02}),
        ("adamw", {"learning_rate": 0.03, "layer_decay": 0.5}),
        ("adamw", {"learning_rate": 0.02, "schedule": "one-cycle", "schedule_arguments": {"rise": 0.4}, "warmup": 0.0}),
        ("adamw", {"learning_rate": 0.02, "schedule": "plateau", "schedule_arguments": {"patience": 1}}),
        ("adamw", {"learning_rate": 0.02, "schedule": "restarts", "schedule_arguments": {"cycles": 2}}),
        ("adamw", {"learning_rate": 0.02, "schedule": "constant"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(str(part) for part in value.values()),
)
def test_optimizers_and_schedules_lower_the_loss(pictures, optimizer: str, changes: dict):
    bench = make_bench(pictures)
    stage = STAGE.model_copy(
        update={"optimizer": optimizer, "trainable": "top:2", "epochs": 6, "warmup": 0.25, "patience": 6} | changes
    )
    tuning = bench.tune(stage)
    losses = [epoch["loss"] for epoch in bench.epochs]
    assert losses[-1] < losses[0] - 0.05
    assert tuning.kept
    assert tuning.blended < tuning.probe
    rates = [epoch["rate"] for epoch in bench.epochs]
    assert max(rates) <= changes["learning_rate"] * 1.001
    if stage.schedule == "constant":
        assert rates[-1] == pytest.approx(changes["learning_rate"])
    elif stage.schedule != "plateau":
        assert min(rates) < 0.5 * changes["learning_rate"]


def test_look_ahead_momentum_hands_out_the_final_weights(bench: Bench, monkeypatch):
    """What is scored, and kept, is not the look-ahead point that the next step would be taken from."""
    seen = scripted(monkeypatch, bench, 0.5)
    stage = STAGE.model_copy(
        update={"optimizer": "nesterov", "learning_rate": 0.05, "epochs": 1, "schedule": "constant"}
    )
    built = []
    build = stage_run.build_optimizer
    monkeypatch.setattr(stage_run, "build_optimizer", lambda *given: built.append(build(*given)) or built[-1])
    bench.tune(stage)
    slots = {slot.path.rsplit("/", 1)[1]: value(slot) for slot in built[-1].variables}
    velocity, ahead = slots[f"{LOGITS}_kernel_velocity"], slots[f"{LOGITS}_kernel_ahead"]
    assert np.abs(velocity).max() > 1e-3
    (kernel,) = [array for array in seen[-1] if array.shape == ahead.shape and array.ndim == 2]
    np.testing.assert_allclose(kernel, ahead - 0.9 * velocity, rtol=1e-6)
    np.testing.assert_array_equal(bench.model.get_layer(LOGITS).get_weights()[0], kernel)


def test_weights_that_are_no_numbers_are_told_as_such(bench: Bench):
    kernel, bias = bench.model.get_layer(LOGITS).get_weights()
    bench.model.get_layer(LOGITS).set_weights([kernel * np.nan, bias])
    with pytest.raises(DivergedError, match=r"step 1: the loss is nan before any weight has moved"):
        bench.tune(STAGE)


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton-cg"])
def test_a_full_batch_stage_finds_the_optimum_of_the_head(bench: Bench, monkeypatch, optimizer: str):
    monkeypatch.setattr(blend, "FACTORS", (0.0, 1.0))
    whole = {"optimizer": optimizer, "learning_rate": 1.0, "schedule": "constant", "weight_decay": 0.0, "epochs": 500}
    stage = STAGE.model_copy(update=whole | {"label_smoothing": 0.1})
    bench.tune(stage)
    note, verdict = bench.texts("note")
    assert note.startswith(f"{optimizer}: loss ")
    assert "is kept" in verdict
    # The features are fixed and the loss is convex in the head, so no step of Adam's leads lower.
    (batch,) = read_batches(bench.train.paths, Framing(SIZE), len(bench.train))
    targets = np.eye(3, dtype="float32")[bench.train.labels]
    bench.model.compile(
        optimizer=keras.optimizers.Adam(0.003),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    )
    found = bench.model.evaluate(batch.pixels, targets, verbose=0)
    losses = [float(bench.model.train_on_batch(batch.pixels, targets)) for _ in range(40)]
    assert min(losses) > found - 1e-4


def test_a_full_batch_stage_keeps_to_the_budget(bench: Bench):
    whole = {"optimizer": "lbfgs", "learning_rate": 1.0, "schedule": "constant", "weight_decay": 0.0, "epochs": 10**6}
    bench.tune(STAGE.model_copy(update=whole), deadline=time.monotonic())  # seen after the first iteration
    assert bench.texts("note")[0] == "The budget is used up: lbfgs stops at its last iterate."


def test_budget_too_small_for_an_epoch_hands_the_probe_back(bench: Bench):
    before = bench.model.get_weights()
    tuning = bench.tune(STAGE, STAGE, deadline=time.monotonic() - 1)
    assert tuning.fine_tuned == math.inf
    assert not tuning.kept
    assert same(before, bench.model.get_weights())
    assert not bench.epochs
    first, second = bench.texts("note")
    assert "which the budget no longer holds" in first
    assert "the probe is handed back" in second


def test_budget_for_some_epochs_shortens_the_schedule(bench: Bench, monkeypatch):
    monkeypatch.setattr(finetune, "_epoch_seconds", lambda *_: 100.0)
    steps = []
    build = stage_run.build_optimizer
    monkeypatch.setattr(stage_run, "build_optimizer", lambda s, total, *at: steps.append(total) or build(s, total, *at))
    bench.tune(STAGE.model_copy(update={"epochs": 10, "patience": 10}), deadline=time.monotonic() + 350)
    a_epoch = math.ceil(len(bench.train) / STAGE.batch_size)
    assert steps == [3 * a_epoch]
    assert len(bench.epochs) == 3
    assert bench.texts("note")[0] == "The budget holds 3 of 10 epochs (100 s each)."


def test_measuring_an_epoch_moves_nothing(bench: Bench):
    select_trainable(bench.model, bench.backbone, "all")
    before = bench.model.get_weights()
    with StageNetwork(bench.model, STAGE, bench.train, bench.valid, Framing(SIZE), seed=0) as trained:
        trained.prepare()
        assert 0 < finetune._epoch_seconds(trained) < 60
    assert same(before, bench.model.get_weights())


def test_with_keys_every_epoch_but_the_first_reads_the_cache(pictures, monkeypatch, tmp_path):
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path))
    data, _ = pictures
    keys = [content_key(path.read_bytes()) for path in data.paths]
    named = Pictures(data.paths, data.labels_of(range(len(data))), keys)
    (plain,) = Pictures(data.paths, named.labels).read(Framing(SIZE), len(data))
    for _ in range(2):
        (batch,) = named.read(Framing(SIZE), len(data))
        np.testing.assert_array_equal(batch.pixels, plain.pixels)
        monkeypatch.setattr(batches, "decode", lambda *_: pytest.fail("its pixels were known"))
    rows = [3, 1, 2]
    some = named.take(rows)
    (batch,) = some.read(Framing(SIZE), 3)
    np.testing.assert_array_equal(batch.pixels, plain.pixels[rows])
    np.testing.assert_array_equal(some.labels, named.labels[rows])
