"""What a model brings and what it costs: one line of the table of an ensemble or a soup."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.evaluation.evaluate import score_any
from tltool.evaluation.metrics import Metrics
from tltool.evaluation.multi_label import MultiLabelMetrics
from tltool.run import Run

Scores = Metrics | MultiLabelMetrics
TIMED = 9  # calls, of which the quickest counts


@dataclass(frozen=True)
class Price:
    """One model.

    Attributes:
        name: Of the run, or "ensemble of 3".
        accuracy: Top-1, of a multi-label model the mean average precision, [0, 1].
        log_loss: Nats.
        calibration_error: [0, 1].
        seconds: To train.
        size: Of the exported model, bytes.
        latency: From one whole picture to its probabilities, seconds, on this machine.
    """

    name: str
    accuracy: float
    log_loss: float
    calibration_error: float
    seconds: float
    size: int
    latency: float

    @property
    def cells(self) -> tuple[str, ...]:
        """All but the name, as a table shows them."""
        return (
            f"{self.accuracy:.1%}",
            f"{self.log_loss:.3f}",
            f"{self.calibration_error:.3f}",
            f"{self.seconds:.0f} s",
            f"{self.size / 1e6:.1f} MB",
            f"{1000 * self.latency:.0f} ms",
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def price_of(name: str, scores: Scores, seconds: float, file: Path, model: keras.Model, picture: np.ndarray) -> Price:
    """Scores, time and size of one model.

    Args:
        name: For the table.
        scores: On the pictures that all models of the table are scored on.
        seconds: To train.
        file: The saved model.
        model: The same, loaded.
        picture: Shape (height, width, 3), uint8; what latency is measured on.
    """
    errors = scores.log_loss, scores.expected_calibration_error
    return Price(name, accuracy_of(scores), *errors, seconds, file.stat().st_size, latency_of(model, picture))


def prices_of(runs: Sequence[Run], prob: np.ndarray, labels: np.ndarray, picture: np.ndarray) -> tuple[Price, ...]:
    """The same of finished runs.

    Args:
        runs: The models.
        prob: What they say of the pictures that all are scored on, shape (runs, N, C).
        labels: Class indices of these, shape (N,); of a multi-label set 0 and 1, shape (N, C).
        picture: As for `price_of`.
    """
    found = []
    for run, values in zip(runs, prob, strict=True):
        scores = score_any(values, labels, run.class_names, run.labels.threshold)
        found.append(price_of(run.path.name, scores, run.seconds, run.folder.model, run.model, picture))
    return tuple(found)


def accuracy_of(scores: Scores) -> float:
    """Top-1; of a multi-label model the mean average precision."""
    return scores.top1 if isinstance(scores, Metrics) else scores.mean_average_precision


def latency_of(model: keras.Model, picture: np.ndarray) -> float:
    """Seconds from a picture in memory, shape (height, width, 3), uint8, to its probabilities, once it is compiled."""
    batch = picture[None]
    model.predict_on_batch(batch)
    taken = []
    for _ in range(TIMED):
        begin = time.perf_counter()
        model.predict_on_batch(batch)
        taken.append(time.perf_counter() - begin)
    return min(taken)  # other work on the machine only adds


def table_of(prices: Sequence[Price], accuracy: str) -> str:
    """A table in plain text, one model a line.

    Args:
        prices: The lines.
        accuracy: What the accuracy is called: "top-1" or "mAP".
    """
    width = max(len("model"), *(len(price.name) for price in prices))
    heads = (accuracy, "log loss", "calib. error", "training", "size", "a picture")
    lines = [f"{'model':{width}}  " + "  ".join(f"{head:>12}" for head in heads)]
    for price in prices:
        lines.append(f"{price.name:{width}}  " + "  ".join(f"{cell:>12}" for cell in price.cells))
    return "\n".join(lines)
