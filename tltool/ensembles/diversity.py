"""How the members of an ensemble differ on the held-out pictures, and on which of these the most."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tltool.ensembles.common_pictures import CommonPictures
from tltool.ensembles.uncertainty import uncertainty
from tltool.export.bundle import Labels

SHOWN = 5  # pictures


@dataclass(frozen=True)
class Unsure:
    """One picture that the ensemble is unsure of.

    Attributes:
        file: Relative to the data set.
        said: The ensemble's answer; of several labels a list, joined by commas.
        disagreement, entropy, mutual_information: As in `Uncertainty`.
    """

    file: str
    said: str
    disagreement: float
    entropy: float
    mutual_information: float


@dataclass(frozen=True)
class Diversity:
    """Means over the pictures of what `Uncertainty` tells of each, before the temperature.

    Attributes:
        disagreement: Share of the pairs of members that give different answers, [0, 1].
        entropy: Nats.
        expected_entropy: Nats.
        mutual_information: Nats.
        most_uncertain: The pictures with the highest entropy, that first.
    """

    disagreement: float
    entropy: float
    expected_entropy: float
    mutual_information: float
    most_uncertain: tuple[Unsure, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def diversity_of(prob: np.ndarray, pictures: CommonPictures, labels: Labels) -> Diversity:
    """Measures it.

    Args:
        prob: Of the members, shape (members, pictures, classes).
        pictures: The same, in this order.
        labels: What the classes are called.
    """
    found = uncertainty(prob, labels.threshold)
    mean, names = prob.mean(axis=0), labels.class_names

    def said(row: int) -> str:
        if labels.threshold is None:
            return names[int(mean[row].argmax())]
        present = [name for name, value in zip(names, mean[row], strict=True) if value >= labels.threshold]
        return ", ".join(present)

    most = tuple(
        Unsure(
            pictures.data.files[pictures.rows[row]],
            said(row),
            float(found.disagreement[row]),
            float(found.entropy[row]),
            float(found.mutual_information[row]),
        )
        for row in np.argsort(-found.entropy, kind="stable")[:SHOWN]
    )
    measured = found.disagreement, found.entropy, found.expected_entropy, found.mutual_information
    return Diversity(*(float(values.mean()) for values in measured), most)
