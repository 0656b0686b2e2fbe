"""Cross-validated scores of linear heads on cached features: evidence, in seconds, for or against the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tltool.heads.cross_validation import CrossValidation, cross_validate
from tltool.heads.logistic import LogisticProblem
from tltool.progress import Report, silent

if TYPE_CHECKING:  # its module imports Keras, which a decision does not need
    from tltool.features.extract import FeatureTable


# More pictures would sharpen the comparison of two recipes less than they slow it down: 6,000 took two minutes.
BASELINE_PICTURES = 2000


@dataclass(frozen=True)
class ProbeSpec:
    """What a linear head reads and how its strength is chosen; recipes hold these values.

    Attributes:
        name: Of the recipe.
        stages: Names of the stages that are read.
        pooling: How their feature maps are pooled over space.
        strengths: Ridge strengths to choose from, > 0.
        folds: Of a cross-validation, >= 2.
        shuffles: How often the folds are drawn anew, >= 1.
    """

    name: str
    stages: tuple[str, ...]
    pooling: tuple[str, ...]
    strengths: tuple[float, ...]
    folds: int
    shuffles: int


@dataclass(frozen=True, eq=False)
class Baseline:
    """A linear recipe's cross-validation on the training pictures, or on a sample of `pictures` of them."""

    spec: ProbeSpec
    validation: CrossValidation
    pictures: int


@dataclass(frozen=True)
class Comparison:
    """Two baselines, picture by picture on the same folds.

    Attributes:
        gain: Mean log loss of the first minus that of the second, nats; positive where the second is better.
        error: Standard error of `gain`.
        accuracy_gain: Accuracy of the second minus that of the first, fraction.
    """

    gain: float
    error: float
    accuracy_gain: float

    @property
    def z(self) -> float:
        """Gain in standard errors; 0 where nothing differs."""
        return self.gain / self.error if self.error > 0 else 0.0


def measure_baselines(
    features: "FeatureTable",
    rows: np.ndarray,
    labels: np.ndarray,
    classes: int,
    specs: Sequence[ProbeSpec],
    seed: int,
    report: Report = silent,
    groups: Sequence[str] = (),
) -> tuple[Baseline, ...]:
    """Cross-validates each spec on these rows of the features, or on a sample of `BASELINE_PICTURES` of them.

    Args:
        features: Of all pictures.
        rows: Positions of the training pictures in `features`, shape (n,).
        labels: Their class indices, shape (n,); or 0 and 1, shape (n, classes).
        classes: Number of classes.
        specs: Linear heads to compare.
        seed: Of the sample and the folds, which are the same for all specs.
        report: Told about each spec's progress.
        groups: Pictures with the same non-empty name share a fold, length n; empty if there are none.
    """
    if len(rows) > BASELINE_PICTURES:
        sample = np.sort(np.random.default_rng(seed).permutation(len(rows))[:BASELINE_PICTURES])
        rows, labels = rows[sample], labels[sample]
        groups = [groups[i] for i in sample] if groups else ()
    baselines = []
    for spec in specs:
        problem = LogisticProblem(features.select(spec.stages, spec.pooling)[rows], labels, classes)
        task = f"Cross-validating {spec.name}"
        validation = cross_validate(problem, spec.strengths, spec.folds, spec.shuffles, seed, task, report, groups)
        baselines.append(Baseline(spec, validation, len(rows)))
    return tuple(baselines)


def compare(first: Baseline, second: Baseline) -> Comparison:
    """Whether the second does better on the pictures that both were scored on."""
    differences = first.validation.losses - second.validation.losses
    differences = differences[~np.isnan(differences)]
    error = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else np.inf
    return Comparison(
        gain=float(differences.mean()),
        error=float(error),
        accuracy_gain=second.validation.accuracy - first.validation.accuracy,
    )
