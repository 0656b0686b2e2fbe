"""Lowers the rate when the validation loss stops falling."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tltool.errors import OptimizerError
from tltool.optimizers.arguments import COUNT, check_arguments
from tltool.optimizers.finalize import inner_optimizers
from tltool.optimizers.schedule_names import SCHEDULES


class ReduceOnPlateau(keras.callbacks.Callback):
    """Lowers the rates of all optimizers of a model by one factor, so that they keep their proportions.

    For `fit`, or for a loop of one's own that calls `set_model(model)`, then `on_train_batch_begin(step)` before each
    step and `on_epoch_end(epoch, {"val_loss": loss})`. A loss equal to the best is no improvement, nor is NaN.

    Args:
        factor: What the rates are multiplied by, in (0, 1).
        patience: Epochs without improvement before they are lowered, >= 1; then as many again.
        minimum_rate: The largest rate is not lowered below it, >= 0.
        monitor: The loss to watch among an epoch's numbers; its name ends in "loss".
        warmup_steps: Batches in which the rates rise linearly from 0, by the optimizer's own count, as `WarmUp` does;
            >= 0. Epochs that end in it are not judged.
        report: Called with a line of text when rates are lowered.

    Raises:
        OptimizerError: if a value breaks its rule; in `set_model`, if a rate is a schedule, which nothing else may
            move; in `on_epoch_end`, if the loss is missing.
    """

    def __init__(
        self,
        factor: float = 0.5,
        patience: int = 2,
        minimum_rate: float = 0.0,
        monitor: str = "val_loss",
        warmup_steps: int = 0,
        report: Callable[[str], None] = lambda text: None,
    ):
        super().__init__()
        given = {"factor": factor, "patience": patience, "minimum_rate": minimum_rate, "warmup_steps": warmup_steps}
        check_arguments("ReduceOnPlateau", given, SCHEDULES["plateau"] | {"warmup_steps": COUNT})
        if not str(monitor).endswith("loss"):
            raise OptimizerError(
                f"ReduceOnPlateau: `monitor` = {monitor!r}: must name a loss, for lower is taken as better."
            )
        self.factor = factor
        self.patience = patience
        self.minimum_rate = minimum_rate
        self.monitor = monitor
        self.warmup_steps = warmup_steps
        self.report = report
        self._known = None
        self._start_over()

    def set_model(self, model: keras.Model) -> None:
        """Takes the rates that the optimizers have now as those to warm up to.

        Given the same optimizer again, it goes on with those it knows: in mid-warm-up its rates are not the full ones.
        """
        super().set_model(model)
        optimizer = self.model.optimizer if model.compiled else None
        if optimizer is None:
            raise OptimizerError("ReduceOnPlateau: the model has no optimizer. Compile it first.")
        if optimizer is self._known:
            return
        self._known, self._warming = optimizer, self.warmup_steps > 0
        self._inner = inner_optimizers(optimizer)
        self._full = _rates(self._inner)
        self._start_over()

    def state(self) -> dict[str, Any]:
        """What it has seen, as JSON can hold it."""
        best = self._best if math.isfinite(self._best) else None
        return {"best": best, "waited": self._waited, "warming": self._warming, "full": self._full}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state()`, after `set_model`; the rates themselves are variables of the optimizer."""
        self._best = math.inf if state["best"] is None else state["best"]
        self._waited, self._warming, self._full = state["waited"], state["warming"], list(state["full"])

    def on_train_begin(self, logs: Any = None) -> None:
        self._start_over()

    def _start_over(self) -> None:
        self._best, self._waited = math.inf, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # Past the warm-up nothing may touch self.model: on JAX that takes the state out of the compiled loop.
        if not self._warming:
            return
        # Batches, as Keras's own schedules count: `iterations` would be fewer where gradients are accumulated.
        _ = self.model  # on JAX this brings the count up to date
        step = int(keras.ops.convert_to_numpy(self._inner[0]._iterations))
        self._warming = step < self.warmup_steps
        # The first step past the warm-up still assigns, lest the rate stay a step short of the full one.
        self._assign([rate * min(1.0, step / self.warmup_steps) for rate in self._full])

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self.monitor not in (logs or {}):
            raise OptimizerError(
                f"ReduceOnPlateau: `{self.monitor}` is not among the epoch's numbers ({', '.join(logs or {})}). "
                "Train with validation data, or name another loss as `monitor`."
            )
        if self._warming:
            return
        if logs[self.monitor] < self._best:
            self._best, self._waited = logs[self.monitor], 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._waited = 0
            self._lower()

    def _lower(self) -> None:
        _ = self.model  # on JAX this brings the variables up to date
        rates = _rates(self._inner)
        # A hair of room: the nearest float32 to the minimum can lie above it, and would be lowered to itself for ever.
        if max(rates) <= self.minimum_rate * (1 + 1e-6):
            return
        # One factor for all: a minimum for each by itself would flatten the rates of the stages.
        factor = max(self.factor, self.minimum_rate / max(rates))
        self._full = [rate * factor for rate in rates]
        self._assign(self._full)
        epochs = f"{self.patience} epoch{'s' * (self.patience > 1)}"
        self.report(
            f"{self.monitor} has not fallen for {epochs}: rate {max(rates):.3g} lowered to {max(self._full):.3g}"
        )

    def _assign(self, rates: list[float]) -> None:
        _ = self.model  # on JAX a rate assigned while the state is out would be overwritten, and never seen by a step
        for optimizer, rate in zip(self._inner, rates, strict=True):
            optimizer.learning_rate = rate


def _rates(optimizers: list[keras.optimizers.Optimizer]) -> list[float]:
    """The plain rates; a schedule's cannot be assigned, so it is refused before training rather than in the midst."""
    if not all(isinstance(optimizer.learning_rate, keras.Variable) for optimizer in optimizers):
        raise OptimizerError(
            "ReduceOnPlateau: a rate inside the optimizer is a schedule. Build it with a number: "
            'build_schedule("plateau", ...) gives one.'
        )
    return [float(keras.ops.convert_to_numpy(optimizer.learning_rate)) for optimizer in optimizers]
