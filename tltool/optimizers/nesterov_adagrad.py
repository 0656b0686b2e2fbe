"""Nesterov's momentum on Adagrad's gradient."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tltool.optimizers.checked import SummingOptimizer, dense


@keras.saving.register_keras_serializable("tltool")
class NesterovAdagrad(SummingOptimizer):
    """Look-ahead momentum on the gradient as Adagrad rescales it.

        a <- a + gradient^2
        p = gradient / sqrt(a + epsilon)
        v <- momentum * v - rate * p
        x <- x + momentum * v - rate * p

    The variables hold the look-ahead point throughout, as with `keras.optimizers.SGD(nesterov=True)`. With
    `momentum = 0` it is Adagrad.

    Args:
        learning_rate: Above 0; or a schedule. Momentum multiplies the reach of a rate by `1 / (1 - momentum)`.
        momentum: Share of the velocity that is kept each step, in [0, 1).
        initial_accumulator_value: The sum of squares to begin with, >= 0.
        epsilon: Keeps the root from 0, > 0.
        **common: `weight_decay`, `clipnorm` and what else every Keras optimizer takes.

    Raises:
        OptimizerError: naming every argument that is wrong.

    Reference: Duchi et al., 2011, "Adaptive subgradient methods for online learning and stochastic optimization";
    Dozat, 2016, "Incorporating Nesterov momentum into Adam", for the combination with Adam.
    """

    catalogue_name = "nesterov-adagrad"

    def __init__(
        self,
        learning_rate: Any = 0.001,
        momentum: float = 0.9,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Any,
    ):
        own = {"momentum": momentum, "initial_accumulator_value": initial_accumulator_value, "epsilon": epsilon}
        super().__init__(learning_rate, own, common)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        gradient = dense(gradient, variable.shape, variable.dtype)
        momentum = ops.cast(self.momentum, variable.dtype)
        accumulator, velocity = self._accumulators[index], self._velocities[index]
        self.assign_add(accumulator, ops.square(gradient))
        step = ops.multiply(gradient, ops.cast(learning_rate, variable.dtype))
        step = ops.divide(step, ops.sqrt(ops.add(accumulator, self.epsilon)))
        self.assign(velocity, ops.subtract(ops.multiply(velocity, momentum), step))
        self.assign_add(variable, ops.subtract(ops.multiply(velocity, momentum), step))
