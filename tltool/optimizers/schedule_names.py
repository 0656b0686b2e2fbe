"""Which schedules of the rate there are and what they take, without Keras: a recipe is checked before it loads."""

from collections.abc import Mapping
from typing import Any

from tltool.errors import OptimizerError
from tltool.optimizers.arguments import (
    ABOVE_ZERO,
    AT_LEAST_ONE,
    BELOW_ONE,
    COUNT,
    INSIDE,
    NOT_NEGATIVE,
    NUMBER,
    Rule,
    check_arguments,
    suggestion,
)

ONE_OR_MORE = Rule("a number, 1 or above", lambda value: NUMBER.holds(value) and value >= 1)
CYCLES = Rule("a whole number from 1 to 50", lambda value: AT_LEAST_ONE.holds(value) and value <= 50)
GROWTH = Rule("a number from 1 to 100", lambda value: ONE_OR_MORE.holds(value) and value <= 100)

# What each means is told where it is used: tltool/optimizers/schedules.py and reduce_on_plateau.py.
SCHEDULES: dict[str, dict[str, Rule]] = {
    "constant": {},
    "cosine": {"floor": BELOW_ONE},
    "one-cycle": {"rise": INSIDE, "start_divisor": ONE_OR_MORE, "end_divisor": ONE_OR_MORE},
    "restarts": {"cycles": CYCLES, "growth": GROWTH, "floor": BELOW_ONE},
    "plateau": {"factor": INSIDE, "patience": AT_LEAST_ONE, "minimum_rate": NOT_NEGATIVE},
}
_LENGTHS = {"rate": ABOVE_ZERO, "steps": AT_LEAST_ONE, "warmup_steps": COUNT}


def check_schedule(name: str, arguments: Mapping[str, Any]) -> None:
    """Checks a schedule's name and its own arguments.

    Raises:
        OptimizerError: naming the schedules there are, or listing every argument that is wrong and the right ones.
    """
    if not isinstance(name, str) or name not in SCHEDULES:
        near = suggestion(str(name), SCHEDULES)
        raise OptimizerError(f"There is no schedule {name!r}.{near} Schedules: {', '.join(sorted(SCHEDULES))}.")
    check_arguments(f'Schedule "{name}"', arguments, SCHEDULES[name])


def check_lengths(rate: float, steps: int, warmup_steps: int) -> None:
    """Checks what every schedule takes: its highest rate, its steps, and how many of them are warm-up.

    Raises:
        OptimizerError: if the rate is not above 0, there is no step, or the warm-up leaves none.
    """
    check_arguments("Schedule", {"rate": rate, "steps": steps, "warmup_steps": warmup_steps}, _LENGTHS)
    if warmup_steps >= steps:
        raise OptimizerError(
            f"Schedule: a warm-up of {warmup_steps} steps leaves none of {steps}. Train longer or warm up for less."
        )
