"""Scores a finished model on labelled pictures that it has not learned from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from tltool.data import Dataset, Problem
from tltool.errors import DataError
from tltool.evaluation.inference import classify
from tltool.evaluation.metrics import Metrics, score
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

    metrics: Metrics
    problems: tuple[Problem, ...]
    seen: int


def evaluate_model(
    model: keras.Model, class_names: Sequence[str], learned: Collection[str], data: Dataset, report: Report = silent
) -> Evaluation:
    """Scores a picture model.

    Args:
        model: From whole pictures to probabilities.
        class_names: In the order of its outputs.
        learned: Content keys of the pictures that it has learned from; they do not count.
        data: Classes named like the model's; where it came with a test part, that part counts.
        report: Told how many pictures are done.

    Raises:
        DataError: if a class is not one of the model's, or no picture is left to score.
    """
    unknown = sorted(set(data.class_names) - set(class_names))
    if unknown:
        raise DataError(
            f"{data.source}: classes that the run does not know: {', '.join(unknown)}. "
            f"Its classes are {', '.join(class_names)}."
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
    position = {name: index for index, name in enumerate(class_names)}
    labels = np.array([position[data.class_names[label]] for label in data.labels_of(scored)])
    problems = (*data.problems, *result.problems)
    return Evaluation(score(result.values, labels, tuple(class_names)), problems, len(rows) - len(fresh))
