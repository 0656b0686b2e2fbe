"""What a picture model says of files, and the features by which it says so, in one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tltool.data.batches import read_batches
from tltool.data.dataset import Problem
from tltool.errors import TltoolError
from tltool.evaluation.last_maps import last_maps
from tltool.features.engine import ENGINE_BATCH, load_engine
from tltool.heads.network import LOGITS, framings_of, prepared_model
from tltool.progress import Report, silent

TASK = "Looking again"


@dataclass(frozen=True, eq=False)
class Look:
    """What came of the readable files.

    Attributes:
        prob: Class probabilities, shape (n, C).
        features: Means over space of the last feature maps, shape (n, D); of a network without maps what its logits
            are made of.
        indices: Positions among the files that were asked for, shape (n,).
        problems: The unreadable ones.
    """

    prob: np.ndarray
    features: np.ndarray
    indices: np.ndarray
    problems: tuple[Problem, ...]


def look(
    model: keras.Model, paths: Sequence[Path], keys: Sequence[str | None] | None = None, report: Report = silent
) -> Look:
    """Probabilities and features of picture files, as fast as the machine can: see `tltool.features.engine`.

    Args:
        model: A picture model, as a run or an export holds it.
        paths: Files; the unreadable ones are told of, not raised.
        keys: Content keys of the files, where their pixels may come from the cache.
        report: Told how many files are done.
    """
    network = prepared_model(model, [model.output, _features(model)])
    run = _runner(network)
    readers = [read_batches(paths, framing, ENGINE_BATCH, keys=keys) for framing in framings_of(model)]
    widths = [tensor.shape[-1] for tensor in network.outputs]
    found: tuple[list[np.ndarray], ...] = tuple([np.empty((0, width), np.float32)] for width in widths)
    indices, problems = [np.empty(0, np.int64)], []
    for done, batches in enumerate(zip(*readers, strict=True)):
        first = batches[0]
        if len(first.indices):
            for part, values in zip(found, run([batch.pixels for batch in batches]), strict=True):
                part.append(values)
            indices.append(first.indices)
        problems += [Problem(str(paths[position]), str(fault), fault.kind) for position, fault in first.problems]
        report(TASK, min(len(paths), (done + 1) * ENGINE_BATCH), len(paths))
    return Look(*map(np.concatenate, found), np.concatenate(indices), tuple(problems))


def _features(model: keras.Model):
    try:
        parts = [ops.mean(feature_map, axis=(1, 2)) for feature_map in last_maps(model).last]
    except TltoolError:
        return model.get_layer(LOGITS).input
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)


def _runner(network: keras.Model) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    if len(network.inputs) == 1:
        engine = load_engine(network)
        return lambda squares: engine(squares[0])
    return lambda squares: network.predict_on_batch(squares)  # the engine takes one square a picture
