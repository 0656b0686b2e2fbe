"""Solves a recipe's linear head on cached features."""

from collections.abc import Sequence

import numpy as np

from tltool.features.extract import FeatureTable
from tltool.heads.cross_validation import CrossValidation, cross_validate
from tltool.heads.logistic import LinearHead, LogisticProblem
from tltool.inspection.baselines import ProbeSpec
from tltool.progress import Report, silent


def solve_probe(
    spec: ProbeSpec,
    features: FeatureTable,
    rows: np.ndarray,
    labels: np.ndarray,
    classes: int,
    seed: int,
    validation: CrossValidation | None = None,
    report: Report = silent,
    groups: Sequence[str] = (),
) -> tuple[LinearHead, CrossValidation]:
    """Chooses the ridge strength by cross-validation and fits the head on all rows.

    Args:
        spec: What the head reads, and the strengths to choose from.
        features: Of all pictures.
        rows: Positions of the pictures to learn from, shape (n,).
        labels: Their class indices, shape (n,); or 0 and 1, shape (n, classes).
        classes: Number of classes.
        seed: Of the folds.
        validation: From the inspection, if it tried this very spec on these very rows: not computed again then.
        report: Told about the cross-validation's progress.
        groups: Pictures with the same non-empty name share a fold, length n; empty if there are none.
    """
    problem = LogisticProblem(features.select(spec.stages, spec.pooling)[rows], labels, classes)
    if validation is None:
        task = f"Cross-validating {spec.name}"
        validation = cross_validate(problem, spec.strengths, spec.folds, spec.shuffles, seed, task, report, groups)
    return problem.fit(validation.l2), validation
