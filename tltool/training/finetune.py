"""Fine-tuning from a linear probe: never worse on the validation pictures than the probe it started from."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.data.decoding import Framing
from tltool.errors import DivergedError, RecipeError
from tltool.optimizers.catalogue import OPTIMIZERS, get
from tltool.optimizers.finalize import finalized, inner_optimizers
from tltool.recipes import StageRecipe
from tltool.training.events import EventLog
from tltool.training.pictures import Pictures, evaluate_log_loss
from tltool.training.stage_network import StageNetwork
from tltool.training.stage_optimizer import build_optimizer, rate_callback

USUAL_RATE = 0.001  # what a run that diverged is told to try at most: a tenth of an absurd rate is as absurd


@dataclass(frozen=True)
class FineTuning:
    """How it went.

    Attributes:
        probe_log_loss: Of the probe on the validation pictures, nats.
        log_loss: Of the fine-tuned network on them, at its best epoch; infinite where no epoch gave a finite one.
        kept: Whether the fine-tuned weights are what came out.
    """

    probe_log_loss: float
    log_loss: float
    kept: bool


def fine_tune(
    model: keras.Model,
    backbone: Backbone,
    stages: Sequence[StageRecipe],
    train: Pictures,
    valid: Pictures,
    seed: int,
    events: EventLog,
    deadline: float | None = None,
) -> FineTuning:
    """Trains the model in place, stage after stage; afterwards it holds the best weights seen, the probe's included.

    Args:
        model: From prepared pixels to logits, its head already solved; layers are the backbone's own.
        backbone: Names the stages.
        stages: What to train, in order.
        train: Pictures to learn from.
        valid: Pictures that decide when to stop and what to keep.
        seed: Of the order of the pictures.
        events: Told of steps and epochs.
        deadline: `time.monotonic()` at which to stop; schedules are shortened to end before it.

    Raises:
        DivergedError: if the loss is no longer a number.
    """
    framing = backbone.framing
    probe_loss = evaluate_log_loss(model, valid, framing)
    best_loss, best_weights = math.inf, None
    started_from = model.get_weights()
    for number, stage in enumerate(stages, start=1):
        names = select_trainable(model, backbone, stage.trainable)
        events.emit("stage", text=f"Fine-tuning stage {number} of {len(stages)}: {stage.name} ({len(names)} layers)")
        keras.utils.set_random_seed(seed + number)
        train_stage = _minimize_stage if OPTIMIZERS[stage.optimizer].full_batch else _train_stage
        with StageNetwork(model, stage, train, framing, seed + number, started_from) as trained:
            loss, weights = train_stage(trained, backbone, valid, seed + number, events, deadline)
        if loss < best_loss:
            best_loss, best_weights = loss, weights
        if weights is None:
            break
        model.set_weights(weights)
    kept = best_weights is not None and best_loss < probe_loss
    model.set_weights(best_weights if kept else started_from)
    if best_weights is None:
        events.emit("note", text="No epoch of fine-tuning gave a score: the probe is handed back.")
    else:
        verdict = "lower: it is kept" if kept else "not lower: the probe is handed back"
        events.emit("note", text=f"Validation log loss: probe {probe_loss:.4f}, fine-tuned {best_loss:.4f}, {verdict}.")
    return FineTuning(probe_loss, best_loss, kept)


def select_trainable(model: keras.Model, backbone: Backbone, trainable: str) -> list[str]:
    """Freezes everything but what a recipe's stage names: "head", "top:N" or "all". The head is always trained.

    Returns:
        Names of the layers with trainable weights.

    Raises:
        RecipeError: if the backbone has fewer stages than N.
    """
    inside = {layer.name for name in trained_stages(backbone, trainable) for layer in backbone.layers_of(name)}
    body = {layer.name for layer in backbone.network.layers}
    chosen = []
    for layer in model.layers:
        # BatchNorm stays frozen even where its stage is trained: a frozen one keeps its statistics, and those of a
        # batch of 32 would overwrite what was learned from a million pictures.
        frozen = isinstance(layer, keras.layers.BatchNormalization) or (layer.name in body and layer.name not in inside)
        layer.trainable = not frozen
        if layer.trainable_weights:
            chosen.append(layer.name)
    return chosen


def trained_stages(backbone: Backbone, trainable: str) -> tuple[str, ...]:
    """Names of the backbone's stages that "head", "top:N" or "all" stands for.

    Raises:
        RecipeError: if the backbone has fewer stages than N.
    """
    if trainable == "all":
        return backbone.stage_names
    if trainable == "head":
        return ()
    count = int(trainable.removeprefix("top:"))
    if count > len(backbone.stages):
        raise RecipeError(
            f"trainable = '{trainable}': {backbone.name} has {len(backbone.stages)} stages. "
            'Name fewer, or write "all".'
        )
    return backbone.stage_names[-count:]


def _train_stage(
    trained: StageNetwork,
    backbone: Backbone,
    valid: Pictures,
    seed: int,
    events: EventLog,
    deadline: float | None,
) -> tuple[float, list[np.ndarray] | None]:
    """The lowest validation log loss after an epoch, and the weights at it (None if no epoch could be run)."""
    model, stage, framing = trained.model, trained.stage, backbone.framing
    pictures = len(trained.train)
    steps_an_epoch = math.ceil(pictures / stage.batch_size)
    epochs = stage.epochs
    if deadline is not None:
        seconds = _epoch_seconds(trained, valid, framing)
        epochs = min(epochs, int((deadline - time.monotonic()) / seconds))
        if epochs < 1:
            events.emit("note", text=f"One epoch takes about {seconds:.0f} s, which the budget no longer holds.")
            return math.inf, None
        if epochs < stage.epochs:
            events.emit("note", text=f"The budget holds {epochs} of {stage.epochs} epochs ({seconds:.0f} s each).")
    total = epochs * steps_an_epoch
    network = trained.network
    trained.compile(build_optimizer(stage, total, model, backbone))
    rates = rate_callback(stage, total, lambda text: events.emit("note", text=text))
    rates.set_model(network)
    random = np.random.default_rng(seed)
    best_loss, best_weights, since, done = math.inf, None, 0, 0
    task = f"Fine-tuning {stage.name}"
    events.report(task, 0, total)
    for epoch in range(1, epochs + 1):
        order = random.permutation(pictures)
        losses = []
        for examples in trained.batches(order, epoch):
            rates.on_train_batch_begin(done)
            losses.append(trained.step(examples))
            done += 1
            if not math.isfinite(losses[-1]):
                raise DivergedError(_advice(stage, done, network.optimizer, losses[-1]))
            events.report(task, done, total)
        # A moving average or look-ahead momentum has other weights in training than it ends with.
        with finalized(network.optimizer, network.trainable_variables):
            loss = evaluate_log_loss(model, valid, framing)
            if loss < best_loss:
                best_loss, best_weights, since = loss, model.get_weights(), 0
            else:
                since += 1
        mean = float(np.mean(losses))
        rate = _rate(network.optimizer)
        events.emit("epoch", stage=stage.name, epoch=epoch, loss=mean, valid_log_loss=loss, rate=rate)
        rates.on_epoch_end(epoch - 1, {"val_loss": loss})
        late = deadline is not None and time.monotonic() > deadline
        if since == stage.patience or late:
            events.report(task, total, total)
            break
    return best_loss, best_weights


class _LateError(Exception):
    """The deadline has passed in the midst of a search."""


def _minimize_stage(
    trained: StageNetwork,
    backbone: Backbone,
    valid: Pictures,
    seed: int,
    events: EventLog,
    deadline: float | None,
) -> tuple[float, list[np.ndarray]]:
    """The validation log loss at the end of a full-batch search of at most `epochs` iterations, and the weights."""
    stage = trained.stage
    trained.compile("sgd")  # the search has the loss from there, and no use for the optimizer
    everything = np.arange(len(trained.train))

    def whole_set() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for examples in trained.batches(everything, epoch=0):
            yield examples.pixels, examples.targets

    def report(task: str, done: int, total: int) -> None:
        events.report(f"Fine-tuning {stage.name}", done, total)
        if deadline is not None and time.monotonic() > deadline:
            raise _LateError

    search = get(stage.optimizer, max_iterations=stage.epochs, **stage.optimizer_arguments)
    try:
        found = search.minimize(trained.network, whole_set, report=report)
        events.emit("note", text=f"{stage.optimizer}: {found}.")
    except _LateError:
        events.emit("note", text=f"The budget is used up: {stage.optimizer} stops at its last iterate.")
    events.report(f"Fine-tuning {stage.name}", stage.epochs, stage.epochs)
    loss = evaluate_log_loss(trained.model, valid, backbone.framing)
    return loss, trained.model.get_weights()


def _rate(optimizer: keras.optimizers.Optimizer, step: int | None = None) -> float:
    """The rate of the next step or of one counted from 0; where stages differ the head's, which is the highest."""
    rates = []
    for inner in inner_optimizers(optimizer):
        scheduled = isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        rate = inner._learning_rate(step) if scheduled and step is not None else inner.learning_rate
        rates.append(float(keras.ops.convert_to_numpy(rate)))
    return max(rates)


