"""Whether a flipped picture still shows its class: asked of the features, of which flipped pictures have some as well.

Two things are asked on pictures that were held out. Does a linear head that learned the classes from clean pictures
still find them: a mirrored 7 is nothing, a mirrored cat is a cat. And can a linear head tell flipped pictures from
clean ones: a mirrored X-ray has its heart on the wrong side, and its class does not know.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tltool.data import Dataset
from tltool.errors import DataError
from tltool.features.views import ORIENTATIONS
from tltool.heads.cross_validation import TOLERANCE, splits_of
from tltool.heads.logistic import LogisticProblem
from tltool.inspection.baselines import BASELINE_PICTURES, Baseline
from tltool.inspection.orientation import Orientation, base_logits, compare_orientation
from tltool.progress import Report, silent

if TYPE_CHECKING:  # their modules import Keras, which a decision does not need
    from tltool.backbones import Backbone
    from tltool.features.extract import FeatureTable

# Held-out pictures that are flipped, each once an orientation, 1/200 s on two cores. At 200 what is lost is known to
# 1-5 %, and eleven sets were judged as by a person; at 100 skin was once taken for what must not be turned.
SYMMETRY_PICTURES = 200

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Symmetry:
    """What flips do to the classes.

    Attributes:
        mirrored: Left and right exchanged.
        upside_down: Top and bottom exchanged.
        turned: By a quarter, to the left.
        pictures: How many were flipped.
    """

    mirrored: Orientation
    upside_down: Orientation
    turned: Orientation
    pictures: int


def measure_symmetry(
    backbone: "Backbone",
    data: Dataset,
    features: "FeatureTable",
    baselines: Sequence[Baseline],
    seed: int = 0,
    report: Report = silent,
) -> Symmetry:
    """Flips a sample of the training pictures and asks heads that have not learned from them.

    Args:
        backbone: It stays as it is.
        data: Pictures with their classes and parts.
        features: Of all pictures; row i is picture i.
        baselines: On the same features and seed. The one that reads the most stages lends columns and strength:
            networks are pretrained on mirrored pictures too, so that the last stage alone is nearly blind to mirroring.
        seed: Of sample and folds.
        report: Told how many pictures are read.

    Raises:
        DataError: if no picture can be held out, or one can no longer be read.
    """
    from tltool.features.extract import extract  # here, for it imports Keras

    rows = data.indices("train", "valid")
    if len(rows) > BASELINE_PICTURES:
        rows = rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:BASELINE_PICTURES])]
    labels, groups = data.labels_of(rows), data.together_of(rows)
    widest = max(baselines, key=lambda baseline: len(baseline.spec.stages))
    stages, pooling = widest.spec.stages, widest.spec.pooling
    splits = held_out_splits(labels, widest.spec.folds, seed, groups)
    sample = choose_sample(splits, seed)
    files, keys = [data.files[rows[i]] for i in sample], [features.keys[rows[i]] for i in sample]
    flipped = []
    for view in ORIENTATIONS:
        table = extract(backbone, data.root, files, report, keys, view)
        if table.problems:
            raise DataError(f"{data.source}: changed while it was being read: {table.problems[0]}. Start again.")
        flipped.append(table.select(stages, pooling))
    clean = features.select(stages, pooling)[rows]
    return compare_flips(clean, flipped, labels, data.class_names, sample, splits, widest.validation.l2)


def held_out_splits(labels: np.ndarray, folds: int, seed: int, groups: Sequence[str]) -> list[Split]:
    """Pairs of (fitted, held out) positions that hold every picture out once, the first shuffle of the baselines.

    Args:
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).
        folds: Parts, >= 2.
        seed: Of the shuffle.
        groups: Pictures with the same non-empty name share a fold, length N, unless nothing could be held out then.

    Raises:
        DataError: if no class has two pictures, so that nothing can be held out.
    """
    for names in (groups, ()):
        splits = list(splits_of(labels, folds, 1, seed, names, enough=math.inf))
        if splits:
            return splits
    raise DataError("Symmetry needs a class with at least 2 training pictures. Add pictures.")


def choose_sample(splits: Sequence[Split], seed: int) -> np.ndarray:
    """Positions of up to `SYMMETRY_PICTURES` pictures that are held out by some split, increasing."""
    candidates = np.sort(np.concatenate([held_out for _, held_out in splits]))
    return np.sort(np.random.default_rng(seed).permutation(candidates)[:SYMMETRY_PICTURES])


def compare_flips(
    clean: np.ndarray,
    flipped: Sequence[np.ndarray],
    labels: np.ndarray,
    class_names: Sequence[str],
    sample: np.ndarray,
    splits: Sequence[Split],
    l2: float,
) -> Symmetry:
    """What heads that learned from clean pictures say of others, as they are and flipped.

    Args:
        clean: Features of the pictures as they are, shape (N, D).
        flipped: Features of the sample mirrored, upside down and turned, each of shape (n, D).
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).
        class_names: C of them.
        sample: Positions of the flipped pictures, shape (n,), increasing, each held out by one split.
        splits: Pairs of (fitted, held out) positions.
        l2: Ridge strength of the head that knows the classes, > 0.
    """
    classes = len(class_names)
    problem = LogisticProblem(clean, labels, classes)
    seen = [inputs_of(problem, values) for values in (clean[sample], *flipped)]
    logits = np.zeros((len(seen), len(sample), classes))
    held = [np.flatnonzero(np.isin(sample, held_out)) for _, held_out in splits]
    for (fitted, _), places in zip(splits, held, strict=True):
        (weights,) = problem.solve([l2], fitted, TOLERANCE)
        for answers, inputs in zip(logits, seen, strict=True):
            answers[places] = inputs[places] @ weights[:-1] + weights[-1]
    guess = base_logits(labels, classes)
    orientations = [
        compare_orientation(clean[sample], values, logits[0], answers, labels[sample], class_names, guess, held)
        for answers, values in zip(logits[1:], flipped, strict=True)
    ]
    return Symmetry(*orientations, pictures=len(sample))


def inputs_of(problem: LogisticProblem, features: np.ndarray) -> np.ndarray:
    """Features of other pictures, shape (n, D), as the problem has made its own ready, shape (n, inputs)."""
    standard = (features - problem.center) / problem.scale
    return standard if problem.basis is None else standard @ problem.basis
