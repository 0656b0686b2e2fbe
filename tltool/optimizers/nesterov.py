"""Nesterov's momentum in its original form and after the change of variables."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from tltool.errors import OptimizerError
from tltool.optimizers.checked import CheckedOptimizer, copied, dense


@keras.saving.register_keras_serializable("tltool")
class Nesterov(CheckedOptimizer):
    """Momentum whose gradient is taken at the look-ahead point `x + momentum * v`.

    The original form, "lookahead":

        v <- momentum * v - rate * gradient(x + momentum * v)
        x <- x + v

    While it trains, the variables hold the look-ahead point, for there the gradient is wanted; once they are
    finalized, as at the end of `fit`, they hold `x`. To see, score or save `x` in the midst of training, use
    `finalized` or the callback `FinalizedWeights`, which also looks ahead again before training goes on. Without it
    the first step after a finalization takes its gradient at `x`: one step of plain momentum. Weights that are set
    by hand before finalizing are taken for a look-ahead point too: set them within `finalized`, or after `fit`.

    After the change of variables `y = x + momentum * v`, "reformulated", only stored quantities appear, the variables
    hold `y` throughout, and it is what `keras.optimizers.SGD(nesterov=True)` does:

        v <- momentum * v - rate * gradient(y)
        y <- y + momentum * v - rate * gradient(y)

    Args:
        learning_rate: Above 0; or a schedule.
        momentum: Share of the velocity that is kept each step, in [0, 1).
        form: "lookahead" or "reformulated".
        **common: `weight_decay`, `clipnorm` and what else every Keras optimizer takes. Weight decay and constraints act
            on what the variables hold while training; a moving average is one of the final weights.

    Raises:
        OptimizerError: naming every argument that is wrong.

    Reference: Nesterov, 1983; Sutskever et al., 2013, "On the importance of initialization and momentum in deep
    learning", section 2; for the second form Bengio et al., 2013, "Advances in optimizing recurrent networks", 3.5.
    """

    catalogue_name = "nesterov"

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        form: Literal["lookahead", "reformulated"] = "lookahead",
        **common: Any,
    ):
        super().__init__(learning_rate, {"momentum": momentum, "form": form}, common)
        if form == "lookahead" and self.use_ema and self.ema_overwrite_frequency:
            # Keras writes the average where the look-ahead point is wanted, and the next step would start from neither.
            raise OptimizerError(
                'nesterov: with `ema_overwrite_frequency` take `form` = "reformulated": an average of final weights '
                "cannot stand for look-ahead ones."
            )

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        if self.form == "lookahead":
            # Written when the weights are finalized, and read when training goes on: adding momentum * v again would
            # round differently, and a resumed run would drift from an uninterrupted one.
            self._ahead = self.add_optimizer_variables(variables, "ahead")
            self._is_ahead = [self.add_variable((), "ones", variable.dtype, name="is_ahead") for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        gradient = dense(gradient, variable.shape, variable.dtype)
        momentum = ops.cast(self.momentum, variable.dtype)
        step = ops.multiply(gradient, ops.cast(learning_rate, variable.dtype))
        velocity = self._velocities[index]
        if self.form == "reformulated":
            self.assign(velocity, ops.subtract(ops.multiply(velocity, momentum), step))
            self.assign_add(variable, ops.subtract(ops.multiply(velocity, momentum), step))
            return
        ahead_by = ops.multiply(momentum, self._is_ahead[index])
        self.assign_sub(variable, ops.multiply(velocity, ahead_by))  # back to the old point
        self.assign(velocity, ops.subtract(ops.multiply(velocity, momentum), step))
        # The velocity to the new point, and momentum times it to where the next gradient is wanted.
        self.assign_add(variable, ops.multiply(velocity, ops.add(momentum, 1)))
        self.assign(self._is_ahead[index], ops.ones((), self._is_ahead[index].dtype))

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Puts the final weights in the place of the look-ahead point; a second call changes nothing."""
        if self.form == "lookahead" and self.built:
            for variable in var_list:
                index = self._get_variable_index(variable)
                if self._looks_ahead(index):
                    self._ahead[index].assign(copied(variable))
                    variable.assign(self._final(index, variable))
                    self._is_ahead[index].assign(0)
        super().finalize_variable_values(var_list)

    def look_ahead(self) -> None:
        """Takes the variables to the look-ahead point again, to the last bit, before training goes on.

        Variables that were changed since they were finalized are left as they are.
        """
        if self.form == "reformulated" or not self.built:
            return
        for index, variable in enumerate(self._trainable_variables):
            if self._velocities[index] is None or self._looks_ahead(index):
                continue
            final = (
                self._model_variables_moving_average[index] if self.use_ema else self._final(index, self._ahead[index])
            )
            if bool(ops.all(ops.equal(variable, final))):
                variable.assign(copied(self._ahead[index]))
                self._is_ahead[index].assign(1)

    def _looks_ahead(self, index: int) -> bool:
        # Through NumPy: a variable that is mirrored over devices is no number by itself.
        return self._velocities[index] is not None and float(ops.convert_to_numpy(self._is_ahead[index])) == 1

    def _final(self, index: int, ahead: Any) -> Any:
        """The point that momentum leads away from, given where it leads."""
        return ops.subtract(ahead, ops.multiply(self._velocities[index], ops.cast(self.momentum, ahead.dtype)))

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        if self.form == "lookahead":
            trainable_variables = [
                variable if self._velocities[index] is None else self._final(index, variable)
                for index, variable in enumerate(trainable_variables)
            ]
        super()._update_model_variables_moving_average(trainable_variables)
