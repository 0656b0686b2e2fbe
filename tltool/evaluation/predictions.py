"""What a run said of pictures that it had not learned from, kept beside its scores: nobody need look at them again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.files import replacing

# In a run's folder: of the test pictures by the finished model; and of those that it was calibrated on, as it was then.
PREDICTIONS_FILE, CALIBRATED_ON_FILE = "predictions.npz", "calibrated-on.npz"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of some of the pictures.

    Attributes:
        rows: Positions in the run's data set, shape (N,).
        prob: Class probabilities, shape (N, C), float32.
    """

    rows: np.ndarray
    prob: np.ndarray


def write_predictions(path: Path, found: Predictions) -> None:
    """Writes them, all or nothing.

    Raises:
        OSError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        np.savez(temporary, rows=found.rows.astype(np.int64), prob=found.prob.astype(np.float32))


def read_predictions(path: Path) -> Predictions | None:
    """Reads them back; None where there are none, as in runs of earlier versions, or the file is damaged."""
    try:
        # Opened here: of a torn archive NumPy would leave the file open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = Predictions(file["rows"], file["prob"])
    except Exception:  # NumPy and zipfile answer a damaged file with whatever their readers raise
        return None
    fits = found.rows.ndim == 1 and found.prob.ndim == 2 and len(found.rows) == len(found.prob)
    return found if fits else None
