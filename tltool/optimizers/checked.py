"""What the optimizers of this package have in common: arguments that keep rules, and a configuration made of them."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import initializers, ops

from tltool.optimizers.catalogue import OPTIMIZERS, check_optimizer_arguments, check_rate


class CheckedOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer whose own arguments are those of its entry in the catalogue.

    Args:
        learning_rate: Above 0; or a schedule.
        own: Its own arguments, kept as attributes and in the configuration.
        common: What every Keras optimizer takes.

    Raises:
        OptimizerError: naming every argument that is wrong.
    """

    catalogue_name: str

    def __init__(self, learning_rate: Any, own: dict[str, Any], common: dict[str, Any]):
        check_rate(self.catalogue_name, learning_rate)
        check_optimizer_arguments(self.catalogue_name, {**own, **common})
        super().__init__(learning_rate if callable(learning_rate) else float(learning_rate), **common)
        for name, value in own.items():
            setattr(self, name, value)

    def get_config(self) -> dict[str, Any]:
        own = OPTIMIZERS[self.catalogue_name].rules
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Puts the final weights into the variables: their moving average, where there is one."""
        super().finalize_variable_values(var_list)
        if self.use_ema:
            for variable in var_list:
                variable.assign(copied(variable))

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "CheckedOptimizer":
        # A rate that a callback had lowered to 0 by the time of saving is no user's slip: the file must open.
        if config.get("learning_rate") == 0:
            optimizer = super().from_config({**config, "learning_rate": 1.0}, custom_objects)
            optimizer.learning_rate = 0.0
            return optimizer
        return super().from_config(dict(config), custom_objects)


class SummingOptimizer(CheckedOptimizer):
    """One that keeps a sum of squared gradients for each weight, as Adagrad does."""

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        start = initializers.Constant(self.initial_accumulator_value)
        self._accumulators = self.add_optimizer_variables(variables, "accumulator", initializer=start)


def dense(gradient: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """The gradient in full, as a sparse one's rows may repeat: the square of their sum is not the sum of squares."""
    gradient = ops.cast(gradient, dtype)
    return ops.add(ops.zeros(shape, dtype), gradient) if hasattr(gradient, "indices") else gradient


def copied(variable: keras.Variable) -> Any:
    """Its value in memory of its own: two variables that share it on JAX lose it both when a step gives it away."""
    return ops.copy(ops.convert_to_tensor(variable))
