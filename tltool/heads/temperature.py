"""One number that makes the probabilities of a network come true as often as they say."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tltool.errors import ShapeError
from tltool.heads.logistic import log_loss

# Fewer pictures do without a temperature. Change of log loss on six sets with ten splits each, in thousandths of a nat,
# for logits with next to nothing to gain, for those times 1.3 and times 2: with 20 pictures +8, +6 and -47, with 50
# pictures +5, -7 and -97, with 100 pictures +1, -12 and -107 (benchmarks/calibration.py).
FEWEST = 50
# Nats a picture set is charged for the square of log T, once, not a picture: a normal prior around T = 1. Without it
# 50 pictures cost 22 thousandths where nothing was to gain, with it 5; from 200 pictures on it changes nothing.
PRIOR = 3.0
BOUNDS = (0.05, 20.0)  # of a temperature; beyond, a network says the same whatever it sees, or nothing at all
PARTS = 5  # of the pictures, each judged by the temperature of the others
# How out-of-fold logits for a temperature and for conformal sets are best made. Four folds, whose heads know a quarter
# of the pictures less than the head itself, cover 91.1 % where 90 % is asked; ten cover 90.5 %.
# benchmarks/calibration.py. A second and third shuffle steady the temperature.
CALIBRATION_FOLDS, CALIBRATION_SHUFFLES = 10, 3
# Of many pictures no more are held out, so that 6,000 take two more fits instead of ten.
CALIBRATION_PICTURES = 1000


@dataclass(frozen=True)
class Temperature:
    """What logits are divided by before they become probabilities.

    Attributes:
        value: > 0; above 1 it makes a network less sure of itself. 1 where it is not trusted.
        pictures: How many it was fitted on.
        gain: Mean log loss that it takes off pictures it was not fitted on, nats, by cross-fitting; 0 if not trusted,
            and slightly below 0 where there was nothing to gain.
        reason: Why it is not trusted; None where it is.
    """

    value: float
    pictures: int
    gain: float = 0.0
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.reason:
            return f"no temperature: {self.reason}"
        change = f"log loss {'lower' if self.gain > 0 else 'higher'} by {abs(self.gain):.4f} nats in cross-fitting"
        if self.gain <= 0:
            change = f"{change}, which is within its noise"
        return f"temperature {self.value:.2f} from {self.pictures} pictures, {change}"


def fit_temperature(logits: np.ndarray, labels: np.ndarray, seed: int = 0) -> Temperature:
    """The temperature with the lowest log loss, held near 1 where pictures are few.

    It is 1, and says why, below `FEWEST` pictures, and where cross-fitting speaks against it: where pictures that are
    judged by a temperature fitted on the others lose by it more than the standard error of that. It changes no
    decision of a model that tells one class.

    Args:
        logits: Of pictures that the model has not learned from, shape (N, C); or of several shuffles of the same
            pictures, shape (S, N, C). Rows that hold NaN are left out. Logarithms of probabilities do as well; of a
            multi-label model log(p / (1 - p)).
        labels: Class indices, shape (N,); of a multi-label set 0 and 1, shape (N, C).
        seed: Of the cross-fitting.

    Raises:
        ShapeError: if the shapes do not fit.

    Reference: Guo et al., 2017, "On calibration of modern neural networks", section 4.2.
    """
    shuffles = np.asarray(logits, dtype=np.float64)
    shuffles = shuffles[None] if shuffles.ndim == 2 else shuffles
    labels = np.asarray(labels)
    fit = shuffles.shape[1:] == labels.shape if labels.ndim == 2 else shuffles.shape[1:2] == labels.shape
    if shuffles.ndim != 3 or not fit:
        raise ShapeError(f"Logits of shape {np.shape(logits)} and labels of shape {labels.shape} do not fit.")
    known = ~np.isnan(shuffles).any(axis=(0, 2))
    shuffles, labels = shuffles[:, known], labels[known]
    count = len(labels)
    if count < FEWEST:
        return Temperature(1.0, count, reason=f"{count} pictures to calibrate on, and it takes {FEWEST}")
    part = np.random.default_rng(seed).permutation(count) % PARTS
    after = np.empty(count)
    for held_out in range(PARTS):
        inside = part == held_out
        after[inside] = _losses(shuffles[:, inside], labels[inside], _best(shuffles[:, ~inside], labels[~inside]))
    gains = _losses(shuffles, labels, 1.0) - after
    gain = float(gains.mean())
    # Not below 0: the temperatures of the parts are worse than that of all, and where there is little to gain that
    # threw away most of it (flowers 0.0007 instead of 0.0021, with the same harm to others).
    if gain < -float(gains.std()) / np.sqrt(count):
        return Temperature(1.0, count, reason=f"on {count} pictures no temperature does better than none")
    return Temperature(_best(shuffles, labels), count, gain)


def _best(shuffles: np.ndarray, labels: np.ndarray) -> float:
    from scipy.optimize import minimize_scalar

    def cost(log_temperature: float) -> float:
        loss = _losses(shuffles, labels, np.exp(log_temperature)).mean()
        return float(loss + PRIOR / len(labels) * log_temperature**2)

    return float(np.exp(minimize_scalar(cost, bounds=np.log(BOUNDS), method="bounded", options={"xatol": 1e-6}).x))


def _losses(shuffles: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """Cross-entropy of each picture at a temperature, averaged over shuffles, shape (N,); binary ones are averaged."""
    losses = np.mean([log_loss(logits / temperature, labels) for logits in shuffles], axis=0)
    return losses / labels.shape[1] if labels.ndim == 2 else losses
