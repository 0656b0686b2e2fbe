"""One stage of fine-tuning, epoch after epoch, from wherever it stands."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.errors import DivergedError
from tltool.heads.logistic import log_loss
from tltool.optimizers.finalize import finalized, inner_optimizers
from tltool.recipe_parts import StageRecipe
from tltool.training.balance import score
from tltool.training.checkpoints import Checkpoint, Checkpoints, pack, unpack
from tltool.training.events import EventLog
from tltool.training.fine_tuning import Averaged
from tltool.training.stage_average import StageAverage, without_ema
from tltool.training.stage_network import StageNetwork
from tltool.training.stage_optimizer import build_optimizer, rate_callback
from tltool.training.train_step import OutOfMemoryError

USUAL_RATE = 0.001  # what a run that diverged is told to try at most: a tenth of an absurd rate is as absurd
MOST_HALVINGS = 2  # of the rate, after losses that are no number

Weights = list[np.ndarray]


@dataclass
class Standing:
    """Where a stage stands, between two steps.

    Attributes:
        epochs: That the schedule is made for.
        epoch: The one under way, from 1.
        losses: Of its steps so far.
        best_score: Of the validation pictures after the best epoch; lower is better.
        best: The classifier's weights then; None before the first epoch's end.
        since: Epochs since then.
        halvings: Of the rate.
    """

    epochs: int
    epoch: int = 1
    losses: list[float] = field(default_factory=list)
    best_score: float = math.inf
    best: Weights | None = None
    since: int = 0
    halvings: int = 0


class StageRun:
    """Trains a stage, and can be stopped and taken up again between any two steps, with the same result.

    Attributes:
        at: Where it stands.
        averaged: What the average of its weights brought, once it has run; None where it averages nothing.

    Args:
        trained: Entered and prepared.
        backbone: Names the stages whose rates differ.
        start: The classifier's weights before any stage: checkpoints hold what differs from them.
        epochs: To make the schedule for.
        events: Told of steps and epochs.
        checkpoints: Written when they are due, and at the start of the stage.
        around: What else a checkpoint needs to say, such as the stage's number; called for each.
        asked: Whether somebody asked to stop.
        deadline: `time.monotonic()` at which to stop.
    """

    def __init__(
        self,
        trained: StageNetwork,
        backbone: Backbone,
        start: Weights,
        epochs: int,
        events: EventLog,
        checkpoints: Checkpoints,
        around: Callable[[], Checkpoint],
        asked: Callable[[], bool],
        deadline: float | None,
    ):
        self.trained, self.backbone, self.events = trained, backbone, events
        self._start, self._checkpoints, self._around = start, checkpoints, around
        self._asked, self._deadline = asked, deadline
        self.at = Standing(epochs)
        self.averaged: Averaged | None = None
        self._average = StageAverage(trained.stage, epochs)
        self._compile()

    @property
    def stage(self) -> StageRecipe:
        return self.trained.stage

    @property
    def _steps(self) -> int:
        return self.at.epochs * self.trained.steps_an_epoch

    @property
    def _done(self) -> int:
        return (self.at.epoch - 1) * self.trained.steps_an_epoch + len(self.at.losses)

    def run(self) -> tuple[float, Weights | None]:
        """Trains to the end; gives the best score of the validation pictures and the weights then.

        Raises:
            DivergedError: if the loss is no number even at a quarter of the rate.
            KeyboardInterrupt: once a checkpoint is written, where somebody asked to stop.
            StoppedError: if no checkpoint can be written.
        """
        task = f"Fine-tuning {self.stage.name}"
        if self._done == 0:
            self._save()  # what a first step that diverges goes back to
        self.events.report(task, self._done, self._steps)
        while self.at.epoch <= self.at.epochs:
            if not self._finish_steps(task):
                continue
            self._finish_epoch()
            if self.at.since == self.stage.patience and self.at.epoch <= self.at.epochs:
                best = self.at.epoch - 1 - self.at.since
                self.events.note(
                    f"{self.stage.name}: no epoch was better than epoch {best} for {self.at.since}; it ends."
                )
            if self.at.since == self.stage.patience or self._late():
                break
        self._try_average()
        self.events.report(task, self._steps, self._steps)
        return self.at.best_score, self.at.best

    def _finish_steps(self, task: str) -> bool:
        """The steps that the epoch still lacks; False if it went back to a checkpoint instead."""
        at, done = self.at, len(self.at.losses) * self.stage.batch_size
        with closing(self.trained.batches(self.trained.order(at.epoch), at.epoch, done)) as batches:
            for examples in batches:
                # Before the step, and so after the validation of the epoch before, which is then not done again.
                if self._checkpoints.due() and not self._save():
                    self._go_back(math.nan)
                    return False
                self._rates.on_train_batch_begin(self._done)
                try:
                    loss = self.trained.step(examples)
                except OutOfMemoryError as error:
                    self._go_on_smaller(error)
                    return False
                if not math.isfinite(loss):
                    self._go_back(loss)
                    return False
                at.losses.append(loss)
                self.events.report(task, self._done, self._steps)
                if self._asked():
                    self._save()
                    raise KeyboardInterrupt
                if self._late():
                    break
        return True

    def _finish_epoch(self) -> None:
        at, optimizer = self.at, self.trained.network.optimizer
        # A moving average or look-ahead momentum has other weights in training than it ends with.
        with self._without_ema(), finalized(optimizer, self.trained.network.trainable_variables):
            logits = self.trained.predict()
            found = score(logits, self.trained.valid.labels, self.stage.choose_by)
            if found < at.best_score:
                at.best_score, at.best, at.since = found, self.trained.model.get_weights(), 0
            else:
                at.since += 1
            self._average.after_epoch(at.epoch, self.trained.model.get_weights())
        valid_loss = float(log_loss(logits, self.trained.valid.labels).mean())
        self.events.emit(
            "epoch",
            stage=self.stage.name,
            epoch=at.epoch,
            loss=float(np.mean(at.losses)),
            valid_log_loss=valid_loss,
            score=found,
            rate=_rate(optimizer),
        )
        self._rates.on_epoch_end(at.epoch - 1, {"val_loss": valid_loss})
        at.epoch, at.losses = at.epoch + 1, []

    def _without_ema(self) -> AbstractContextManager[None]:
        """The stage's own moving average is scored at the end; one among the optimizer's arguments in every epoch."""
        return without_ema(self.trained.network.optimizer) if self._average.kind == "ema" else nullcontext()

    def _try_average(self) -> None:
        """Scores the average, if there is one, and keeps it where it is better than the best epoch."""
        at, trained, average = self.at, self.trained, self._average
        if average.kind == "none" or at.best is None:
            return
        count = average.of(self._done)
        if not count:
            self.events.note(f"{self.stage.name}: it ended before there was anything to average.")
            return
        trained.model.set_weights(average.weights(trained.model, trained.network))
        trained.recompute_statistics()
        found = score(trained.predict(), trained.valid.labels, self.stage.choose_by)
        self.averaged = Averaged(self.stage.name, average.kind, count, at.best_score, found)
        self.events.note(self.averaged.in_words(self.stage.choose_by))
        if self.averaged.kept:
            at.best_score, at.best = found, trained.model.get_weights()

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _compile(self) -> None:
        """An optimizer without a past, at the rate that the halvings leave."""
        rate = self.stage.learning_rate / 2**self.at.halvings
        stage = self.stage.model_copy(update={"learning_rate": rate})
        network = self.trained.network
        optimizer = build_optimizer(stage, self._steps, self.trained.model, self.backbone)
        optimizer.build(network.trainable_variables)
        self.trained.compile(optimizer)
        self._rates = rate_callback(stage, self._steps, self.events.note)
        self._rates.set_model(network)

    def _save(self) -> bool:
        """Writes a checkpoint; False, without one, where a weight is no number any more."""
        weights = self.trained.model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            return False
        at, around = self.at, self._around()
        place = {
            "epochs": at.epochs,
            "epoch": at.epoch,
            "losses": list(at.losses),
            "best_score": at.best_score if math.isfinite(at.best_score) else None,
            "has_best": at.best is not None,
            "since": at.since,
            "halvings": at.halvings,
            "parts": self.trained.take_step.parts,
            "keeps_rows": self.trained.keeps_rows,
            "rates": self._rates.state() if hasattr(self._rates, "state") else None,
        }
        arrays = pack("weights", weights, self._start) | pack("best", at.best or self._start, self._start)
        arrays |= {f"average/{name}": array for name, array in self._average.state().items()}
        for name, variables in self._other_variables().items():
            arrays |= {f"{name}/{number}": _array(variable) for number, variable in enumerate(variables)}
        self._checkpoints.write(Checkpoint({"standing": place} | around.place, arrays | around.arrays))
        return True

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes on from a checkpoint of this stage."""
        place, arrays = checkpoint.place["standing"], checkpoint.arrays
        best = place["best_score"]
        self.at = Standing(
            place["epochs"],
            place["epoch"],
            list(place["losses"]),
            math.inf if best is None else best,
            unpack("best", arrays, self._start) if place["has_best"] else None,
            place["since"],
            place["halvings"],
        )
        self._average = StageAverage(self.stage, self.at.epochs)
        self._average.restore(
            {name.removeprefix("average/"): arrays[name] for name in arrays if name.startswith("average/")}
        )
        self._compile()
        self.trained.model.set_weights(unpack("weights", arrays, self._start))
        for name, variables in self._other_variables().items():
            for number, variable in enumerate(variables):
                variable.assign(arrays[f"{name}/{number}"])
        self.trained.take_step.parts = place["parts"]
        if place["rates"] is not None:
            self._rates.restore(place["rates"])

    def _other_variables(self) -> dict[str, list[keras.Variable]]:
        """Slots, counts and states of random generators: all that training moves beside the classifier's weights."""
        network = self.trained.network
        weights = {id(weight) for weight in network.weights}
        return {
            "optimizer": list(network.optimizer.variables),
            "random": [variable for variable in network.variables if id(variable) not in weights],
        }

    def _go_on_smaller(self, error: OutOfMemoryError) -> None:
        """To the last checkpoint, with batches in twice as many pieces: weights may have moved in part.

        Raises:
            TltoolError: if a piece is a single picture already.
        """
        step, last = self.trained.take_step, self._checkpoints.latest()
        if last is None:
            raise error
        step.make_smaller(self.stage.batch_size)
        self.restore(last)
        self.trained.take_step.parts = step.parts

    def _go_back(self, loss: float) -> None:
        """To the last checkpoint, with half the rate.

        Raises:
            DivergedError: if that was done often enough.
        """
        halvings = self.at.halvings + 1
        step = self._done + 1
        advice = _advice(self.stage, step, self.trained.network.optimizer, loss)
        last = self._checkpoints.latest()
        if halvings > MOST_HALVINGS or step == 1 or last is None:
            raise DivergedError(advice)
        self.restore(last)
        already = self.at.halvings
        self.at.halvings = halvings
        slots = [_array(variable) for variable in self.trained.network.optimizer.variables]
        self._compile()
        for variable, slot in zip(self.trained.network.optimizer.variables, slots, strict=True):
            variable.assign(slot)
        for inner in inner_optimizers(self.trained.network.optimizer):
            if not isinstance(inner._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
                inner.learning_rate = float(_array(inner.learning_rate)) / 2 ** (halvings - already)
        self.trained.take_step.parts = last.place["standing"]["parts"]
        if (rates := last.place["standing"]["rates"]) is not None:
            full = [rate / 2 ** (halvings - already) for rate in rates["full"]]
            self._rates.restore(rates | {"full": full})
        self.events.note(
            f"{self.stage.name}, step {step}: the loss is {loss}. Back to step {self._done}, with the rate "
            f"divided by {2**halvings}.",
        )


def _array(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))


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
