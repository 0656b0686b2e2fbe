"""Adagrad with one scalar for each variable."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import initializers, ops

from tltool.optimizers.checked import CheckedOptimizer, dense


@keras.saving.register_keras_serializable("tltool")
class AdagradNorm(CheckedOptimizer):
    """Adagrad that gathers the squared length of each variable's gradient, not the square of each of its entries.

        a <- a + |gradient|^2
        x <- x - rate * gradient / sqrt(a)

    The step keeps the gradient's direction, and its length adapts: for any rate it converges as gradient descent does
    with a rate tuned to the smoothness and the noise.

    Args:
        learning_rate: Above 0; or a schedule. In units of distance: about how far the weights have to go.
        initial_accumulator_value: The sum to begin with, > 0 (the square of the paper's b_0).
        **common: `weight_decay`, `clipnorm` and what else every Keras optimizer takes.

    Raises:
        OptimizerError: naming every argument that is wrong.

    Reference: Ward et al., 2019, "AdaGrad stepsizes: sharp convergence over nonconvex landscapes", algorithm 1.
    """

    catalogue_name = "adagrad-norm"

    def __init__(self, learning_rate: Any = 0.1, initial_accumulator_value: float = 0.1, **common: Any):
        super().__init__(learning_rate, {"initial_accumulator_value": initial_accumulator_value}, common)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        start = initializers.Constant(self.initial_accumulator_value)
        # At least float32: a sum over a million entries in half precision stops growing, or overflows.
        self._accumulators = [
            self.add_variable((), start, keras.backend.result_type(variable.dtype, "float32"), name="accumulator")
            for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        accumulator = self._accumulators[self._get_variable_index(variable)]
        gradient = dense(gradient, variable.shape, accumulator.dtype)
        self.assign_add(accumulator, ops.sum(ops.square(gradient)))
        rate = ops.divide(ops.cast(learning_rate, accumulator.dtype), ops.sqrt(accumulator))
        self.assign_sub(variable, ops.cast(ops.multiply(gradient, rate), variable.dtype))
