"""What a stage averages beside its training, and makes one set of weights of when it ends."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import keras
import numpy as np

from tltool.optimizers.finalize import finalized, inner_optimizers
from tltool.recipe_parts import StageRecipe
from tltool.training.snapshots import Snapshots, ends_of_cycles
from tltool.training.weight_average import WeightAverage, Weights

EMA_SHARE = 0.1  # of the stage's steps that the moving average looks back over; a convention, not measured
EMA_STEPS = 10  # at least
SWA_SHARE = 0.25  # of the epochs, the last ones; as in Izmailov et al., 2018, section 4


class StageAverage:
    """Weights along the course of one stage, by its recipe.

    The moving average is the optimizer's own, so that its state is among the optimizer's variables. Snapshots of one
    stage share the weights that the stage began with, so their mean is a network of the same size.

    Args:
        stage: Says what is averaged.
        epochs: That the stage's schedule is made for.
    """

    def __init__(self, stage: StageRecipe, epochs: int):
        self._stage, self._swa = stage, WeightAverage()
        self._snapshots = Snapshots(max(1, stage.snapshots))
        self._wanted: Sequence[int] = ()
        if stage.average == "swa":
            self._wanted = range(epochs - math.ceil(SWA_SHARE * epochs) + 1, epochs + 1)
        elif stage.snapshots:
            cycles = {key: value for key, value in stage.schedule_arguments.items() if key in ("cycles", "growth")}
            self._wanted = ends_of_cycles(epochs, warmup=stage.warmup, **cycles)

    @property
    def kind(self) -> str:
        """Of the average: "ema", "swa" or "snapshots"; "none" where there is none."""
        return "snapshots" if self._stage.snapshots else self._stage.average

    def after_epoch(self, epoch: int, weights: Weights) -> None:
        """Takes in the weights at the end of an epoch, counted from 1, where they are wanted."""
        if epoch not in self._wanted:
            return
        if self._stage.snapshots:
            self._snapshots.add(weights)
        else:
            self._swa.update(weights)

    def of(self, steps: int) -> int:
        """How many sets of weights are in the average, after so many steps."""
        return steps if self.kind == "ema" else max(self._swa.count, len(self._snapshots))

    def weights(self, model: keras.Model, network: keras.Model) -> Weights:
        """The average; the model keeps what it has.

        Args:
            model: The classifier, whose weights are averaged.
            network: What is trained in its place; of "ema" its optimizer holds the average.
        """
        if self.kind == "ema":
            with finalized(network.optimizer, network.trainable_variables):
                return model.get_weights()
        if not self._stage.snapshots:
            return self._swa.weights()
        mean = WeightAverage()
        for member in self._snapshots.members():
            mean.update(member)
        return mean.weights()

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, for a checkpoint."""
        return self._snapshots.state() if self._stage.snapshots else self._swa.state()

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` gave."""
        (self._snapshots if self._stage.snapshots else self._swa).restore(arrays)


def ema_arguments(stage: StageRecipe, steps: int) -> dict[str, object]:
    """What an optimizer takes to keep the moving average of a stage of so many steps; {} where it wants none."""
    if stage.average != "ema":
        return {}
    return {"use_ema": True, "ema_momentum": 1.0 - 1.0 / max(EMA_STEPS, EMA_SHARE * steps)}


@contextmanager
def without_ema(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Within it, `finalized` passes the moving average over: epochs are scored by the weights that are trained."""
    averaging = [inner for inner in inner_optimizers(optimizer) if inner.use_ema]
    for inner in averaging:
        inner.use_ema = False
    try:
        yield
    finally:
        for inner in averaging:
            inner.use_ema = True
