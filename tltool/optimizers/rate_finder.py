"""Finds a rate to train with: one short training in which the rate grows from step to step, and is then undone."""

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

# Keras has no public way to the generator behind unseeded random layers.
from keras.src.backend.common import global_state

from tltool.errors import OptimizerError
from tltool.optimizers.arguments import ABOVE_ZERO, AT_LEAST_ONE, BELOW_ONE, COUNT, check_arguments
from tltool.optimizers.finalize import inner_optimizers
from tltool.optimizers.rate_sweep_plot import RateSweep, judge, window_of

STOP_ABOVE = 4.0  # times the lowest smoothed loss; the field's habit, and past it nothing is learned about lower rates
GENERATOR = "global_seed_generator"
ASKED = [2**power for power in range(21)]  # steps of a schedule; a million is longer than what tltool trains
BATCHES = "without `y`, `x` must give batches: (x, y) or (x, y, sample_weight)"
RULES = {
    "batch_size": AT_LEAST_ONE,
    "lowest": ABOVE_ZERO,
    "highest": ABOVE_ZERO,
    "steps": AT_LEAST_ONE,
    "smoothing": BELOW_ONE,
    "seed": COUNT,
}


def find_rate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    batch_size: int = 32,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    seed: int = 0,
) -> RateSweep:
    """Trains for some steps at rates that grow exponentially, reads a rate off the losses, and puts all back.

    Afterwards the model's variables (metrics and seeds too), the optimizer's, its rates, and the random states of
    Python, NumPy and Keras are what they were, bit for bit, and so after an error; a model or an optimizer that was
    not built is built, at its start. It stops early when the loss is not finite, or its smoothed value is above
    `STOP_ABOVE` times its lowest. With several optimizers inside, the rates are those of the largest and the others
    follow in proportion. A schedule inside is replaced by a plain rate meanwhile.

    Args:
        model: Compiled.
        x: Inputs, an array or a structure of arrays with N rows; or, without `y`, batches: something that can be gone
            through again and again and gives `(x, y)` or `(x, y, sample_weight)`.
        y: Targets, N rows.
        batch_size: Rows of arrays in a step, drawn without replacement, then anew; a rest too small for a batch waits.
        lowest: The first rate, above 0.
        highest: The last rate, above `lowest`.
        steps: Rates between them, evenly spaced on a log axis; >= 20, and >= 4 / (1 - smoothing).
        smoothing: Weight of the past in the running average of the losses, in [0, 1).
        seed: Of the order of rows.

    Raises:
        OptimizerError: if the model is not compiled, there is no data, or a value breaks its rule.

    Reference: Smith, 2017, "Cyclical learning rates for training neural networks", section 3.3.
    """
    given = {"batch_size": batch_size, "lowest": lowest, "highest": highest, "steps": steps}
    check_arguments("Rate finder", given | {"smoothing": smoothing, "seed": seed}, RULES)
    if lowest >= highest:
        raise OptimizerError(f"Rate finder: `lowest` = {lowest:g} must be below `highest` = {highest:g}.")
    needed = max(20, 4 * window_of(smoothing))
    if steps < needed:
        raise OptimizerError(
            f"Rate finder: `steps` = {steps}: a smoothing of {smoothing:g} needs at least {needed}. "
            "Take more steps or smooth less."
        )
    if not model.compiled or model.optimizer is None:
        raise OptimizerError("Rate finder: the model has no optimizer and loss. Compile it first.")
    if y is None and not isinstance(x, Iterable):
        raise OptimizerError(f"Rate finder: {BATCHES}.")
    rates = np.geomspace(lowest, highest, steps)
    batches = _rounds(x) if y is None else _batches(x, y, batch_size, seed)
    with ExitStack() as undo:
        if hasattr(model, "distribute_strategy"):  # on TensorFlow; its variables are changed inside its scope alone
            undo.enter_context(model.distribute_strategy.scope())
        _keep_random_states(undo)
        first = next(batches)
        _keep_variables(undo, model, first)
        shares = _shares(model)
        _take_plain_rates(undo, model)
        losses, smoothed, stopped = _sweep(model, itertools.chain([first], batches), rates, shares, smoothing)
    return judge(rates[: len(losses)], losses, smoothed, smoothing, stopped)


