"""What the inputs of a network's BatchNorm layers look like on given pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.cache import cache_dir
from tltool.data.batches import read_batches
from tltool.features.engine import ENGINE_BATCH, load_engine
from tltool.features.extract import FORMAT, digest
from tltool.features.reading import MOMENTS, batchnorm_layers, reading_model
from tltool.features.store import FeatureStore
from tltool.progress import Report, silent

TASK = "Measuring similarity"


@dataclass(frozen=True, eq=False)
class LayerMoments:
    """One BatchNorm layer: what it remembers of its own training data, and what it sees now. All of shape (channels,).

    Attributes:
        stage: The backbone's stage that the layer belongs to.
        remembered_mean, remembered_variance: The layer's moving statistics.
        mean, variance: Over all positions of the given pictures.
        epsilon: What the layer adds to a variance.
    """

    stage: str
    remembered_mean: np.ndarray
    remembered_variance: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float


def batchnorm_moments(
    backbone: Backbone, paths: Sequence[Path], keys: Sequence[str], report: Report = silent
) -> list[LayerMoments]:
    """Moments of the inputs of every BatchNorm layer; an empty list for a network that has none.

    Args:
        backbone: It stays as it is.
        paths: Readable pictures, at least one.
        keys: Their content keys; moments of the same set are kept on disk.
        report: Told how many pictures are done.
    """
    found = batchnorm_layers(backbone)
    if not found:
        return []
    store = FeatureStore(cache_dir() / "features" / f"{backbone.fingerprint}-{FORMAT}.sqlite")
    key = f"moments-{digest(keys)}"
    stored = store.get([key])
    moments = stored[key] if key in stored else _measure(backbone, paths, keys, report)
    if key not in stored:
        store.put([(key, moments)])
    result, start = [], 0
    for stage, layer in found:
        count = layer.moving_mean.shape[0]
        mean, square = moments[start : start + count], moments[start + count : start + 2 * count]
        start += 2 * count
        result.append(
            LayerMoments(
                stage=stage,
                remembered_mean=np.asarray(keras.ops.convert_to_numpy(layer.moving_mean), dtype=np.float64),
                remembered_variance=np.asarray(keras.ops.convert_to_numpy(layer.moving_variance), dtype=np.float64),
                mean=mean.astype(np.float64),
                variance=np.maximum(square.astype(np.float64) - mean.astype(np.float64) ** 2, 0.0),
                epsilon=layer.epsilon,
            )
        )
    return result


def _measure(backbone: Backbone, paths: Sequence[Path], keys: Sequence[str], report: Report) -> np.ndarray:
    """Mean and mean square of each layer's input channels, layer after layer, averaged over the pictures."""
    engine = load_engine(reading_model(backbone), MOMENTS)
    total, count = np.float64(0), 0
    for batch in read_batches(paths, backbone.framing, ENGINE_BATCH, keys=keys):
        if len(batch.indices):
            (values,) = engine(batch.pixels)
            total = total + values.astype(np.float64).sum(axis=0)
            count += len(batch.indices)
        report(TASK, count, len(paths))
    return (total / max(count, 1)).astype(np.float32)
