"""What a sweep of the rate found: suggestions, or that there are none, and its picture."""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.errors import OptimizerError

# Measured on sweeps of scikit-learn's digits: four networks, SGD and Adam, three seeds.
CLEAR_NOISES = 20.0  # a fall in standard deviations of the average: of 24 sweeps of true labels one fell by less; of 48
# of shuffled labels or pictures of noise one fell by more, from a start that was worse than chance.
CLEAR_SHARE = 0.02  # a fall in shares of the first loss: at least 0.04, but 0.01 where a head that started at 0 had
# nothing to learn, and hardly any noise to be compared with.
FALL_BEGINS = 0.05  # share of the fall
VALLEY_AT = 0.4  # of the way down: four epochs there ended within 10 % of the loss at the best of six rates, each time


@dataclass(frozen=True, eq=False)
class RateSweep:
    """Losses of a training in which the rate grew from step to step, and the rates they suggest.

    The suggestions are None without a clear valley. The average trails the losses by `smoothing / (1 - smoothing)`
    steps; `steepest` and `minimum_tenth` are read off it as they are, as is the custom.

    Attributes:
        rates: Of the steps done, shape (S,), rising.
        losses: Of their batches, shape (S,).
        smoothed: Their running average, shape (S,).
        steepest: The rate at which the average falls fastest per decade.
        valley: The rate `VALLEY_AT` of the way down the fall, on a log axis. The fall ends where the average is lowest
            and begins where it had last lost less than `FALL_BEGINS` of it.
        minimum_tenth: A tenth of the rate at which the average is lowest.
        verdict: The suggestion and what it stands on, or why there is none and what to do.

    Reference: the three readings are those of fastai's `lr_find`. Its valley is a point along the longest subsequence
    of falling losses; that begins wherever the sweep does, for on the plain before the fall each step gains a little,
    so the suggestion would move with `lowest`.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float | None
    valley: float | None
    minimum_tenth: float | None
    verdict: str

    @property
    def suggestion(self) -> float | None:
        """The rate to train with: the valley's."""
        return self.valley

    def plot(self, path: str | Path) -> Path:
        """Draws losses, average and suggestions over the rate.

        Args:
            path: Of a new file that ends in .png.

        Raises:
            OptimizerError: if the file exists, cannot be written or would be no .png, or matplotlib is missing.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise OptimizerError(f"{path.name}: the picture of a sweep is a .png. Give it that ending.")
        if path.exists():
            raise OptimizerError(f"{path.name}: exists already. Choose another name, or remove it first.")
        _draw(self, path)
        return path


def window_of(smoothing: float) -> int:
    """Steps that an average with this weight of the past looks back on; before them it has not settled."""
    return max(1, round(1 / (1 - smoothing)))


def judge(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, smoothing: float, stopped: bool) -> RateSweep:
    """Reads the suggestions off a sweep, or says why it has none.

    Args:
        rates: Shape (S,), rising.
        losses: Shape (S,), finite.
        smoothed: Shape (S,).
        smoothing: Weight of the past in `smoothed`, in [0, 1).
        stopped: Whether the loss exploded after the last of them.
    """
    window, count = window_of(smoothing), len(losses)

    def none(reason: str) -> RateSweep:
        return RateSweep(rates, losses, smoothed, None, None, None, f"No clear valley: {reason}")

    if not count:
        return none("the first loss is not a number. Look for NaN or infinity in the data and the weights.")
    if count < 2 * window:
        return none(f"the loss exploded at step {count + 1}. Start at a lower rate with `lowest`.")
    start = window - 1
    bottom = start + int(np.argmin(smoothed[start:]))
    level, fall = smoothed[start], smoothed[start] - smoothed[bottom]
    # From one batch to the next the loss jumps by sqrt(2) standard deviations; the median overlooks the trend.
    jump = 1.4826 * float(np.median(np.abs(np.diff(losses[: max(bottom, window) + 1])))) / math.sqrt(2)
    noise = jump * math.sqrt((1 - smoothing) / (1 + smoothing))
    if fall <= max(CLEAR_NOISES * noise, CLEAR_SHARE * abs(level)):
        return none(
            f"the loss fell by {fall:.2g} from {level:.3g}, and its average moves by {noise:.2g} from batch to batch "
            "alone. Check labels and inputs, take larger batches, more `steps` or a higher `highest`, or choose a rate "
            "without the finder."
        )
    if not stopped and bottom >= count - 1 - count // 20:
        return none(f"the loss still falls at the last rate, {rates[-1]:.2g}. Go on to a higher one with `highest`.")
    begin = start + int(np.flatnonzero(smoothed[start : bottom + 1] >= level - FALL_BEGINS * fall)[-1])
    slopes = np.gradient(smoothed, np.log10(rates))[start : bottom + 1]
    valley = float(rates[begin + round(VALLEY_AT * (bottom - begin))])
    verdict = (
        f"The loss falls from {level:.3g} to {smoothed[bottom]:.3g} between the rates {rates[begin]:.2g} and "
        f"{rates[bottom]:.2g}: train with {valley:.2g}."
    )
    steepest = float(rates[start + int(np.argmin(slopes))])
    return RateSweep(rates, losses, smoothed, steepest, valley, float(rates[bottom]) / 10, verdict)


def _draw(sweep: RateSweep, path: Path) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OptimizerError('Pictures need matplotlib. Install it with: pip install "tltool[plots]"') from error
    # The objects, not pyplot: it would choose a window system, and keep every figure in memory.
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", xlabel="rate", ylabel="loss")
    axes.plot(sweep.rates, sweep.losses, color="0.75", linewidth=1, label="batch")
    axes.plot(sweep.rates, sweep.smoothed, color="tab:blue", linewidth=2.5, label="average")
    marks = (("valley", sweep.valley, "tab:green", "o"), ("steepest", sweep.steepest, "tab:orange", "s"))
    for name, rate, color, marker in (*marks, ("minimum / 10", sweep.minimum_tenth, "tab:purple", "D")):
        if rate is not None:
            height = np.interp(math.log(rate), np.log(sweep.rates), sweep.smoothed)
            axes.axvline(rate, color=color, linewidth=1, linestyle=":")
            axes.plot(rate, height, marker, color=color, markersize=9, label=f"{name}: {rate:.2g}", zorder=3)
    if len(sweep.smoothed):
        # A loss that explodes would press the valley flat against the axis.
        low, high = min(sweep.losses.min(), sweep.smoothed.min()), max(sweep.losses[: len(sweep.losses) // 2 + 1])
        margin = 0.15 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + 2 * margin)
        axes.legend(loc="best")
    axes.set_title(textwrap.fill(sweep.verdict, 90), fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    try:
        with path.open("xb") as file:  # never over a file that came to be since the check
            figure.savefig(file)
    except OSError as error:
        raise OptimizerError(f"{path}: cannot be written ({error.strerror}). Give another name.") from None
