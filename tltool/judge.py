"""What a run finds out about its finished model: how far it can be trusted, and its scores on held-out pictures."""

from pathlib import Path

import numpy as np

from tltool.data import Dataset
from tltool.doctor.checkup import Checkup
from tltool.errors import DataError
from tltool.evaluation.certainty import Certainty
from tltool.evaluation.conformal import ConformalScores
from tltool.evaluation.evaluate import score_any, score_certainty
from tltool.evaluation.inference import Probabilities, classify
from tltool.evaluation.novelty import LARGEST, NEIGHBOURS, Novelty, deal_out, fit_novelty
from tltool.evaluation.predictions import CALIBRATED_ON_FILE, PREDICTIONS_FILE, Predictions, write_predictions
from tltool.features.extract import FeatureTable
from tltool.heads.logistic import to_probabilities
from tltool.progress import Report, silent
from tltool.training.train import Trained

LOOKED_AT = 500  # pictures, by a fine-tuned network, to learn what it knows; and as many to tell how near it must be


def measure_certainty(
    trained: Trained, data: Dataset, features: FeatureTable, seed: int, folder: Path, report: Report = silent
) -> Certainty:
    """What the pictures tell that were held out while it was trained; the test pictures are none of them.

    It is written into the run's folder, and what was said of these pictures, for whoever averages the run with others.

    Args:
        trained: The finished model.
        data: That it was trained on.
        features: Of the frozen backbone, one row a file.
        seed: Of samples.
        folder: The run's.
        report: Told how many pictures are done.
    """
    sets: ConformalScores | str
    novelty: Novelty | str
    rows, labels, logits = trained.held_out.once
    prob = to_probabilities(logits, data.multi_label)
    write_predictions(folder / CALIBRATED_ON_FILE, Predictions(rows, prob))
    try:
        sets = ConformalScores.from_probabilities(prob, labels)
    except DataError as error:
        sets = str(error)
    try:
        novelty = _novelty(trained, data, features, seed, report)
    except DataError as error:
        novelty = str(error)
    found = Certainty(trained.temperature, trained.held_out.source, sets, novelty)
    found.write(folder)
    return found


def _novelty(trained: Trained, data: Dataset, features: FeatureTable, seed: int, report: Report) -> Novelty:
    """From what stands in front of the logits: the frozen features, or those of the fine-tuned network."""
    if trained.head is not None:
        rows = data.indices("train", "valid")
        values = features.select(trained.spec.stages, trained.spec.pooling)[rows]
        return fit_novelty(values, data.labels_of(rows), seed=seed, groups=data.together_of(rows))
    # Each is looked at anew, which on a CPU takes about a hundredth of a second: a few hundred tell as well as all.
    most = min(LARGEST, max(LOOKED_AT, (NEIGHBOURS + 1) * len(data.class_names)))
    rows, valid = data.indices("train"), data.indices("valid")
    rows = rows[deal_out(data.labels_of(rows), most, seed)]
    valid = valid[deal_out(data.labels_of(valid), LOOKED_AT, seed)]
    learned, held_out = (_asked(trained, data, features, part, report).features for part in (rows, valid))
    return fit_novelty(learned, data.labels_of(rows), seed=seed, held_out=held_out)


def _asked(trained: Trained, data: Dataset, features: FeatureTable, rows: np.ndarray, report: Report) -> Probabilities:
    """What the finished model says of these pictures."""
    paths, keys = [data.root / data.files[i] for i in rows], [features.keys[i] for i in rows]
    return classify(trained.model, paths, report, keys, with_features=True)


def score_held_out(
    trained: Trained,
    certainty: Certainty,
    checkup: Checkup,
    features: FeatureTable,
    folder: Path,
    report: Report = silent,
) -> dict:
    """Scores as JSON; where held-out pictures have copies among the learned ones, also those without them.

    What was said of each picture is written into the run's folder.
    """
    data = checkup.data
    rows = data.indices("test")
    labels = data.labels_of(rows)
    if trained.head is not None:
        values = features.select(trained.spec.stages, trained.spec.pooling)[rows]
        prob = to_probabilities(trained.head.logits(values), data.multi_label)
    else:
        result = _asked(trained, data, features, rows, report)
        prob, values = result.values, result.features
    write_predictions(folder / PREDICTIONS_FILE, Predictions(rows, prob))
    scores = score_any(prob, labels, data.class_names, trained.threshold).to_json()
    scores["certainty"] = score_certainty(certainty, prob, values, labels).to_json()
    fresh = ~np.isin(rows, checkup.leaks)
    if fresh.all() or not fresh.any():
        return scores | {"leaked": int((~fresh).sum())}
    clean = score_any(prob[fresh], labels[fresh], data.class_names, trained.threshold)
    return scores | {"leaked": int((~fresh).sum()), "without_leaks": clean.to_json()}
