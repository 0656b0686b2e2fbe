"""The mean of the weights along the course of training: SWA."""

from collections.abc import Mapping, Sequence

import numpy as np

from tltool.errors import ShapeError

Weights = list[np.ndarray]


class WeightAverage:
    """The plain mean of all weights that it was given; in float64, so that none of thousands is rounded away.

    Statistics of BatchNorm are averaged like all else, and are wrong then where they were learned: see
    `tltool.training.recomputed_statistics`.

    Reference: Izmailov et al., 2018, "Averaging weights leads to wider optima and better generalization", section 3.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Weights = []
        self._types: list[np.dtype] = []

    def update(self, weights: Sequence[np.ndarray]) -> None:
        """Takes in one more set of weights.

        Raises:
            ShapeError: if they have other shapes than those before.
        """
        if not self.count:
            self._mean = [np.zeros(weight.shape, np.float64) for weight in weights]
            self._types = [weight.dtype for weight in weights]
        if [weight.shape for weight in weights] != [mean.shape for mean in self._mean]:
            raise ShapeError("These weights are of another network than those that were averaged before.")
        self.count += 1
        for mean, weight in zip(self._mean, weights, strict=True):
            mean += (weight - mean) / self.count

    def weights(self) -> Weights:
        """The mean, in the types that the weights came in.

        Raises:
            ShapeError: if there were none.
        """
        if not self.count:
            raise ShapeError("No weights were averaged yet.")
        return [mean.astype(kind) for mean, kind in zip(self._mean, self._types, strict=True)]

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, for a checkpoint."""
        arrays = {"count": np.array(self.count)}
        for number, (mean, kind) in enumerate(zip(self._mean, self._types, strict=True)):
            arrays |= {f"mean/{number}": mean.copy(), f"type/{number}": np.array(kind.str)}
        return arrays

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` gave."""
        numbers = range(sum(name.startswith("mean/") for name in arrays))
        self.count = int(arrays["count"])
        self._mean = [np.array(arrays[f"mean/{number}"]) for number in numbers]
        self._types = [np.dtype(str(arrays[f"type/{number}"])) for number in numbers]
