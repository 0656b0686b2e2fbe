"""A temperature and sets of classes for a made run, from pictures that no member has learned from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tltool.ensembles.common_pictures import learned_by_any
from tltool.errors import DataError
from tltool.evaluation.certainty import Certainty
from tltool.evaluation.conformal import ConformalScores
from tltool.evaluation.predictions import CALIBRATED_ON_FILE, read_predictions
from tltool.features.extract import content_keys
from tltool.heads.temperature import Temperature, fit_temperature
from tltool.run import Run

SOURCE = "pictures that the members were calibrated on"
NO_PICTURES = "there are no pictures that all members were calibrated on"
NO_NOVELTY = "a mean of several models does not tell it; each of them by itself does"
SMALLEST = 1e-30  # under the logarithm, as in the averaged model


@dataclass(frozen=True, eq=False)
class Unlearned:
    """What members said of pictures that they had not learned from when they were asked.

    Attributes:
        prob: The mean over members, shape (N, C).
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).
    """

    prob: np.ndarray
    labels: np.ndarray


def unlearned_by(runs: Sequence[Run]) -> Unlearned | None:
    """What the runs were calibrated on: a probe on pictures that it was fitted without, others on validation pictures.

    A picture counts if all runs have said something of it, or all but one that does not know it at all, as members by
    folds each lack a fold.

    Returns:
        None where there is none, or a run is of an earlier version.
    """
    said: dict[str, list[np.ndarray]] = {}
    labels: dict[str, np.ndarray] = {}
    for run in runs:
        found = read_predictions(run.path / CALIBRATED_ON_FILE)
        data = run.data
        fits = found is not None and found.prob.shape[1] == len(run.class_names)
        if not fits or not np.isin(found.rows, np.arange(len(data))).all():
            return None
        keys, _ = content_keys(data.root, [data.files[row] for row in found.rows])
        own = {key: number for number, key in enumerate(keys) if key is not None}
        truth = data.labels_of(found.rows)
        for key, number in own.items():
            said.setdefault(key, []).append(found.prob[number])
            labels[key] = truth[number]
    learned = [learned_by_any([run]) for run in runs]
    fewest = max(2, len(runs) - 1)
    kept = [
        key
        for key, each in said.items()
        if len(each) == len(runs) or (len(each) >= fewest and sum(key in keys for keys in learned) < len(runs))
    ]
    if not kept:
        return None
    prob = np.stack([np.mean(said[key], axis=0, dtype=np.float64) for key in kept])
    return Unlearned(prob, np.stack([labels[key] for key in kept]))


def temperature_of(unlearned: Unlearned | None, seed: int = 0) -> Temperature:
    """The temperature of averaged probabilities; 1, with the reason, where there are no pictures.

    Args:
        unlearned: Of pictures that no member has learned from; None without any.
        seed: Of the cross-fitting.
    """
    if unlearned is None:
        return Temperature(1.0, 0, reason=NO_PICTURES)
    labels = unlearned.labels
    return fit_temperature(logits_of(unlearned.prob, multi_label=labels.ndim == 2), labels, seed)


def certainty_of(temperature: Temperature, unlearned: Unlearned | None, source: str, novelty: str) -> Certainty:
    """What a made run says of itself.

    Args:
        temperature: That its model has in it.
        unlearned: What it was fitted on, at that temperature; None without any.
        source: Which pictures these are, in words.
        novelty: Why it cannot tell what is unknown.
    """
    sets: ConformalScores | str = NO_PICTURES
    if unlearned is not None:
        try:
            sets = ConformalScores.from_probabilities(unlearned.prob, unlearned.labels)
        except DataError as error:
            sets = str(error)
    return Certainty(temperature, source, sets, novelty)


def logits_of(prob: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Logits that give these probabilities, as the averaged model has them, shape (N, C)."""
    prob = prob.astype(np.float64)
    logits = np.log(np.maximum(prob, SMALLEST))
    return logits - np.log(np.maximum(1.0 - prob, SMALLEST)) if multi_label else logits
