"""Statistics of BatchNorm for weights that no training step has seen, such as an average of others."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tltool.errors import ShapeError
from tltool.layers.functional_graph import Changes, calls_of, rebuilt


def recomputed_statistics(
    model: keras.Model, batches: Iterable[np.ndarray], norms: Collection[str] | None = None
) -> list[np.ndarray]:
    """The model's weights with moving means and variances of what each BatchNorm sees in training mode on these data.

    One pass: in every batch each BatchNorm normalizes by the statistics of that batch, as in training, so that what an
    upper one sees never depends on the outdated statistics of those below it; and all other layers work as they do
    outside of training. Means and variances of the batches are put together to those of all data at once, in float64;
    that is not the mean of the batches' variances, which lacks how far their means lie apart.

    Args:
        model: A flat functional model; it stays as it is.
        batches: What it takes, shape (n, ...) each. The larger they are, the nearer are the statistics to those of the
            network outside of training, where batches do not matter.
        norms: Names of the BatchNorm layers whose statistics are recomputed: those that a stage has learned. The others
            normalize by the statistics that they have. All where None.

    Returns:
        In the order of `model.get_weights()`.

    Raises:
        ShapeError: if there is no batch.

    Reference: Izmailov et al., 2018, "Averaging weights leads to wider optima and better generalization", section 3.2;
    variances of parts of data as in Chan et al., 1983, "Algorithms for computing the sample variance".
    """
    chosen = [
        call
        for call in calls_of(model)
        if isinstance(call.operation, keras.layers.BatchNormalization)
        and (norms is None or call.operation.name in norms)
    ]
    if not chosen:
        return model.get_weights()
    copies = {call: _InTraining(call.operation) for call in chosen}
    network = rebuilt(model, Changes(instead=copies))
    moments = [_moments(copy.input, copy.norm.axis) for copy in copies.values()]
    measure = keras.Model(network.input, [value for pair in moments for value in pair])
    sums = [_Moments() for _ in chosen]
    for batch in batches:
        found = measure.predict_on_batch(batch)
        for position, total in enumerate(sums):
            total.add(len(batch), *found[2 * position : 2 * position + 2])
    if not sums[0].count:
        raise ShapeError("There are no pictures to recompute the statistics of BatchNorm on.")
    values = {}
    for call, total in zip(chosen, sums, strict=True):
        values[id(call.operation.moving_mean)] = total.mean
        values[id(call.operation.moving_variance)] = total.variance
    weights = zip(model.weights, model.get_weights(), strict=True)
    return [values[id(variable)].astype(old.dtype) if id(variable) in values else old for variable, old in weights]


@dataclass
class _Moments:
    """Mean and variance of all that was added, by channel."""

    count: int = 0
    mean: Any = 0.0
    variance: Any = 0.0

    def add(self, count: int, mean: np.ndarray, variance: np.ndarray) -> None:
        mean, variance = mean.astype(np.float64), variance.astype(np.float64)
        share = count / (self.count + count)  # every picture has as many values of a channel as any other
        apart = mean - self.mean
        self.count += count
        self.variance = self.variance + share * (variance - self.variance) + share * (1 - share) * apart**2
        self.mean = self.mean + share * apart


class _InTraining(keras.layers.Layer):
    """A BatchNorm as it computes in training, but for its moving statistics, which stay."""

    def __init__(self, norm: keras.layers.BatchNormalization):
        super().__init__(name=f"{norm.name}_in_training", dtype=norm.dtype_policy)
        self.norm = norm

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        norm = self.norm
        mean, variance = _moments(inputs, norm.axis)
        values = keras.ops.cast(inputs, "float32")
        offset, scale = (
            None if part is None else keras.ops.convert_to_tensor(part) for part in (norm.beta, norm.gamma)
        )
        values = keras.ops.batch_normalization(values, mean, variance, norm.axis, offset, scale, norm.epsilon)
        return keras.ops.cast(values, norm.compute_dtype)

    def compute_output_shape(self, shape: tuple) -> tuple:
        return shape


def _moments(values: Any, axis: int) -> tuple[Any, Any]:
    """Mean and variance over all axes but one, in float32."""
    rest = [position for position in range(len(values.shape)) if position != axis % len(values.shape)]
    # In half precision a variance of a large mean would be rounding alone.
    return keras.ops.moments(keras.ops.cast(values, "float32"), rest)
