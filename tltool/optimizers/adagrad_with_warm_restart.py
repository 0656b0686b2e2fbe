"""Adagrad that starts afresh with each cosine cycle."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tltool.optimizers.checked import SummingOptimizer, dense

LAST_STEP = 2**31 - 1  # what an int32 counter, as JAX has, can hold


@keras.saving.register_keras_serializable("tltool")
class AdagradWithWarmRestart(SummingOptimizer):
    """Adagrad whose sum of squared gradients goes back to its start with each cosine cycle of the rate.

    At step t of a cycle of T steps, both counted from 0:

        a <- (initial_accumulator_value if t = 0 else a) + gradient^2
        x <- x - rate * (floor + (1 - floor) * (1 + cos(pi * t / T)) / 2) * gradient / sqrt(a + epsilon)

    Args:
        learning_rate: At the start of each cycle, above 0; or a schedule, which the cosine multiplies.
        first_cycle: Steps of the first cycle, >= 1.
        cycle_growth: How many times longer than the one before each cycle is, a whole number >= 1.
        floor: Share of the rate that a cycle falls to, in [0, 1].
        initial_accumulator_value: The sum at the start of a cycle, >= 0.
        epsilon: Keeps the root from 0, > 0.
        **common: `weight_decay`, `clipnorm` and what else every Keras optimizer takes. Weight decay follows
            `learning_rate` alone, without the cosine.

    Raises:
        OptimizerError: naming every argument that is wrong.

    Reference: Duchi et al., 2011, for Adagrad; Loshchilov & Hutter, 2017, "SGDR: stochastic gradient descent with warm
    restarts", equation 5, for the cycles.
    """

    catalogue_name = "adagrad-with-warm-restart"

    def __init__(
        self,
        learning_rate: Any = 0.01,
        first_cycle: int = 1000,
        cycle_growth: int = 1,
        floor: float = 0.0,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **common: Any,
    ):
        own = {
            "first_cycle": first_cycle,
            "cycle_growth": cycle_growth,
            "floor": floor,
            "initial_accumulator_value": initial_accumulator_value,
            "epsilon": epsilon,
        }
        super().__init__(learning_rate, own, common)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        gradient = dense(gradient, variable.shape, variable.dtype)
        accumulator = self._accumulators[self._get_variable_index(variable)]
        step, length = self._place_in_cycle()
        start = ops.cast(self.initial_accumulator_value, variable.dtype)
        kept = ops.where(ops.equal(step, 0), start, ops.convert_to_tensor(accumulator))
        self.assign(accumulator, ops.add(kept, ops.square(gradient)))
        done = ops.divide(ops.cast(step, "float32"), ops.cast(length, "float32"))
        share = self.floor + (1 - self.floor) * 0.5 * (1 + ops.cos(np.pi * done))
        rate = ops.cast(ops.multiply(learning_rate, share), variable.dtype)
        self.assign_sub(
            variable, ops.divide(ops.multiply(gradient, rate), ops.sqrt(ops.add(accumulator, self.epsilon)))
        )

    def _place_in_cycle(self) -> tuple[Any, Any]:
        """The step within the cycle, counted from 0, and the cycle's length: whole numbers, so that none is missed."""
        if self.cycle_growth == 1:
            return ops.mod(self.iterations, self.first_cycle), self.first_cycle
        starts, lengths = [0], [self.first_cycle]
        while starts[-1] + lengths[-1] <= LAST_STEP:
            starts.append(starts[-1] + lengths[-1])
            lengths.append(min(lengths[-1] * self.cycle_growth, LAST_STEP))
        steps = ops.cast(self.iterations, "int32")
        cycle = ops.sum(ops.cast(ops.greater_equal(steps, np.array(starts, "int32")), "int32")) - 1
        return steps - ops.take(np.array(starts, "int32"), cycle), ops.take(np.array(lengths, "int32"), cycle)
