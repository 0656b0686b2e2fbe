"""What a run said of the pictures that it held out, kept beside its scores: nobody need look at them again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tltool.files import replacing

PREDICTIONS_FILE = "predictions.npz"  # in a run's folder


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of held-out pictures.

    Attributes:
        rows: Positions in the run's data set, shape (N,).
        prob: Class probabilities, shape (N, C), float32.
    """

    rows: np.ndarray
    prob: np.ndarray


def write_predictions(folder: Path, found: Predictions) -> None:
    """Writes them into a run's folder, all or nothing.

    Raises:
        OSError: if the file cannot be written.
    """
    with replacing(folder / PREDICTIONS_FILE) as temporary:
        np.savez(temporary, rows=found.rows.astype(np.int64), prob=found.prob.astype(np.float32))


def read_predictions(folder: Path) -> Predictions | None:
    """Reads them back; None where there are none, as in runs of earlier versions, or the file is damaged."""
    try:
        # Opened here: of a torn archive NumPy would leave the file open.
        with (folder / PREDICTIONS_FILE).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            found = Predictions(file["rows"], file["prob"])
    except Exception:  # NumPy and zipfile answer a damaged file with whatever their readers raise
        return None
    fits = found.rows.ndim == 1 and found.prob.ndim == 2 and len(found.rows) == len(found.prob)
    return found if fits else None
