"""A linear rise from 0 before any other schedule."""

from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from tltool.optimizers.arguments import ABOVE_ZERO, AT_LEAST_ONE, check_arguments


@keras.saving.register_keras_serializable("tltool")
class WarmUp(LearningRateSchedule):
    """Rises linearly from 0 to the first rate of what follows, which then counts its steps from its own 0.

    At step s the rate is `first * s / steps` for s < steps, and `after(s - steps)` from there on.

    Args:
        after: A schedule, or a rate above 0 that stays.
        steps: Length of the rise, >= 1.

    Raises:
        OptimizerError: if the rate is not above 0, or the rise has no step.

    Reference: Goyal et al., 2017, "Accurate, large minibatch SGD", section 2.2.
    """

    def __init__(self, after: LearningRateSchedule | float, steps: int):
        super().__init__()
        check_arguments("Warm-up", {"steps": steps}, {"steps": AT_LEAST_ONE})
        if not isinstance(after, LearningRateSchedule):
            check_arguments("Warm-up", {"after": after}, {"after": ABOVE_ZERO})
        self.after = after
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        """The rate, a scalar, at a step: a number or a scalar tensor."""
        step = keras.ops.convert_to_tensor(step)
        share = keras.ops.cast(step, "float32") / self.steps
        # Held at 0 during the rise: both branches are computed, and a schedule need not be defined before its start.
        later = self._rate(keras.ops.maximum(step - self.steps, 0))
        return keras.ops.where(share < 1, self._rate(keras.ops.zeros_like(step)) * share, later)

    def _rate(self, step: Any) -> Any:
        rate = self.after(step) if isinstance(self.after, LearningRateSchedule) else self.after
        return keras.ops.cast(rate, "float32")

    def get_config(self) -> dict[str, Any]:
        scheduled = isinstance(self.after, LearningRateSchedule)
        return {
            "after": keras.optimizers.schedules.serialize(self.after) if scheduled else self.after,
            "steps": self.steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        after = config["after"]
        if isinstance(after, dict):
            after = keras.optimizers.schedules.deserialize(after)
        return cls(after, config["steps"])
