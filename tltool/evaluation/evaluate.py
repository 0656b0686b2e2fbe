"""Scores a finished model on labelled pictures that it has not learned from."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from tltool.data import Dataset, Problem
from tltool.errors import DataError
from tltool.evaluation.certainty import COVERAGE, Certainty
from tltool.evaluation.inference import classify
from tltool.evaluation.metrics import Metrics, score
from tltool.evaluation.multi_label import MultiLabelMetrics, score_multi_label
from tltool.features.extract import content_keys
from tltool.features.views import View
from tltool.progress import Report, silent


@dataclass(frozen=True)
class CertaintyScores:
    """How far what is said of a model's certainty came true; None where nothing is said.

    Attributes:
        coverage: Share of the sets that shall hold the right class.
        covered: Share that does, [0, 1].
        set_size: Mean number of classes in a set.
        known: Share of the pictures that count as known, [0, 1].
    """

    coverage: float | None = None
    covered: float | None = None
    set_size: float | None = None
    known: float | None = None

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)

    def __str__(self) -> str:
        said = []
        if self.covered is not None:
            said.append(
                f"sets for {self.coverage:.0%} hold the right class in {self.covered:.1%}, "
                f"{self.set_size:.2f} classes each"
            )
        if self.known is not None:
            said.append(f"{self.known:.1%} of the pictures count as known")
        line = "; ".join(said)
        return line[:1].upper() + line[1:]


def score_certainty(
    certainty: Certainty | None, prob: np.ndarray, features: np.ndarray | None, labels: np.ndarray
) -> CertaintyScores:
    """Compares sets and "I do not know" with the truth.

    Args:
        certainty: Of the model; None where nothing is known of it.
        prob: Class probabilities, shape (N, C), N >= 1.
        features: What stands in front of the logits, shape (N, D); None where nothing is known of it.
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).
    """
    if certainty is None:
        return CertaintyScores()
    known = certainty.known(features)
    share = None if known is None else float(known.mean())
    if certainty.set_threshold(None) is None:
        return CertaintyScores(known=share)
    sets = certainty.sets.sets(prob, COVERAGE)
    covered = float(sets[np.arange(len(labels)), labels].mean())
    return CertaintyScores(COVERAGE, covered, float(sets.sum(axis=1).mean()), share)


@dataclass(frozen=True)
class Evaluation:
    """Scores on labelled pictures.

    Attributes:
        metrics: On the pictures that count.
        problems: Files that could not be read.
        seen: Pictures left out because the model has learned from them.
        certainty: How the sets of classes and "I do not know" did.
    """

    metrics: Metrics | MultiLabelMetrics
    problems: tuple[Problem, ...]
    seen: int
    certainty: CertaintyScores = CertaintyScores()


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
    certainty: Certainty | None = None,
    views: Sequence[View] = (),
) -> Evaluation:
    """Scores a picture model.

    Args:
        model: From whole pictures to probabilities.
        class_names: In the order of its outputs.
        threshold: Of a multi-label model, else None.
        learned: Content keys of the pictures that it has learned from; they do not count.
        data: Classes named like the model's; where it came with a test part, that part counts.
        report: Told how many pictures are done.
        certainty: What is known of the model's certainty.
        views: Of test-time augmentation, beside the picture itself.

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
    paths = [data.root / data.files[i] for i in fresh]
    result = classify(model, paths, report, with_features=certainty is not None, views=views)
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
    certain = score_certainty(certainty, result.values, result.features, labels)
    return Evaluation(metrics, problems, len(rows) - len(fresh), certain)
