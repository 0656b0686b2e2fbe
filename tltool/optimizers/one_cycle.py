"""One rise and one long fall of the rate."""

import math
from typing import Any

import keras

from tltool.optimizers.arguments import ABOVE_ZERO, AT_LEAST_ONE, check_arguments
from tltool.optimizers.schedule_names import SCHEDULES


@keras.saving.register_keras_serializable("tltool")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to the rate, then falls along a cosine to almost nothing, and stays there.

    With `top = rise * steps`, at step s the rate is, up to `top`,
    `rate * (1 / start_divisor + (1 - 1 / start_divisor) * s / top)`, and after it
    `rate * (1 / end_divisor + (1 - 1 / end_divisor) * (1 + cos(pi * (s - top) / (steps - top))) / 2)`.

    Args:
        rate: The highest, above 0.
        steps: Length of the cycle, >= 1.
        rise: Share of the steps in which the rate rises, in (0, 1).
        start_divisor: The first rate is `rate / start_divisor`; >= 1.
        end_divisor: The last rate is `rate / end_divisor`; >= 1.

    Raises:
        OptimizerError: if one of them breaks its rule.

    Reference: Smith and Topin, 2018, "Super-convergence", section 3: one cycle, then a fall by several orders of
    magnitude. Theirs falls along two lines; the cosine is one curve in place of both.
    """

    def __init__(
        self,
        rate: float,
        steps: int,
        rise: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 10_000.0,
    ):
        super().__init__()
        given = {"rise": rise, "start_divisor": start_divisor, "end_divisor": end_divisor}
        self._config = {"rate": rate, "steps": steps, **given}
        check_arguments("One-cycle", self._config, {"rate": ABOVE_ZERO, "steps": AT_LEAST_ONE} | SCHEDULES["one-cycle"])
        self._top = rise * steps

    def __call__(self, step: Any) -> Any:
        """The rate, a scalar, at a step: a number or a scalar tensor."""
        rate, steps = self._config["rate"], self._config["steps"]
        first, last = rate / self._config["start_divisor"], rate / self._config["end_divisor"]
        step = keras.ops.minimum(keras.ops.cast(step, "float32"), float(steps))
        up = first + (rate - first) * step / self._top
        turn = math.pi * (step - self._top) / (steps - self._top)
        # Without `maximum`, float32's pi leaves the cosine a hair below -1 in places, and the rate negative.
        down = last + (rate - last) * keras.ops.maximum(1 + keras.ops.cos(turn), 0.0) / 2
        return keras.ops.where(step < self._top, up, down)

    def get_config(self) -> dict[str, Any]:
        return dict(self._config)
