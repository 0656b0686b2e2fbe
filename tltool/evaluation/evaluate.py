"""Scores a finished model on labelled pictures that it has not learned from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tltool.data import Dataset, Problem
from tltool.errors import DataError
from tltool.evaluation.inference import classify
from tltool.evaluation.metrics import Metrics, score
from tltool.evaluation.multi_label import MultiLabelMetrics, score_multi_label
from tltool.features.extract import content_keys
from tltool.progress import Report, silent


@dataclass(frozen=True)
class Evaluation:
    """Scores on labelled pictures.

    Attributes:
        metrics: On the pictures that count.
        problems: Files that could not be read.
        seen: Pictures left out because the model has learned from them.
    """

    metrics: Metrics | MultiLabelMetrics
    problems: tuple[Problem, ...]
    seen: int


def score_any(
    prob: np.ndarray, labels: np.ndarray, class_names: Sequence[str], threshold: float | None
) -> Metrics | MultiLabelMetrics:
    """Compares probabilities with the truth, as the threshold tells: None where each picture has exactly one class.

    Args:
        prob: Class probabilities, shape (N, C).
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).
        class_names: Length C.
        threshold: Of a multi-label model.
    """
    if threshold is None:
        return score(prob, labels, tuple(class_names))
    return score_multi_label(prob, labels, tuple(class_names), threshold)


def read_metrics(values: dict[str, Any]) -> Metrics | MultiLabelMetrics:
    """What `to_json` of either kind has written."""
    return MultiLabelMetrics.from_json(values) if "threshold" in values else Metrics.from_json(values)


def evaluate_model(
    model: keras.Model,
    class_names: Sequence[str],
    threshold: float | None,
    learned: Collection[str],
    data: Dataset,
    report: Report = silent,
) -> Evaluation:
    """Scores a picture model.

    Args:
        model: From whole pictures to probabilities.
        class_names: In the order of its outputs.
        threshold: Of a multi-label model, else None.
        learned: Content keys of the pictures that it has learned from; they do not count.
        data: Classes named like the model's; where it came with a test part, that part counts.
        report: Told how many pictures are done.

    Raises:
        DataError: if a class is not one of the model's, a picture has several classes where the model tells one, or
            no picture is left to score.
    """
    unknown = sorted(set(data.class_names) - set(class_names))
    if unknown:
        raise DataError(
            f"{data.source}: classes that the run does not know: {', '.join(unknown)}. "
            f"Its classes are {', '.join(class_names)}."
        )
    if data.multi_label and threshold is None:
        raise DataError(
            f"{data.source}: its pictures have several labels, but the run has learned to tell one. "
            "Give data with one label a picture, or fit on this set."
        )
    rows = data.indices("test") if data.given_parts else np.arange(len(data))
    keys, _ = content_keys(data.root, [data.files[i] for i in rows])
    fresh = [row for row, key in zip(rows, keys, strict=True) if key not in learned]
    if not fresh:
        raise DataError(
            f"{data.source}: the run has learned from all of these pictures, so a score on them means nothing. "
            "Its own held-out score is in metrics.json; give other pictures."
        )
    result = classify(model, [data.root / data.files[i] for i in fresh], report)
    if not len(result.indices):
        raise DataError(f"{data.source}: no readable pictures. The first: {result.problems[0]}")
    scored = np.asarray(fresh)[result.indices]
    position = np.array([class_names.index(name) for name in data.class_names])
    if threshold is None:
        labels = position[data.labels_of(scored)]
    else:
        labels = np.zeros((len(scored), len(class_names)), dtype=np.int64)
        for row, index in enumerate(scored):
            labels[row, position[list(data.labels[index])]] = 1
    problems = (*data.problems, *result.problems)
    metrics = score_any(result.values, labels, class_names, threshold)
    return Evaluation(metrics, problems, len(rows) - len(fresh))
