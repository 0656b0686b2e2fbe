"""Fine-tuning from a linear probe: never worse on the validation pictures than the probe it started from."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.data.batches import Batch, read_batches
from tltool.data.decoding import Framing
from tltool.errors import RecipeError
from tltool.heads.logistic import log_loss
from tltool.recipes import StageRecipe
from tltool.training.events import EventLog

MOMENTUM = 0.9
EVALUATION_BATCH = 16


@dataclass(frozen=True)
class Pictures:
    """Files with their class indices, or in a multi-label set with rows of 0 and 1; all of them readable."""

    paths: Sequence[Path]
    labels: np.ndarray
    keys: Sequence[str | None] | None = None  # content keys; without them each epoch decodes the files anew

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Pictures":
        """These pictures alone, in this order."""
        keys = None if self.keys is None else [self.keys[row] for row in rows]
        return Pictures([self.paths[row] for row in rows], self.labels[list(rows)], keys)

    def read(self, framing: Framing, batch_size: int) -> Iterator[Batch]:
        """Their pixels, in order."""
        return read_batches(self.paths, framing, batch_size, keys=self.keys)


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
    """
    framing = backbone.framing
    probe_loss = evaluate_log_loss(model, valid, framing)
    best_loss, best_weights = math.inf, None
    started_from = model.get_weights()
    for number, stage in enumerate(stages, start=1):
        names = select_trainable(model, backbone, stage.trainable)
        events.emit("stage", text=f"Fine-tuning stage {number} of {len(stages)}: {stage.name} ({len(names)} layers)")
        keras.utils.set_random_seed(seed + number)
        loss, weights = _train_stage(model, stage, train, valid, framing, seed + number, events, deadline)
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
    model: keras.Model,
    stage: StageRecipe,
    train: Pictures,
    valid: Pictures,
    framing: Framing,
    seed: int,
    events: EventLog,
    deadline: float | None,
) -> tuple[float, list[np.ndarray] | None]:
    """The lowest validation log loss after an epoch, and the weights at it (None if no epoch could be run)."""
    steps_an_epoch = math.ceil(len(train) / stage.batch_size)
    epochs = stage.epochs
    if deadline is not None:
        seconds = _epoch_seconds(model, stage, train, valid, framing)
        epochs = min(epochs, int((deadline - time.monotonic()) / seconds))
        if epochs < 1:
            events.emit("note", text=f"One epoch takes about {seconds:.0f} s, which the budget no longer holds.")
            return math.inf, None
        if epochs < stage.epochs:
            events.emit("note", text=f"The budget holds {epochs} of {stage.epochs} epochs ({seconds:.0f} s each).")
    total = epochs * steps_an_epoch
    model.compile(
        optimizer=build_optimizer(stage, total),
        loss=_loss(train)(from_logits=True, label_smoothing=stage.label_smoothing),
        jit_compile=_xla_pays(),
    )
    targets = _targets(train, model.output.shape[-1])
    random = np.random.default_rng(seed)
    best_loss, best_weights, since, done = math.inf, None, 0, 0
    task = f"Fine-tuning {stage.name}"
    events.report(task, 0, total)
    for epoch in range(1, epochs + 1):
        order = random.permutation(len(train))
        losses = []
        for batch in train.take(order).read(framing, stage.batch_size):
            chosen = order[batch.indices]
            losses.append(float(model.train_on_batch(batch.pixels, targets[chosen])))
            done += 1
            events.report(task, done, total)
        loss = evaluate_log_loss(model, valid, framing)
        events.emit("epoch", stage=stage.name, epoch=epoch, loss=float(np.mean(losses)), valid_log_loss=loss)
        best_loss, best_weights, since = (
            (loss, model.get_weights(), 0) if loss < best_loss else (best_loss, best_weights, since + 1)
        )
        late = deadline is not None and time.monotonic() > deadline
        if since == stage.patience or late or not math.isfinite(losses[-1]):
            events.report(task, total, total)
            break
    return best_loss, best_weights


def _loss(pictures: Pictures) -> type[keras.losses.Loss]:
    return keras.losses.BinaryCrossentropy if pictures.labels.ndim == 2 else keras.losses.CategoricalCrossentropy


def _targets(pictures: Pictures, classes: int) -> np.ndarray:
    """What the loss compares with, shape (N, classes), float32."""
    if pictures.labels.ndim == 2:
        return pictures.labels.astype(np.float32)
    return np.eye(classes, dtype=np.float32)[pictures.labels]


def build_optimizer(stage: StageRecipe, steps: int) -> keras.optimizers.Optimizer:
    """The stage's optimizer, its rate rising linearly from 0 and then falling to 0 along a cosine.

    Args:
        stage: Names the optimizer and its values.
        steps: Of the whole stage, >= 1.
    """
    warmup = int(stage.warmup * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else stage.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=stage.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    if stage.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, weight_decay=stage.weight_decay)
    return keras.optimizers.SGD(rate, momentum=MOMENTUM, nesterov=True, weight_decay=stage.weight_decay or None)


def evaluate_log_loss(model: keras.Model, pictures: Pictures, framing: Framing) -> float:
    """Mean cross-entropy of the model's logits on these pictures, nats."""
    return float(log_loss(predict_logits(model, pictures, framing), pictures.labels).mean())


def predict_logits(model: keras.Model, pictures: Pictures, framing: Framing) -> np.ndarray:
    """The model's logits on these pictures, shape (N, classes)."""
    batches = pictures.read(framing, EVALUATION_BATCH)
    return np.concatenate([model.predict_on_batch(batch.pixels) for batch in batches])


def _epoch_seconds(model, stage: StageRecipe, train: Pictures, valid: Pictures, framing: Framing) -> float:
    """Measures one training step and one validation batch, and multiplies. No weight changes: the rate is 0."""
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss=_loss(train)(from_logits=True))
    first = train.take(range(min(stage.batch_size, len(train))))
    (batch,) = first.read(framing, stage.batch_size)
    targets = _targets(train, model.output.shape[-1])[batch.indices]
    seconds = []
    for step in (lambda: model.train_on_batch(batch.pixels, targets), lambda: model.predict_on_batch(batch.pixels)):
        step()  # the first call compiles
        start = time.monotonic()
        step()
        seconds.append((time.monotonic() - start) / len(batch.indices))
    return seconds[0] * len(train) + seconds[1] * len(valid)


def _xla_pays() -> bool | str:
    """XLA is ten times slower on CPUs for depthwise networks, and faster on accelerators."""
    if keras.backend.backend() != "tensorflow":
        return "auto"
    return bool(keras.distribution.list_devices("gpu") or keras.distribution.list_devices("tpu"))
