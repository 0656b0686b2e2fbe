"""Which pictures can judge several runs at once: those that none of them has learned from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from tltool.data import Dataset
from tltool.errors import DataError, RunError
from tltool.evaluation.inference import classify
from tltool.features.extract import content_keys
from tltool.progress import Report, silent
from tltool.run import Run


@dataclass(frozen=True, eq=False)
class CommonPictures:
    """Some pictures of the first run's data set.

    Attributes:
        data: The first run's.
        rows: Positions in it, shape (n,), n >= 1.
        keys: Content keys, length n.
    """

    data: Dataset
    rows: np.ndarray
    keys: tuple[str, ...]

    @property
    def paths(self) -> list[Path]:
        return [self.data.root / self.data.files[row] for row in self.rows]

    @property
    def labels(self) -> np.ndarray:
        """As `Dataset.labels_of` gives them."""
        return self.data.labels_of(self.rows)

    def take(self, positions: np.ndarray) -> "CommonPictures":
        """These alone."""
        return replace(self, rows=self.rows[positions], keys=tuple(self.keys[i] for i in positions))


def learned_by_any(runs: Sequence[Run]) -> set[str]:
    """Content keys of the pictures that at least one run has learned from, or was chosen by."""
    return {key for run in runs for key in run.learned}


def held_out_by_all(runs: Sequence[Run]) -> CommonPictures:
    """The first run's held-out pictures, without those that another run has learned from.

    Raises:
        RunError: if none is left.
        DataError: if none can be read.
    """
    found = _readable(runs[0], "test")
    learned = learned_by_any(runs)
    kept = [position for position, key in enumerate(found.keys) if key not in learned]
    if not kept:
        names = ", ".join(str(run.path) for run in runs)
        raise RunError(
            f"{names}: each picture that the first of them held out, another one has learned from, so nothing can tell "
            "how good they are together. Fit them on one split: the same data and a seed that only the fit differs in."
        )
    return found.take(np.array(kept))


def validating_all(runs: Sequence[Run]) -> CommonPictures:
    """The first run's validation pictures, without those whose like another run has trained on.

    Raises:
        RunError: if none is left.
        DataError: if none can be read.
    """
    found = _readable(runs[0], "valid")
    learned = {key for run in runs for key in _readable(run, "train").keys}
    kept = [position for position, key in enumerate(found.keys) if key not in learned]
    if not kept:
        names = ", ".join(str(run.path) for run in runs)
        raise RunError(
            f"{names}: no validation picture is left that none of them was trained on. Fit them on one split: the same "
            "data and a seed that only the fit differs in."
        )
    return found.take(np.array(kept))


def learned_pictures(run: Run) -> CommonPictures:
    """The training pictures of a run.

    Raises:
        DataError: if none can be read.
    """
    return _readable(run, "train")


def probabilities_of(
    models: Sequence[keras.Model], pictures: CommonPictures, report: Report = silent
) -> tuple[CommonPictures, np.ndarray]:
    """What picture models say of the pictures that all of them can read.

    Returns:
        These pictures, and probabilities of shape (models, pictures, classes).

    Raises:
        DataError: if none can be read.
    """
    results = [classify(model, pictures.paths, report, pictures.keys) for model in models]
    readable = set.intersection(*(set(result.indices.tolist()) for result in results))
    if not readable:
        raise DataError(f"{pictures.data.root}: no readable pictures. The first: {results[0].problems[0]}")
    kept = np.array(sorted(readable))
    prob = [result.values[np.isin(result.indices, kept)] for result in results]
    return pictures.take(kept), np.stack(prob)


def leaked_among(pictures: CommonPictures, runs: Sequence[Run]) -> np.ndarray:
    """Of which of the pictures a copy, or another one of its group, was learned from by some run.

    Returns:
        Shape (n,), bool.
    """
    learned = {name for run in runs for name in run.data.together_of(run.data.indices("train", "valid"))} - {""}
    return np.array([name in learned for name in pictures.data.together_of(pictures.rows)], dtype=bool)


def _readable(run: Run, part: str) -> CommonPictures:
    data = run.data
    rows = data.indices(part)
    keys, problems = content_keys(data.root, [data.files[row] for row in rows])
    kept = [position for position, key in enumerate(keys) if key is not None]
    if not kept:
        reason = f"the first: {problems[0]}" if problems else "it has none"
        raise DataError(f"{run.path}: none of its {part} pictures can be read ({reason}). Put {data.root} back.")
    return CommonPictures(data, rows[kept], tuple(keys[position] for position in kept))
