"""Weights between those of the probe and those of the fine-tuned network.

Reference: Wortsman et al., 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), section 3, with the factor chosen
on validation pictures.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tltool.progress import Report, silent

FACTORS = tuple(number / 10 for number in range(11))  # as in the paper; 0 is the probe, 1 the fine-tuned network


class Blend(NamedTuple):
    """The best of the weights between two networks.

    Attributes:
        factor: In [0, 1]: 0 for the first, 1 for the second.
        score: Of the validation pictures, lower is better.
        scores: By factor.
    """

    factor: float
    score: float
    scores: dict[float, float]


def blended(start: Sequence[np.ndarray], end: Sequence[np.ndarray], factor: float) -> list[np.ndarray]:
    """start + factor * (end - start), weight by weight; at 0 and 1 the given ones to the bit."""
    if factor in (0.0, 1.0):
        return list(end if factor else start)
    return [
        (first + factor * (last.astype(np.float64) - first)).astype(first.dtype)
        for first, last in zip(start, end, strict=True)
    ]


def best_blend(
    start: Sequence[np.ndarray],
    end: Sequence[np.ndarray],
    score_of: Callable[[list[np.ndarray]], float],
    report: Report = silent,
) -> Blend:
    """Tries `FACTORS`. Of equal scores the one nearer to the start wins, and one that is no number never does.

    Args:
        start: Weights of the probe.
        end: Weights of the fine-tuned network, of the same shapes.
        score_of: Of weights; lower is better.
        report: Told how many were tried.
    """
    scores = {}
    for number, factor in enumerate(FACTORS, start=1):
        scores[factor] = score_of(blended(start, end, factor))
        report("Blending probe and fine-tuned network", number, len(FACTORS))
    best = min(scores, key=lambda factor: (np.isnan(scores[factor]), scores[factor], factor))
    return Blend(best, scores[best], scores)
