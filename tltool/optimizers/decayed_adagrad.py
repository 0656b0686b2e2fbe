"""Adagrad with a leak."""

from typing import Any

import keras
from keras import ops

from tltool.optimizers.checked import SummingOptimizer, dense


@keras.saving.register_keras_serializable("tltool")
class DecayedAdagrad(SummingOptimizer):
    """Adagrad whose sum of squared gradients leaks, so that the step does not die out.

        a <- decay * a + gradient^2
        x <- x - rate * gradient / sqrt(a + epsilon)

    With `decay = 1` it is Adagrad. Below 1 the sum levels off at `gradient^2 / (1 - decay)`, and from an empty sum it
    is RMSProp with `rho = decay`, `rate * sqrt(1 - decay)` for its rate and `epsilon * (1 - decay)` for its epsilon.

    Args:
        learning_rate: Above 0; or a schedule.
        decay: Share of the sum that is kept each step, in (0, 1].
        initial_accumulator_value: The sum to begin with, >= 0.
        epsilon: Keeps the root from 0, > 0.
        **common: `weight_decay`, `clipnorm` and what else every Keras optimizer takes.

    Raises:
        OptimizerError: naming every argument that is wrong.

    Reference: Duchi et al., 2011, "Adaptive subgradient methods for online learning and stochastic optimization", for
    Adagrad; cs231n, lecture 7, for the leak.
    """

    catalogue_name = "decayed-adagrad"

    def __init__(
        self,
        learning_rate: Any = 0.01,
        decay: float = 0.99,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Any,
    ):
        own = {"decay": decay, "initial_accumulator_value": initial_accumulator_value, "epsilon": epsilon}
        super().__init__(learning_rate, own, common)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = dense(gradient, variable.shape, variable.dtype)
        accumulator = self._accumulators[self._get_variable_index(variable)]
        kept = ops.multiply(accumulator, ops.cast(self.decay, variable.dtype))
        self.assign(accumulator, ops.add(kept, ops.square(gradient)))
        step = ops.multiply(gradient, ops.cast(learning_rate, variable.dtype))
        self.assign_sub(variable, ops.divide(step, ops.sqrt(ops.add(accumulator, self.epsilon))))
