"""The weights as training would hand them out now, seen in the midst of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tltool.optimizers.checked import copied


def inner_optimizers(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """Those that hold slots and rates: the optimizer itself, or what a scaling or dividing one passes gradients to."""
    if hasattr(optimizer, "inner_optimizer"):
        return inner_optimizers(optimizer.inner_optimizer)
    if hasattr(optimizer, "optimizers"):
        return list(optimizer.optimizers)
    return [optimizer]


@contextmanager
def finalized(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Within it, the variables hold what training would end with: a moving average, or the point behind a look-ahead.

    Afterwards they hold what they held before, to the last bit, and training goes on as if nothing had been.

    Args:
        optimizer: What trains them.
        variables: The model's trainable variables, those that the optimizer was built with.
    """
    kept = _finalize(optimizer, variables)
    try:
        yield
    finally:
        _go_on(optimizer, variables, kept)


class FinalizedWeights(keras.callbacks.Callback):
    """Scores and saves the weights that training would end with, and trains on from where it was.

    For optimizers whose variables hold something else while they train: `Nesterov(form="lookahead")`, and any with
    `use_ema`. Put it before `ModelCheckpoint`. It also takes a look-ahead optimizer forward again where a finished
    `fit`, or a model loaded from a file, trains on. A file with averaged weights has no others: who trains on from it
    starts from the average.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Any] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self._kept = None
        _look_ahead(self.model.optimizer)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._leave()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._enter()

    def on_test_begin(self, logs: Any = None) -> None:
        self._enter()

    def on_test_end(self, logs: Any = None) -> None:
        self._leave()

    def on_train_end(self, logs: Any = None) -> None:
        self._kept = None  # `fit` has finalized them for good

    def _enter(self) -> None:
        if self._kept is None:
            self._sync()
            self._kept = _finalize(self.model.optimizer, self.model.trainable_variables)

    def _leave(self) -> None:
        if self._kept is not None:
            self._sync()
            _go_on(self.model.optimizer, self.model.trainable_variables, self._kept)
            self._kept = None

    def _sync(self) -> None:
        if hasattr(self.model, "jax_state_sync"):  # on JAX the variables lag behind while `fit` runs
            self.model.jax_state_sync()


def _finalize(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Finalizes, and returns what the variables held; empty where finalizing changes nothing."""
    if not any(inner.use_ema or hasattr(inner, "look_ahead") for inner in inner_optimizers(optimizer)):
        return []
    kept = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    if optimizer.built:
        optimizer.finalize_variable_values(variables)
        for variable in variables:
            variable.assign(copied(variable))
    return kept


def _go_on(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable], kept: list[np.ndarray]) -> None:
    _look_ahead(optimizer)
    for variable, value in zip(variables, kept, strict=False):  # none were kept where nothing was changed
        variable.assign(value)


def _look_ahead(optimizer: keras.optimizers.Optimizer) -> None:
    for inner in inner_optimizers(optimizer):
        if hasattr(inner, "look_ahead"):
            inner.look_ahead()
