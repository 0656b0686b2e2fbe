"""Pictures that a network learns from or is measured on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tltool.data.batches import Batch, read_batches
from tltool.data.decoding import Framing
from tltool.training.devices import replicas

EVALUATION_BATCH = 16


@dataclass(frozen=True)
class Pictures:
    """Files with their class indices, or in a multi-label set with rows of 0 and 1; all of them readable."""

    paths: Sequence[Path]
    labels: np.ndarray
    keys: Sequence[str | None] | None = None  # content keys; without them each epoch decodes the files anew

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def multi_label(self) -> bool:
        return self.labels.ndim == 2

    def take(self, rows: Sequence[int] | np.ndarray) -> "Pictures":
        """These pictures alone, in this order."""
        keys = None if self.keys is None else [self.keys[row] for row in rows]
        return Pictures([self.paths[row] for row in rows], self.labels[list(rows)], keys)

    def read(self, framing: Framing, batch_size: int) -> Iterator[Batch]:
        """Their pixels, in order."""
        return read_batches(self.paths, framing, batch_size, keys=self.keys)

    def targets(self, classes: int) -> np.ndarray:
        """What a loss compares with, shape (N, classes), float32."""
        if self.multi_label:
            return self.labels.astype(np.float32)
        return np.eye(classes, dtype=np.float32)[self.labels]


def predict_logits(model: keras.Model, pictures: Pictures, framing: Framing) -> np.ndarray:
    """The model's logits on these pictures, shape (N, classes)."""
    batches = pictures.read(framing, EVALUATION_BATCH)
    return np.concatenate([predicted(model, batch.pixels) for batch in batches])


def predicted(model: keras.Model, inputs: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """What a model gives for one batch, whatever number of devices it is spread over."""
    arrays = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    count = len(arrays[0])
    # Devices share a batch equally (JAX), or each computes all of it and their answers are put together (TensorFlow).
    rows = np.arange(-(-count // replicas()) * replicas()) % count
    padded = [array[rows] for array in arrays] if len(rows) > count else arrays
    return model.predict_on_batch(padded if isinstance(inputs, (list, tuple)) else padded[0])[:count]
