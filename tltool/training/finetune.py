"""Fine-tuning from a linear probe: never worse on the validation pictures than the probe it started from."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.optimizers.catalogue import OPTIMIZERS
from tltool.recipe_parts import StageRecipe
from tltool.training.balance import score
from tltool.training.blend import FACTORS, best_blend, blended
from tltool.training.checkpoints import Checkpoint, Checkpoints, pack, unpack
from tltool.training.events import EventLog
from tltool.training.fine_tuning import Averaged, FineTuning
from tltool.training.full_batch_stage import minimize_stage
from tltool.training.interrupts import stoppable
from tltool.training.pictures import Pictures, predict_logits
from tltool.training.selection import select_trainable
from tltool.training.stage_network import StageNetwork
from tltool.training.stage_run import StageRun, Weights
from tltool.training.train_step import OutOfMemoryError


@dataclass
class _Course:
    """What is known between stages.

    Attributes:
        stage: The one under way, from 1.
        probe: Its score.
        best_score, best: Of the stages before; None before the first gave any.
        averages: What averages of weights brought in the stages before.
    """

    stage: int
    probe: float
    best_score: float = math.inf
    best: Weights | None = None
    averages: tuple[Averaged, ...] = ()


def fine_tune(
    model: keras.Model,
    backbone: Backbone,
    stages: Sequence[StageRecipe],
    train: Pictures,
    valid: Pictures,
    seed: int,
    events: EventLog,
    deadline: float | None = None,
    checkpoints: Checkpoints | None = None,
    scratch: Path | None = None,
    keep_scratch: bool = False,
) -> FineTuning:
    """Trains the model in place, stage after stage; afterwards it holds the best weights found, the probe's included.

    Where there is a checkpoint it goes on from there, and ends as if it had never been stopped.

    Args:
        model: From prepared pixels to logits, its head already solved; layers are the backbone's own.
        backbone: Names the stages.
        stages: What to train, in order.
        train: Pictures to learn from.
        valid: Pictures that decide when to stop and what to keep.
        seed: Of the order of the pictures and all that is drawn.
        events: Told of steps and epochs.
        deadline: `time.monotonic()` at which to stop; schedules are shortened to end before it.
        checkpoints: Where training stands; in memory alone where None.
        scratch: For what frozen layers give; a temporary folder where None.
        keep_scratch: Whether that stays there, for whoever freezes the same again.

    Raises:
        DivergedError: if the loss is no number even at a quarter of the rate.
        KeyboardInterrupt: once a checkpoint is written, where somebody asked to stop.
        StoppedError: if no checkpoint can be written.
        RecipeError: if a stage trains nothing.
    """
    checkpoints = checkpoints or Checkpoints()
    framing, choose_by = backbone.framing, stages[-1].choose_by
    start = model.get_weights()
    saved = checkpoints.latest()

    def score_of(weights: Weights) -> float:
        model.set_weights(weights)
        return score(predict_logits(model, valid, framing), valid.labels, choose_by)

    course = _course_of(saved, start) if saved else _Course(1, score_of(start))
    if saved:  # before anything is computed by layers that this stage freezes and an earlier one has trained
        model.set_weights(unpack("weights", saved.arrays, start))
    with stoppable() as asked:
        given = model, backbone, stages, train, valid, seed, start
        tuner = _Tuner(*given, events, checkpoints, scratch, keep_scratch, asked)
        for number in range(course.stage, len(stages) + 1):
            course.stage = number
            rest = None if deadline is None else deadline - _blending_seconds(model, valid, framing)
            score_then, weights = tuner.run(course, saved, rest)
            saved = None
            if score_then < course.best_score:
                course.best_score, course.best = score_then, weights
            if asked():
                raise KeyboardInterrupt
            if weights is None:
                break
            model.set_weights(weights)
    if course.best is None:
        model.set_weights(start)
        events.note("No epoch of fine-tuning gave a score: the probe is handed back.")
        return FineTuning(choose_by, course.probe, math.inf, 0.0, course.probe)
    select_trainable(model, backbone, "head")
    best = best_blend(start, course.best, score_of, events.report)
    model.set_weights(blended(start, course.best, best.factor))
    result = FineTuning(choose_by, best.scores[0.0], best.scores[1.0], best.factor, best.score, course.averages)
    events.note(str(result))
    return result


@dataclass(frozen=True)
class _Tuner:
    """Carries out stages; attributes are arguments of `fine_tune`, with the weights at its start."""

    model: keras.Model
    backbone: Backbone
    stages: Sequence[StageRecipe]
    train: Pictures
    valid: Pictures
    seed: int
    start: Weights
    events: EventLog
    checkpoints: Checkpoints
    scratch: Path | None
    keep_scratch: bool
    asked: Callable[[], bool]

    def run(self, course: _Course, saved: Checkpoint | None, deadline: float | None) -> tuple[float, Weights | None]:
        """The best score of the stage under way, and the weights then; None where the budget held no epoch."""
        stage, seed = self.stages[course.stage - 1], self.seed + course.stage
        names = select_trainable(self.model, self.backbone, stage.trainable, stage.statistics)
        place = f"Fine-tuning stage {course.stage} of {len(self.stages)}"
        self.events.emit("stage", text=f"{place}: {stage.name} ({len(names)} layers)")
        keras.utils.set_random_seed(seed)
        given = self.model, stage, self.train, self.valid, self.backbone.framing, seed, self.start
        with StageNetwork(*given, scratch=self.scratch, say=self.events.note) as trained:
            standing = saved.place.get("standing") if saved else None
            trained.prepare(self._report, standing and standing["keeps_rows"])
            if OPTIMIZERS[stage.optimizer].full_batch:
                found = minimize_stage(trained, self.events, self.asked, deadline)
            else:
                found = self._descend(trained, course, saved, deadline)
            if not self.keep_scratch:
                trained.clear()
        return found

    def _report(self, task: str, done: int, total: int) -> None:
        """Tells of work that no checkpoint is needed for, and stops it where somebody asked to."""
        self.events.report(task, done, total)
        if self.asked():
            raise KeyboardInterrupt

    def _descend(
        self, trained: StageNetwork, course: _Course, saved: Checkpoint | None, deadline: float | None
    ) -> tuple[float, Weights | None]:
        if deadline is not None and (trained.stage.average != "none" or trained.stage.snapshots):
            deadline -= _averaging_seconds(trained)
        to_come = sum(stage.epochs for stage in self.stages[course.stage - 1 :])
        epochs = trained.stage.epochs if saved else self._affordable(trained, to_come, deadline)
        if epochs < 1:
            return math.inf, None
        run = StageRun(
            trained,
            self.backbone,
            self.start,
            epochs,
            self.events,
            self.checkpoints,
            lambda: _checkpoint_of(course, self.start),
            self.asked,
            deadline,
        )
        if saved:
            run.restore(saved)
            self.events.note(f"Going on with epoch {run.at.epoch}, step {len(run.at.losses) + 1}.")
        found = run.run()
        if run.averaged:
            course.averages += (run.averaged,)
        return found

    def _affordable(self, trained: StageNetwork, to_come: int, deadline: float | None) -> int:
        """Epochs, at most the stage's, that end before its share of the time that is left to `to_come` epochs."""
        epochs = trained.stage.epochs
        if deadline is None:
            return epochs
        seconds = _epoch_seconds(trained)
        held = int((deadline - time.monotonic()) * epochs / to_come / seconds)
        if held < 1:
            self.events.note(f"One epoch takes about {seconds:.0f} s, which the budget no longer holds.")
        elif held < epochs:
            self.events.note(f"The budget holds {held} of {epochs} epochs ({seconds:.0f} s each).")
        return min(epochs, held)