def _advice(stage: StageRecipe, step: int, optimizer: keras.optimizers.Optimizer, loss: float) -> str:
    place = f"Stage '{stage.name}', step {step}: the loss is {loss}"
    if step == 1:
        return f"{place} before any weight has moved. The backbone's weights, or the head's, hold what is no number."
    return (
        f"{place} after a step at a rate of {_rate(optimizer, step - 2):.3g}. The steps are too long: "
        f"--set stages.{stage.name}.learning_rate={min(stage.learning_rate / 10, USUAL_RATE):g}, or a longer warm-up, "
        f"or --set stages.{stage.name}.optimizer_arguments.clipnorm=1.0. "
        "`tltool fit DATA --recipe linear-probe` needs no rate."
    )


def _epoch_seconds(trained: StageNetwork, valid: Pictures, framing: Framing) -> float:
    """Measures one training step and one validation batch, and multiplies. No weight changes: the rate is 0."""
    trained.compile(keras.optimizers.SGD(0.0))
    first = np.arange(min(trained.stage.batch_size, len(trained.train)))
    (examples,) = trained.batches(first, epoch=0)
    (batch,) = trained.train.take(first).read(framing, len(first))
    seconds = []
    for step in (lambda: trained.step(examples), lambda: trained.model.predict_on_batch(batch.pixels)):
        step()  # the first call compiles
        start = time.monotonic()
        step()
        seconds.append((time.monotonic() - start) / len(first))
    return seconds[0] * len(trained.train) + seconds[1] * len(valid)