def _sweep(
    model: keras.Model, batches: Iterator[tuple], rates: np.ndarray, shares: list[float], smoothing: float
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The losses up to where they explode, their average, each shape (steps done,), and whether they did."""
    losses, smoothed, average = [], [], 0.0
    for step, rate in enumerate(rates, start=1):
        for optimizer, share in zip(inner_optimizers(model.optimizer), shares, strict=True):
            optimizer.learning_rate = rate * share
        with _fitting() if step == 1 else nullcontext():
            loss = float(model.train_on_batch(*next(batches), return_dict=True)["loss"])
        average = smoothing * average + (1 - smoothing) * loss
        now = average / (1 - smoothing**step)  # else the first losses would seem near 0, where the average starts
        lowest = min([*smoothed, now])
        if not math.isfinite(now) or now > lowest + (STOP_ABOVE - 1) * abs(lowest):
            return np.array(losses), np.array(smoothed), True
        losses.append(loss)
        smoothed.append(now)
    return np.array(losses), np.array(smoothed), False


def _shares(model: keras.Model) -> list[float]:
    """The rates of the optimizers inside over the largest of them; of a schedule its highest counts.

    It does not tell its length, and in a warm-up its first rate is 0, so it is asked at steps that double. Schedules
    of one shape get their exact proportions.
    """
    peaks = []
    for optimizer in inner_optimizers(model.optimizer):
        rate = optimizer._learning_rate
        scheduled = isinstance(rate, LearningRateSchedule)
        asked = [rate(step) for step in (0, *ASKED)] if scheduled else [optimizer.learning_rate]
        peaks.append(max(float(keras.ops.convert_to_numpy(value)) for value in asked))
    if len(peaks) == 1:
        return [1.0]
    if max(peaks) == 0:
        raise OptimizerError("Rate finder: all rates inside the optimizer are 0. Give them their proportions.")
    return [peak / max(peaks) for peak in peaks]


def _keep_random_states(undo: ExitStack) -> None:
    generator = global_state.get_global_attribute(GENERATOR)
    if generator is not None:
        undo.callback(generator.state.assign, _value(generator.state))
    undo.callback(global_state.set_global_attribute, GENERATOR, generator)
    undo.callback(np.random.set_state, np.random.get_state())
    undo.callback(random.setstate, random.getstate())


def _keep_variables(undo: ExitStack, model: keras.Model, batch: tuple) -> None:
    """Builds what is not built, for what has no value yet cannot be kept."""
    undo.callback(setattr, model, "train_function", model.train_function)
    undo.callback(setattr, model, "test_function", model.test_function)
    if model._compile_loss is not None and not model._compile_loss.built:
        undo.callback(_unbuild, model._compile_metrics, model._compile_loss)
    if not model.built:
        with _fitting():
            model.test_on_batch(*batch)
        model.reset_metrics()
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    for variable in [*model.variables, *model.metrics_variables, *model.optimizer.variables]:
        undo.callback(variable.assign, _value(variable))
    undo.callback(model.reset_metrics)  # those that the first step builds have no value here
    if keras.backend.backend() == "jax":
        # A step that failed midway leaves its state behind, and the next callback would write it into the variables.
        undo.callback(setattr, model, "_jax_state", None)


@contextmanager
def _fitting() -> Iterator[None]:
    """Around the first step, which finds out whether model and data fit together."""
    try:
        yield
    except OptimizerError:
        raise
    except Exception as error:  # each backend has its own for shapes that do not fit
        raise OptimizerError(f"Rate finder: model and data do not fit together. {error}") from error


def _unbuild(metrics: Any, loss: Any) -> None:
    # Where they are not built, `fit` on JAX shuffles once more: built by the sweep, they would change its batches.
    if metrics is not None:
        metrics.built = False
    if loss.built and len(loss._flat_losses) == 1:  # several would add their metrics a second time
        loss.built = False


def _take_plain_rates(undo: ExitStack, model: keras.Model) -> None:
    """Puts a variable in the place of each schedule: Keras lets a schedule take a number's place, not the reverse."""
    # A step that is already compiled goes on with the schedule that it saw.
    model.train_function = None
    for optimizer in inner_optimizers(model.optimizer):
        if not isinstance(optimizer._learning_rate, keras.Variable):
            undo.callback(setattr, optimizer, "learning_rate", optimizer._learning_rate)
            # The assignment enters it among the optimizer's variables, or JAX would compile its value in; what puts the
            # schedule back takes it out again.
            optimizer._learning_rate = keras.Variable(0.0, trainable=False, name="swept_rate")


def _value(variable: keras.Variable) -> np.ndarray:
    # A copy: the arrays that backends hand out can be views of memory that the next step writes to.
    return np.array(keras.ops.convert_to_numpy(variable))


def _rounds(batches: Iterable[Any]) -> Iterator[tuple]:
    """The batches, again and again."""
    for number in itertools.count():
        empty = True
        for batch in batches:
            empty = False
            if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
                raise OptimizerError(f"Rate finder: {BATCHES}.")
            yield tuple(batch)
        if empty:
            raise OptimizerError(
                "Rate finder: the batches ran out and cannot be gone through again. Give a list or a dataset."
                if number
                else "Rate finder: there are no batches."
            )


def _batches(x: Any, y: Any, batch_size: int, seed: int) -> Iterator[tuple]:
    """Batches of one size from shuffled rows, again and again."""
    x, y = keras.tree.map_structure(np.asarray, (x, y))
    lengths = {len(leaf) if leaf.ndim else 0 for leaf in keras.tree.flatten((x, y))}
    if len(lengths) != 1:
        raise OptimizerError(f"Rate finder: x and y have {' and '.join(map(str, sorted(lengths)))} rows.")
    (count,) = lengths
    if not count:
        raise OptimizerError("Rate finder: x and y have no rows.")
    size, order = min(batch_size, count), np.random.default_rng(seed)
    while True:
        rows = order.permutation(count)
        for start in range(0, count - size + 1, size):
            chosen = rows[start : start + size]
            yield keras.tree.map_structure(lambda leaf: leaf[chosen], (x, y))  # noqa: B023 (called at once)
