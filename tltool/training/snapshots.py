"""Snapshots: networks from the ends of the rate's cycles, whose probabilities are averaged."""

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

Weights = list[np.ndarray]


class Snapshots:
    """The last few sets of weights, each from the end of a cycle of the rate.

    Args:
        most: How many are kept, >= 1.

    Reference: Huang et al., 2017, "Snapshot ensembles: train 1, get M for free", section 3.
    """

    def __init__(self, most: int):
        self._kept: deque[Weights] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, weights: Sequence[np.ndarray]) -> None:
        """Keeps a copy; the oldest goes where there are too many."""
        self._kept.append([np.array(weight) for weight in weights])

    def members(self) -> list[Weights]:
        """Those that are kept, oldest first: the weights of one model each, for `averaged_model`."""
        return list(self._kept)

    def state(self) -> dict[str, np.ndarray]:
        """All of it as arrays, for a checkpoint."""
        return {
            f"{place}/{number}": weight
            for place, weights in enumerate(self._kept)
            for number, weight in enumerate(weights)
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Goes on from what `state` gave."""
        self._kept.clear()
        places = sorted(tuple(map(int, name.split("/"))) for name in arrays)
        for place in range(len({place for place, _ in places})):
            self.add([arrays[f"{place}/{number}"] for found, number in places if found == place])


def ends_of_cycles(epochs: int, cycles: int = 3, growth: float = 2.0, warmup: float = 0.0) -> list[int]:
    """After which epochs a snapshot is due under the schedule "restarts": the last one that is complete in each cycle.

    A cycle that ends within an epoch leaves its snapshot before it: after that epoch the rate is high again.

    Args:
        epochs: Of the stage, >= 1.
        cycles, growth: Arguments of the schedule; the defaults are its own.
        warmup: Share of the steps before the first cycle, in [0, 1).

    Returns:
        Numbers of epochs, counted from 1 and increasing; the last is `epochs`. Fewer than there are cycles, where some
        are shorter than an epoch.
    """
    lengths = growth ** np.arange(cycles)
    ends = epochs * (warmup + (1 - warmup) * np.cumsum(lengths) / lengths.sum())
    # Without the hair's breadth, 3 / 7 of 7 epochs would be 2.
    return sorted({int(end + 1e-6) for end in ends} - {0})
