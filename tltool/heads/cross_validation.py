"""Chooses the ridge strength of a linear head, and tells how good the head will be on pictures it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.errors import DataError
from tltool.heads.logistic import LogisticProblem, log_loss
from tltool.progress import Report, silent

# Single cross-validations of 171 pictures ranged over 17 points between shuffles, so small sets are shuffled several
# times; past this many scored pictures the spread is under one point and more shuffles only cost time.
SCORED_PICTURES = 3000
PATIENCE = 2  # strengths without improvement after which weaker ones, which are the slow ones, are not tried
# Of the fits that are only compared; the head itself is solved to a hundredth of it. At 1e-3, fits with little ridge
# stop too early to be told apart, and cats_dogs chose a strength a hundred times too weak.
TOLERANCE = 1e-4
TASK = "Cross-validating"


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Out-of-fold scores at the chosen strength.

    Attributes:
        l2: The strength with the lowest log loss.
        path: For each strength tried, (l2, mean log loss in nats, accuracy in [0, 1]).
        losses: Log loss of each picture, averaged over shuffles, shape (N,); NaN where it was never held out.
        correct: Share of shuffles in which each picture was classified right, shape (N,); NaN likewise.
    """

    l2: float
    path: tuple[tuple[float, float, float], ...]
    losses: np.ndarray
    correct: np.ndarray

    @property
    def log_loss(self) -> float:
        return float(np.nanmean(self.losses))

    @property
    def accuracy(self) -> float:
        return float(np.nanmean(self.correct))

    @property
    def accuracy_error(self) -> float:
        """Standard error of the accuracy, as a fraction."""
        scored = self.correct[~np.isnan(self.correct)]
        return float(scored.std() / np.sqrt(max(len(scored), 1)))


def cross_validate(
    problem: LogisticProblem,
    strengths: Sequence[float],
    folds: int,
    shuffles: int,
    seed: int,
    task: str = TASK,
    report: Report = silent,
) -> CrossValidation:
    """Scores each strength on pictures that the fit did not see.

    Args:
        problem: Features and labels.
        strengths: Ridge strengths to try, > 0; the order does not matter.
        folds: Parts of a shuffle, >= 2; each is held out once.
        shuffles: Upper bound on how often the folds are drawn anew, >= 1; `SCORED_PICTURES` can end it earlier.
        seed: Of the shuffles. The same labels and seed give the same folds, so two heads compare picture by picture.
        task: What to call this in reports.
        report: Told how many strengths are done.

    Raises:
        DataError: if no class has two pictures, so that nothing can be held out.
    """
    splits = list(_splits(problem.labels, folds, shuffles, seed))
    if not splits:
        raise DataError("Cross-validation needs a class with at least 2 training pictures. Add pictures.")
    strengths = sorted(strengths, reverse=True)
    times = np.zeros(len(problem))
    for _, held_out in splits:
        times[held_out] += 1
    paths = [problem.path_logits(strengths, fitted, held_out, TOLERANCE) for fitted, held_out in splits]
    tried: list[tuple[float, np.ndarray, np.ndarray]] = []
    best = 0
    for l2 in strengths:
        report(task, len(tried), len(strengths))
        sums, hits = np.zeros((2, len(problem)))
        for path, (_, held_out) in zip(paths, splits, strict=True):
            logits, labels = next(path), problem.labels[held_out]
            sums[held_out] += log_loss(logits, labels)
            hits[held_out] += logits.argmax(axis=1) == labels
        seen = np.where(times > 0, times, np.nan)
        tried.append((l2, sums / seen, hits / seen))
        if np.nanmean(tried[-1][1]) < np.nanmean(tried[best][1]):
            best = len(tried) - 1
        if len(tried) - 1 - best == PATIENCE:
            break
    report(task, len(strengths), len(strengths))
    return CrossValidation(
        l2=float(tried[best][0]),
        path=tuple((float(l2), float(np.nanmean(loss)), float(np.nanmean(hit))) for l2, loss, hit in tried),
        losses=tried[best][1],
        correct=tried[best][2],
    )


def _splits(labels: np.ndarray, folds: int, shuffles: int, seed: int):
    """Pairs of (fitted, held out) positions. A picture that is alone in its class is never held out."""
    random = np.random.default_rng(seed)
    counts = np.bincount(labels)
    scored = 0
    for _ in range(shuffles):
        fold = np.full(len(labels), -1)
        for label in np.flatnonzero(counts > 1):
            members = random.permutation(np.flatnonzero(labels == label))
            fold[members] = (np.arange(len(members)) + random.integers(folds)) % folds
        for part in range(folds):
            held_out = np.flatnonzero(fold == part)
            if len(held_out) == 0:
                continue
            if scored >= SCORED_PICTURES:
                return
            scored += len(held_out)
            yield np.flatnonzero(fold != part), held_out
