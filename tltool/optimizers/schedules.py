"""Schedules of the rate, by name."""

from typing import Any

from keras.optimizers.schedules import CosineDecay, CosineDecayRestarts, LearningRateSchedule

from tltool.errors import OptimizerError
from tltool.optimizers.one_cycle import OneCycle
from tltool.optimizers.schedule_names import check_lengths, check_schedule
from tltool.optimizers.warm_up import WarmUp

SHORTEST_CYCLE = 0.01  # steps; a cycle that Keras is told in float32 to be of length 0 gives no rate but NaN


def build_schedule(
    name: str, rate: float, steps: int, warmup_steps: int = 0, **arguments: Any
) -> float | LearningRateSchedule:
    """What an optimizer takes as its `learning_rate`.

    During the warm-up the rate rises linearly from 0; the rest of the steps belongs to the schedule.

    - "constant": the rate stays.
    - "cosine": falls along half a cosine to `floor` (0) times the rate.
    - "one-cycle": see `OneCycle`; takes `rise`, `start_divisor`, `end_divisor`.
    - "restarts": falls as "cosine" does, `cycles` (3) times, each `growth` (2) times as long as the one before;
      together they fill the steps. Past the last step a further cycle would begin.
    - "plateau": the rate stays in the optimizer, and `ReduceOnPlateau` moves it, in the warm-up too: give that
      callback `warmup_steps`, `factor`, `patience` and `minimum_rate`. A schedule here could not be lowered.

    Args:
        name: One of `SCHEDULES`.
        rate: The highest rate, above 0.
        steps: Of the whole training, warm-up included; >= 1.
        warmup_steps: In [0, steps).
        arguments: The schedule's own.

    Returns:
        A number where the rate stays, else a schedule that maps a step (a whole number or scalar tensor, from 0) to
        a rate, float32.

    Raises:
        OptimizerError: if there is no such schedule, or a value breaks its rule; it names the right ones.

    Reference: Loshchilov and Hutter, 2017, "SGDR", section 3, for "cosine" (one cycle) and "restarts".
    """
    check_schedule(name, arguments)
    check_lengths(rate, steps, warmup_steps)
    rate, rest = float(rate), steps - warmup_steps
    if name == "plateau":
        return rate
    if name == "cosine":
        return _cosine(rate, rest, warmup_steps, **arguments)
    if name == "one-cycle":
        after = OneCycle(rate, rest, **arguments)
    elif name == "restarts":
        after = _restarts(rate, rest, **arguments)
    else:
        after = rate
    return WarmUp(after, warmup_steps) if warmup_steps else after


def _cosine(rate: float, rest: int, warmup_steps: int, floor: float = 0.0) -> CosineDecay:
    # Its own warm-up rather than WarmUp: the two differ in the last bit, and runs made with this one are on record.
    return CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else rate,
        decay_steps=rest,
        alpha=floor,
        warmup_target=rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def _restarts(rate: float, rest: int, cycles: int = 3, growth: float = 2.0, floor: float = 0.0) -> CosineDecayRestarts:
    length = rest / sum(float(growth) ** cycle for cycle in range(cycles))
    if length < SHORTEST_CYCLE:
        raise OptimizerError(
            f'Schedule "restarts": {cycles} cycles that grow by {growth:g} do not fit into {rest} steps. '
            "Take fewer `cycles` or less `growth`."
        )
    return CosineDecayRestarts(rate, length, t_mul=float(growth), alpha=floor)
