"""Scores of a model that is right more often than not."""

import numpy as np

from tltool.evaluation.metrics import Metrics, score


def made(classes: int = 3, count: int = 90) -> Metrics:
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    prob = random.dirichlet(np.ones(classes), count) + 0.4 * np.eye(classes)[labels]
    return score(prob / prob.sum(axis=1, keepdims=True), labels, tuple(f"class {i}" for i in range(classes)))
