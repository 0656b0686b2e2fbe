"""A Keras model's loss on a whole set as a function of one flat point, which is what SciPy minimizes."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tltool.errors import OptimizerError
from tltool.optimizers.batches import Batches, mapped
from tltool.optimizers.differentiation import Derivatives
from tltool.optimizers.full_batch import PRECISIONS, OnIteration
from tltool.progress import Report

TASK = "Minimizing"
AVERAGED = ("sum_over_batch_size", "mean")  # reductions under which the whole set's loss is the mean of its batches'


class WholeSet:
    """The exact loss of a compiled model, its gradient and its Hessian, at any value of the trainable variables.

    The model itself moves only when the search is over.

    Args:
        owner: Name of the optimizer, for messages.
        model: Compiled with a loss.
        data: See `LBFGS.minimize`.
        batch_size: Examples at once where `data` are arrays.

    Raises:
        OptimizerError: if model or data cannot be minimized.

    Attributes:
        start: The model's trainable variables, flattened, shape (n,), float64.
        precision: The coarsest numbers that the loss is computed in, a key of `PRECISIONS`.
    """

    def __init__(self, owner: str, model: keras.Model, data: Any, batch_size: int):
        _check_loss(owner, model)
        self.model = model
        self.batches = Batches(owner, data, batch_size)
        # Once, outside of any trace, on one example: variables that a trace made would be lost with it.
        x, y, weight = mapped(keras.ops.convert_to_tensor, self.batches.example())
        try:
            model.compute_loss(x=x, y=y, y_pred=model(x, training=False), sample_weight=weight, training=False)
        except Exception as error:  # each backend has its own for shapes and numbers that do not fit
            raise OptimizerError(f"{owner}: model and data do not fit together. {error}") from error
        model.reset_metrics()
        self.variables = list(model.trainable_variables)
        if not self.variables:
            raise OptimizerError(f"{owner}: the model has no trainable variables. Set `trainable` where it may move.")
        self.fixed = [keras.ops.convert_to_tensor(variable) for variable in model.non_trainable_variables]
        # Keras computes losses in floatx, whatever the model's own numbers.
        used = {*(variable.dtype for variable in self.variables), keras.config.floatx()}
        used |= {layer.compute_dtype for layer in model._flatten_layers()}
        self.precision = next(name for name in PRECISIONS if name in used)
        self.start = _flat([variable.value for variable in self.variables])
        self.derivatives = Derivatives(owner, self._loss)

    def _loss(self, values: list, fixed: list, batch: tuple) -> Any:
        """The mean loss of a batch with these values in place of the variables."""
        x, y, weight = batch
        mapping = [*zip(self.variables, values, strict=True)]
        mapping += zip(self.model.non_trainable_variables, fixed, strict=True)
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
            # training=False: dropout and batch statistics would give the same point another loss each time.
            y_pred = self.model(x, training=False)
            return self.model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight, training=False)

    def loss_and_gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient at a point, shape (n,)."""
        values = self._spread(point)
        return self._mean(lambda batch: self.derivatives.loss_and_gradient(values, self.fixed, batch))

    def hessian_vector(self, point: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """The Hessian at a point times a vector, shape (n,)."""
        values, vectors = self._spread(point), self._spread(vector)
        return self._mean(lambda batch: (0.0, self.derivatives.hessian_vector(values, vectors, self.fixed, batch)))[1]

    def _mean(self, function: Callable[[tuple], tuple[Any, list]]) -> tuple[float, np.ndarray]:
        """What a function gives for each batch, averaged over all examples in float64."""
        total, sums = 0.0, np.zeros(len(self.start))
        for batch, rows in self.batches:
            value, arrays = function(batch)
            # Weighted by rows: a short last batch counts as what it holds, and weight decay, the same in every
            # batch, counts once.
            total += rows * float(value)
            sums += rows * _flat(arrays)
        return total / self.batches.rows, sums / self.batches.rows

    def _spread(self, point: np.ndarray) -> list[np.ndarray]:
        """A flat array cut into one array a variable."""
        cuts = np.cumsum([math.prod(variable.shape) for variable in self.variables])[:-1]
        # Half precision too goes in as float32: inside, the variable's own numbers are made of it.
        return [
            part.reshape(variable.shape).astype(np.float64 if variable.dtype == "float64" else np.float32)
            for variable, part in zip(self.variables, np.split(point, cuts), strict=True)
        ]

    @contextmanager
    def followed(self, report: Report, max_iterations: int) -> Iterator[OnIteration]:
        """Reports each iterate and, whatever ends the search, leaves the model at the last: the loss never rises."""
        iterate, done = self.start, -1

        def on_iteration(point: np.ndarray) -> None:
            nonlocal iterate, done
            iterate, done = point, done + 1
            report(TASK, done, max_iterations)

        try:
            yield on_iteration
        finally:
            for variable, array in zip(self.variables, self._spread(iterate), strict=True):
                variable.assign(array)


def _check_loss(owner: str, model: keras.Model) -> None:
    if not isinstance(model, keras.Model):
        raise OptimizerError(
            f"{owner}: {type(model).__name__} is no Keras model. Give one that is compiled with a loss."
        )
    own = type(model).compute_loss is not keras.Model.compute_loss
    if not model.compiled or (model.loss is None and not own):
        raise OptimizerError(f"{owner}: the model has no loss. Compile it first: model.compile(loss=...).")
    for loss in keras.tree.flatten(model.loss):
        reduction = getattr(loss, "reduction", AVERAGED[0])
        if reduction not in AVERAGED:
            raise OptimizerError(
                f'{owner}: under the reduction "{reduction}" of the loss, what the whole set gives depends on its '
                f'batches. Make the loss with reduction="{AVERAGED[0]}".'
            )


def _flat(tensors: list) -> np.ndarray:
    """All numbers of some tensors, shape (n,), float64."""
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(tensor)) for tensor in tensors]).astype(np.float64)
