"""Chooses the ridge strength of a linear head, and tells how good the head will be on pictures it has not seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.errors import DataError
from tltool.heads.logistic import LogisticProblem, all_right, log_loss
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
        correct: Share of shuffles in which each picture was classified right, in a multi-label set in all its classes,
            shape (N,); NaN likewise.
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
    groups: Sequence[str] = (),
    views: int = 0,
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
        groups: Pictures with the same non-empty name share a fold, length N, unless nothing could be held out then;
            empty if there are none.
        views: Augmented views of each picture, N rows each, that follow the pictures themselves in the problem. They
            are learned from with their pictures, and never scored.

    Raises:
        DataError: if no class has two pictures, so that nothing can be held out.
    """
    count = len(problem) // (views + 1)
    labels = problem.labels[:count]
    splits = list(splits_of(labels, folds, shuffles, seed, groups))
    if not splits:
        # Each class is one group: folds of pictures flatter, but a strength must be chosen by something.
        splits = list(splits_of(labels, folds, shuffles, seed))
    if not splits:
        raise DataError("Cross-validation needs a class with at least 2 training pictures. Add pictures.")
    strengths = sorted(strengths, reverse=True)
    times = np.zeros(count)
    for _, held_out in splits:
        times[held_out] += 1
    paths = [
        problem.path_logits(strengths, _with_views(fitted, views, count), held_out, TOLERANCE)
        for fitted, held_out in splits
    ]
    tried: list[tuple[float, np.ndarray, np.ndarray]] = []
    best = 0
    for l2 in strengths:
        report(task, len(tried), len(strengths))
        sums, hits = np.zeros((2, count))
        for path, (_, held_out) in zip(paths, splits, strict=True):
            logits = next(path)
            sums[held_out] += log_loss(logits, labels[held_out])
            hits[held_out] += all_right(logits, labels[held_out])
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


def out_of_fold_logits(
    problem: LogisticProblem,
    l2: float,
    folds: int,
    seed: int,
    groups: Sequence[str] = (),
    views: int = 0,
    enough: float = math.inf,
) -> np.ndarray:
    """What a head at this strength says of each picture when it has not learned from it.

    Args:
        problem: Features and labels.
        l2: The ridge strength, > 0.
        folds: Parts, >= 2; each is held out once.
        seed: Of the folds.
        groups: Pictures with the same non-empty name share a fold, length N; empty if there are none.
        views: As for `cross_validate`.
        enough: Pictures after which no more are held out.

    Returns:
        Logits of the pictures themselves, shape (N, classes); NaN for pictures that are never held out: those beyond
        enough, and those that are alone in their class.
    """
    count = len(problem) // (views + 1)
    logits = np.full((count, problem.classes), np.nan)
    for fitted, held_out in splits_of(problem.labels[:count], folds, 1, seed, groups, enough):
        (logits[held_out],) = problem.path_logits([l2], _with_views(fitted, views, count), held_out, TOLERANCE)
    return logits


def _with_views(rows: np.ndarray, views: int, count: int) -> np.ndarray:
    """Rows of pictures with those of their views."""
    return np.concatenate([rows + view * count for view in range(views + 1)])


def splits_of(
    labels: np.ndarray,
    folds: int,
    shuffles: int,
    seed: int,
    groups: Sequence[str] = (),
    enough: float | None = None,
):
    """Pairs of (fitted, held out) positions. A picture that is alone in its class is never held out.

    Ends once `enough` pictures were held out, `SCORED_PICTURES` where None.
    """
    enough = SCORED_PICTURES if enough is None else enough
    random = np.random.default_rng(seed)
    units, stratum = _strata(labels, groups)
    scored = 0
    for _ in range(shuffles):
        fold = np.full(len(labels), -1)
        for name in np.unique(stratum[stratum >= 0]):
            members = random.permutation(np.flatnonzero(stratum == name))
            of_unit = (np.arange(len(members)) + random.integers(folds)) % folds
            for member, part in zip(members, of_unit, strict=True):
                fold[units[member]] = part
        for part in range(folds):
            held_out = np.flatnonzero(fold == part)
            if len(held_out) == 0:
                continue
            if scored >= enough:
                return
            scored += len(held_out)
            yield np.flatnonzero(fold != part), held_out


def _strata(labels: np.ndarray, groups: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
    """Units that share a fold, and the class that each is dealt out by: its rarest; -1 for one that has to stay.

    A unit stays where it is the only one of a class, for nothing would be left to learn that class from.
    """
    matrix = labels.astype(bool) if labels.ndim == 2 else np.eye(labels.max() + 1, dtype=bool)[labels]
    of_group: dict[str | int, list[int]] = {}
    for index in range(len(labels)):
        of_group.setdefault(groups[index] if groups and groups[index] else index, []).append(index)
    units = [np.array(members) for members in of_group.values()]
    holds = np.array([matrix[unit].any(axis=0) for unit in units])
    counts = holds.sum(axis=0)
    rarest = np.where(holds, counts, len(labels) + 1).argmin(axis=1)
    alone = (holds & (counts == 1)).any(axis=1)
    return units, np.where(alone, -1, rarest)
