"""Greedy soup: the mean of weights that share a start, each added only as far as it helps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tltool.training.weight_average import WeightAverage, Weights


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights, and what they are made of.

    Attributes:
        weights: The finished mean of the chosen ones; of a single one these themselves.
        chosen: Positions of the candidates in it, in the order in which they were added; the first is the best.
        score: Of the mean, lower is better.
        scores: Of the candidates.
    """

    weights: Weights
    chosen: tuple[int, ...]
    score: float
    scores: tuple[float, ...]


def greedy_soup(
    candidates: Sequence[Weights],
    score_of: Callable[[Weights], float],
    finish: Callable[[Weights], Weights] = lambda mean: mean,
) -> Mixture:
    """Adds candidates to the mean, from the best to the worst, each only where the mean is no worse for it.

    Args:
        candidates: Weights of one architecture, at least one.
        score_of: Of weights, on pictures that none has learned from; lower is better. What is no number is worst.
        finish: What a mean of several candidates needs before it is used, such as recomputed statistics.

    Reference: Wortsman et al., 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time", recipe 1; there by accuracy, which a few hundred pictures measure in coarse
    steps.
    """
    scores = tuple(_finite(score_of(weights)) for weights in candidates)
    order = sorted(range(len(candidates)), key=lambda number: scores[number])
    chosen, best, kept = [order[0]], scores[order[0]], list(candidates[order[0]])
    for number in order[1:]:
        average = WeightAverage()
        for each in (*chosen, number):
            average.update(candidates[each])
        mean = finish(average.weights())
        score = _finite(score_of(mean))
        if score <= best:
            chosen, best, kept = [*chosen, number], score, mean
    return Mixture(kept, tuple(chosen), best, scores)


def _finite(score: float) -> float:
    return score if np.isfinite(score) else float("inf")
