"""Solves a recipe's linear head on cached features."""

from collections.abc import Sequence

import numpy as np

from tltool.backbones import Backbone
from tltool.features.extract import FeatureTable
from tltool.features.taps import resolve_taps
from tltool.heads.cross_validation import CrossValidation, cross_validate
from tltool.heads.logistic import LinearHead, LogisticProblem
from tltool.inspection.baselines import ProbeSpec
from tltool.progress import Report, silent
from tltool.recipes import Recipe
from tltool.training.joined import joined_stage


def probe_spec(recipe: Recipe, backbone: Backbone, others: Sequence[Backbone] = ()) -> ProbeSpec:
    """The recipe's head with its taps resolved to stages of this backbone; of several as `joined_stage` names them.

    Raises:
        TltoolError: if the backbone has no such stage.
    """
    head = recipe.head
    taps = resolve_taps(backbone, head.taps)
    if others:
        every = (backbone, *others)
        taps = tuple(joined_stage(one.name, stage) for one in every for stage in resolve_taps(one, head.taps))
    return ProbeSpec(recipe.name, taps, head.pooling, head.strengths, head.folds, head.shuffles)


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
    views: Sequence[FeatureTable] = (),
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
        views: Features of augmented views, n rows each: learned from as well, never scored.
    """
    problem = probe_problem(spec, features, rows, labels, classes, views)
    if validation is None:
        chosen_by = spec.strengths, spec.folds, spec.shuffles, seed
        validation = cross_validate(
            problem, *chosen_by, f"Cross-validating the head of {spec.name}", report, groups, views=len(views)
        )
    return problem.fit(validation.l2), validation


def probe_problem(
    spec: ProbeSpec,
    features: FeatureTable,
    rows: np.ndarray,
    labels: np.ndarray,
    classes: int,
    views: Sequence[FeatureTable] = (),
) -> LogisticProblem:
    """What the head learns from: the pictures themselves, then each view of all of them; arguments as `solve_probe`."""
    tables = [features.take(rows), *views]
    values = np.concatenate([table.select(spec.stages, spec.pooling) for table in tables])
    return LogisticProblem(values, np.concatenate([labels] * len(tables)), classes)
