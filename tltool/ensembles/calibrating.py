"""A temperature and sets of classes for a made run, from pictures that no member has learned from."""

import numpy as np

from tltool.ensembles.common_pictures import CommonPictures
from tltool.errors import DataError
from tltool.evaluation.certainty import Certainty
from tltool.evaluation.conformal import ConformalScores
from tltool.heads.temperature import Temperature, fit_temperature

SOURCE = "validation pictures of all members"
NO_PICTURES = "no validation picture is left that no member has learned from: a probe learns from its own"
NO_NOVELTY = "what several networks see has no common measure"
SMALLEST = 1e-30  # under the logarithm, as in the averaged model


def temperature_of(prob: np.ndarray | None, labels: np.ndarray | None, seed: int = 0) -> Temperature:
    """The temperature of averaged probabilities, shape (N, C); 1, with the reason, where there are no pictures.

    Args:
        prob: Of pictures that no member has learned from; None without any.
        labels: Theirs, as `fit_temperature` takes them.
        seed: Of the cross-fitting.
    """
    if prob is None:
        return Temperature(1.0, 0, reason=NO_PICTURES)
    return fit_temperature(logits_of(prob, multi_label=labels.ndim == 2), labels, seed)


def certainty_of(
    temperature: Temperature, prob: np.ndarray | None, pictures: CommonPictures | None, novelty: str
) -> Certainty:
    """What a made run says of itself.

    Args:
        temperature: That its model has in it.
        prob: Of the pictures, at this temperature, shape (N, C); None without any.
        pictures: That no member has learned from.
        novelty: Why it cannot tell what is unknown.
    """
    sets: ConformalScores | str = NO_PICTURES
    if prob is not None:
        try:
            sets = ConformalScores.from_probabilities(prob, pictures.labels)
        except DataError as error:
            sets = str(error)
    return Certainty(temperature, SOURCE, sets, novelty)


def logits_of(prob: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Logits that give these probabilities, as the averaged model has them, shape (N, C)."""
    prob = prob.astype(np.float64)
    logits = np.log(np.maximum(prob, SMALLEST))
    return logits - np.log(np.maximum(1.0 - prob, SMALLEST)) if multi_label else logits
