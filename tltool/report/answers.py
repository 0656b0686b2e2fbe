"""What a run's model says of the pictures that it held out, asked again or found where it was kept."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from tltool.backbones import load_backbone
from tltool.data import Dataset
from tltool.errors import TltoolError
from tltool.evaluation.evaluate import score_any
from tltool.evaluation.looking import look
from tltool.evaluation.mistakes import Mistakes, find_mistakes
from tltool.evaluation.predictions import PREDICTIONS_FILE, read_predictions
from tltool.features.extract import FeatureTable, content_keys, extract
from tltool.features.taps import extra_poolings
from tltool.heads.logistic import to_probabilities
from tltool.heads.network import LOGITS
from tltool.progress import Report, silent
from tltool.recipes import load_recipe
from tltool.run import Run
from tltool.training.probe import probe_spec

LOOKED_AT = 400  # pictures to learn from whose features are taken where none are kept: seconds, and enough for likeness
COMPARED = 4000  # pictures to learn from among which the nearest are sought; more would tell little more
SAME = 1e-3  # nats of log loss: features and the model part in the last digits


@dataclass(frozen=True, eq=False)
class Answers:
    """Of the held-out pictures that can be read.

    Attributes:
        data: The data set.
        rows: Positions in it, shape (n,), n >= 1.
        keys: Content keys, length n.
        prob: Class probabilities, shape (n, C).
        labels: As `Dataset.labels_of` gives them.
        features: Shape (n, D).
        known: Positions of pictures that were learned from, shape (m,).
        known_features: Theirs, shape (m, D).
        mistakes: What went wrong.
        missing: Held-out pictures that cannot be read.
        pretrained: Whether features are the pretrained network's, before any fine-tuning.
    """

    data: Dataset
    rows: np.ndarray
    keys: tuple[str, ...]
    prob: np.ndarray
    labels: np.ndarray
    features: np.ndarray
    known: np.ndarray
    known_features: np.ndarray
    mistakes: Mistakes
    missing: int
    pretrained: bool


@dataclass(frozen=True, eq=False)
class _Seen:
    """Pictures that can be read: positions in the data set, content keys and, where they are known, probabilities."""

    rows: np.ndarray
    keys: tuple[str, ...]
    features: np.ndarray
    prob: np.ndarray | None


def answers_of(run: Run, report: Report = silent) -> Answers | None:
    """Asks the model of its held-out pictures.

    A probe is asked through the features that its training has left in the cache, and of other models the run's folder
    may hold the answers: both take no time. Else the model looks at the pictures anew.

    Args:
        run: Done.
        report: Told how many pictures are done.

    Returns:
        None where no held-out picture can be read.
    """
    data = run.data
    held_out, learned = data.indices("test"), data.indices("train", "valid")
    kept = _kept_features(run, data, np.concatenate([held_out, _spread(learned, COMPARED)]), report)
    if kept is None:
        tested, known = (_looked(run, data, rows, report) for rows in (held_out, _spread(learned, LOOKED_AT)))
    else:
        table, features, prob = kept
        tested, known = (_among(table, features, prob, rows) for rows in (held_out, learned))
        if not _agrees(run, tested):
            tested = replace(tested, prob=_kept_answers(run, tested.rows))
        if not _agrees(run, tested):
            looked = _looked(run, data, tested.rows, report)
            places = np.isin(tested.rows, looked.rows)
            tested = _Seen(looked.rows, looked.keys, tested.features[places], looked.prob)
    if not len(tested.rows):
        return None
    labels = data.labels_of(tested.rows)
    return Answers(
        data=data,
        rows=tested.rows,
        keys=tested.keys,
        prob=tested.prob,
        labels=labels,
        features=tested.features,
        known=known.rows,
        known_features=known.features,
        mistakes=find_mistakes(tested.prob, labels, run.labels.threshold),
        missing=len(held_out) - len(tested.rows),
        pretrained=kept is not None and kept[2] is None,
    )


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most so many of the rows, evenly over all."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))] if len(rows) else rows


def _kept_features(
    run: Run, data: Dataset, rows: np.ndarray, report: Report
) -> tuple[FeatureTable, np.ndarray, np.ndarray | None] | None:
    """Features that training has left in the cache, the last stage's means, and what a probe makes of them all.

    None where the run has not one backbone that could be asked.
    """
    with suppress(TltoolError, OSError, ValueError):  # made of other runs, or of weights that are gone
        recipe = load_recipe(run.folder.recipe)
        backbone = load_backbone(recipe.backbone, recipe.weights, recipe.size_in_pixels, recipe.fit)
        spec = probe_spec(recipe, backbone)
        files = [data.files[row] for row in rows]
        table = extract(backbone, data.root, files, report, extra=extra_poolings(recipe.head.pooling))
        table = replace(table, indices=rows[table.indices])
        features, prob = table.select([backbone.stage_names[-1]], ["mean"]), None
        if not recipe.stages:
            weights = run.model.get_layer(LOGITS).get_weights()
            values = table.select(spec.stages, spec.pooling)
            if len(weights) == 2 and len(weights[0]) == values.shape[1]:
                prob = to_probabilities(values @ weights[0] + weights[1], data.multi_label)
        return table, features, prob
    return None


def _among(table: FeatureTable, features: np.ndarray, prob: np.ndarray | None, rows: np.ndarray) -> _Seen:
    places = np.flatnonzero(np.isin(table.indices, rows))
    keys = tuple(table.keys[place] for place in places)
    return _Seen(table.indices[places], keys, features[places], None if prob is None else prob[places])


def _looked(run: Run, data: Dataset, rows: np.ndarray, report: Report) -> _Seen:
    keys, _ = content_keys(data.root, [data.files[row] for row in rows])
    seen = look(run.model, [data.paths[row] for row in rows], keys, report)
    kept: Sequence[str | None] = [keys[place] for place in seen.indices]
    return _Seen(rows[seen.indices], tuple(kept), seen.features, seen.prob)


def _kept_answers(run: Run, rows: np.ndarray) -> np.ndarray | None:
    """What the run wrote down of these pictures."""
    kept = read_predictions(run.path / PREDICTIONS_FILE)
    if kept is None or kept.prob.shape[1] != len(run.class_names):
        return None
    place = {row: place for place, row in enumerate(kept.rows.tolist())}
    return kept.prob[[place[row] for row in rows]] if all(row in place for row in rows.tolist()) else None


def _agrees(run: Run, tested: _Seen) -> bool:
    """Whether what was found is what the run was scored by: not where pictures or the model have changed since."""
    if tested.prob is None or len(tested.rows) != run.metrics.pictures:
        return False
    found = score_any(tested.prob, run.data.labels_of(tested.rows), run.class_names, run.labels.threshold)
    return abs(found.log_loss - run.metrics.log_loss) < SAME
