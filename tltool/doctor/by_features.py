"""What only shows through a network: labels that look wrong, and pictures like no others."""

from typing import TYPE_CHECKING

import numpy as np

from tltool.data.dataset import Dataset
from tltool.data.manifests import SEPARATOR
from tltool.doctor.findings import Finding, by_severity, counted
from tltool.doctor.odd_ones import odd_ones
from tltool.doctor.suspects import FOLDS, L2, Suspects, suspected_labels
from tltool.heads.cross_validation import out_of_fold_logits
from tltool.heads.logistic import LogisticProblem, to_probabilities
from tltool.progress import Report, silent

if TYPE_CHECKING:  # its module imports Keras
    from tltool.features.extract import FeatureTable

TASK = "Doubting labels"
# Pictures of which labels are doubted at once: larger sets are taken in parts, for the fit of all takes long.
AT_ONCE = 5000


def diagnose_features(
    data: Dataset, features: "FeatureTable", seed: int = 0, report: Report = silent
) -> tuple[Finding, ...]:
    """Suspected labels and odd ones out, over all parts of the set.

    Args:
        data: The data set.
        features: Row i is picture i of it.
        seed: Of the folds.
        report: Told how many pictures are done.
    """
    return by_severity((*_suspected(data, features, seed, report), *_odd(data, features, seed)))


def _suspected(data: Dataset, features: "FeatureTable", seed: int, report: Report) -> list[Finding]:
    if len(data.class_names) < 2:
        return []
    suspects = suspected_labels(out_of_fold(data, features, seed, report), data.labels_of(range(len(data))))
    if not len(suspects.flagged):
        return []
    files = tuple(data.files[i] for i in suspects.flagged)
    pairs = tuple((_given(data, i), _suggested(data, i, suspects)) for i in suspects.flagged)
    return [
        Finding(
            kind="suspected-labels",
            severity="warning",
            message=(
                f"{counted(len(files), 'label looks', 'labels look')} doubtful: heads that have not learned from the "
                "picture are sure of another. Half of such labels or more are wrong, and others may be wrong as well."
            ),
            fix="Look at these, the first are the most doubtful; correct what is wrong at its source, and look again.",
            files=files,
            details=tuple(f"labelled {given}, looks like {better}" for given, better in pairs),
            labels=pairs,
        )
    ]


def out_of_fold(data: Dataset, features: "FeatureTable", seed: int = 0, report: Report = silent) -> np.ndarray:
    """What heads that have not learned from a picture say of it.

    Args:
        data: The data set.
        features: Row i is picture i of it.
        seed: Of the folds.
        report: Told how many pictures are done.

    Returns:
        Probabilities, shape (N, C); NaN for pictures that cannot be held out.
    """
    values, labels = _all_stages(features), data.labels_of(range(len(data)))
    prob = np.full((len(data), len(data.class_names)), np.nan)
    order = np.random.default_rng(seed).permutation(len(data))
    parts = np.array_split(order, -(-len(data) // AT_ONCE))
    for number, rows in enumerate(parts):
        report(TASK, number * AT_ONCE, len(data))
        problem = LogisticProblem(values[rows], labels[rows], len(data.class_names))
        logits = out_of_fold_logits(problem, L2, FOLDS, seed, data.together_of(rows))
        prob[rows] = to_probabilities(logits, data.multi_label)
    report(TASK, len(data), len(data))
    return prob


def _all_stages(features: "FeatureTable") -> np.ndarray:
    return features.select([stage for stage, _, _ in features.layout.columns], ("mean",))


def _given(data: Dataset, index: int) -> str:
    return SEPARATOR.join(data.label_names(index))


def _suggested(data: Dataset, index: int, suspects: Suspects) -> str:
    name = data.class_names[suspects.suggestion[index]]
    if not data.multi_label:
        return name
    return SEPARATOR.join(sorted({*data.label_names(index)} ^ {name})) or "none"


def _odd(data: Dataset, features: "FeatureTable", seed: int) -> list[Finding]:
    odd, scores = odd_ones(_all_stages(features), seed)
    if not len(odd):
        return []
    files = tuple(data.files[i] for i in odd)
    return [
        Finding(
            kind="odd-ones",
            severity="note",
            message=f"{counted(len(files), 'picture is', 'pictures are')} unlike all others of the set.",
            fix="Look whether they belong to it.",
            files=files,
            details=tuple(f"{scores[i]:.1f} robust standard deviations from the usual" for i in odd),
        )
    ]