def _checkpoint_of(course: _Course, start: Weights) -> Checkpoint:
    place = {
        "stage": course.stage,
        "probe": course.probe,
        "earlier_score": course.best_score if math.isfinite(course.best_score) else None,
        "averages": [asdict(each) for each in course.averages],
    }
    return Checkpoint({"course": place}, pack("earlier", course.best or start, start))


def _course_of(saved: Checkpoint, start: Weights) -> _Course:
    place = saved.place["course"]
    earlier, averages = place["earlier_score"], tuple(Averaged(**each) for each in place["averages"])
    if earlier is None:
        return _Course(place["stage"], place["probe"], averages=averages)
    return _Course(place["stage"], place["probe"], earlier, unpack("earlier", saved.arrays, start), averages)


def _epoch_seconds(trained: StageNetwork) -> float:
    """Measures one training step and one validation batch, and multiplies. No weight changes."""
    before = trained.model.get_weights()  # statistics may move at a rate of 0
    trained.compile(keras.optimizers.SGD(0.0))
    count = min(trained.stage.batch_size, len(trained.train))
    (examples,) = trained.batches(np.arange(count), epoch=1)

    def step() -> float:
        begin = time.monotonic()
        while True:
            try:
                trained.step(examples)
            except OutOfMemoryError:
                trained.take_step.make_smaller(count)
                begin = time.monotonic()
            else:
                return time.monotonic() - begin

    try:
        step()  # the first call compiles
        seconds = step() / count
    finally:
        trained.model.set_weights(before)
    return seconds * len(trained.train) + _validation_seconds(trained.predict_some, len(trained.valid))


def _averaging_seconds(trained: StageNetwork) -> float:
    """Of scoring an average of weights, and of a pass over the training pictures where statistics are learned."""
    pictures = len(trained.valid) + (len(trained.train) if trained.stage.statistics == "learned" else 0)
    return _validation_seconds(trained.predict_some, pictures)


def _blending_seconds(model: keras.Model, valid: Pictures, framing: Any) -> float:
    some = valid.take(range(min(len(valid), 16)))
    return len(FACTORS) * _validation_seconds(lambda: len(predict_logits(model, some, framing)), len(valid))


def _validation_seconds(predict: Callable[[], int], pictures: int) -> float:
    predict()
    begin = time.monotonic()
    count = predict()
    return (time.monotonic() - begin) / count * pictures
