"""Runs a finished picture model over files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tltool.data.batches import read_batches
from tltool.data.dataset import Problem
from tltool.features.views import View
from tltool.heads.network import LOGITS, framings_of, prepared_model, squarings
from tltool.progress import Report, silent

BATCH = 16
TASK = "Classifying"


@dataclass(frozen=True, eq=False)
class Probabilities:
    """What a model says of some files.

    Attributes:
        values: Class probabilities of the readable files, shape (n, C).
        indices: Their positions among the files that were asked for, shape (n,).
        problems: The unreadable ones.
        features: What stands in front of the logits, shape (n, D); None where it was not asked for.
    """

    values: np.ndarray
    indices: np.ndarray
    problems: tuple[Problem, ...]
    features: np.ndarray | None = None


def classify(
    model: keras.Model,
    paths: Sequence[Path],
    report: Report = silent,
    keys: Sequence[str | None] | None = None,
    with_features: bool = False,
    views: Sequence[View] = (),
) -> Probabilities:
    """Probabilities for picture files, with memory that does not grow with their number.

    Args:
        model: A picture model, as a run or an export holds it.
        paths: Files; the unreadable ones are told of, not raised.
        report: Told how many files are done.
        keys: Content keys of the files, where their pixels may come from the cache. Without, the model itself makes
            squares of the pictures, so that the answers are those of the exported file.
        with_features: Whether to keep what stands in front of the logits.
        views: Beside the picture itself, see `tltool.evaluation.test_time`: the probabilities of all are averaged. Each
            takes as long as the picture itself.
    """
    network = prepared_model(model, with_features=with_features)
    framings = framings_of(model)
    squares = squarings(model) if keys is None else [None] * len(framings)
    readers = [
        read_batches(paths, framing, BATCH, keys=keys, square=square)
        for framing, square in zip(framings, squares, strict=True)
    ]
    unnamed = [""] * BATCH  # these views depend on no key
    values, indices, problems, features = [], [], [], []
    for done, (batch, *others) in enumerate(zip(*readers, strict=True)):
        if len(batch.indices):
            pixels = [batch.pixels, *(other.pixels for other in others)]
            given = network.predict_on_batch(pixels if others else batch.pixels)
            values.append(given[0] if with_features else given)
            if with_features:
                features.append(given[1])
            for view in views:
                changed = [view.change(each, unnamed) for each in pixels]
                given = network.predict_on_batch(changed if others else changed[0])
                values[-1] = values[-1] + (given[0] if with_features else given)
            values[-1] = values[-1] / (1 + len(views))
            indices.append(batch.indices)
        problems += [Problem(str(paths[position]), str(fault), fault.kind) for position, fault in batch.problems]
        report(TASK, min(len(paths), (done + 1) * BATCH), len(paths))
    classes = model.output.shape[-1]
    width = model.get_layer(LOGITS).input.shape[-1] if with_features else 0
    return Probabilities(
        values=np.concatenate(values) if values else np.empty((0, classes), np.float32),
        indices=np.concatenate(indices) if indices else np.empty(0, np.int64),
        problems=tuple(problems),
        features=np.concatenate([np.empty((0, width), np.float32), *features]) if with_features else None,
    )
