"""Carries out a recipe on a data set whose features are at hand."""

from dataclasses import dataclass

import keras
import numpy as np

from tltool.augment.policies import read_policy
from tltool.backbones import Backbone
from tltool.data import Dataset
from tltool.data.decoding import decode
from tltool.errors import DataError
from tltool.features.extract import FeatureTable, extract
from tltool.features.taps import extra_poolings, resolve_taps
from tltool.files import replacing
from tltool.heads.cross_validation import out_of_fold_logits
from tltool.heads.logistic import LinearHead, to_probabilities
from tltool.heads.network import CLIP, attach_head, picture_model
from tltool.heads.threshold import tune_threshold
from tltool.inspection.baselines import Baseline, ProbeSpec
from tltool.progress import Report
from tltool.recipes import HeadRecipe, Recipe
from tltool.training.augmented import augmented_view
from tltool.training.events import EventLog
from tltool.training.finetune import FineTuning, fine_tune
from tltool.training.pictures import Pictures, predict_logits
from tltool.training.probe import probe_problem, solve_probe
from tltool.training.run_folder import RunFolder

# Largest difference in a probability between the features' own arithmetic and the finished model on a picture. Resizing
# in the graph differs in its last digits, so that one value in some 10,000 is rounded the other way: up to 4e-4 on
# flowers.
MODEL_TOLERANCE = 1e-2
CHECKED_PICTURES = 2


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gave.

    Attributes:
        model: The picture model, as saved.
        head: The probe, where the model is the frozen backbone with it; None after fine-tuning.
        spec: What the probe reads.
        l2: Its ridge strength.
        fine_tuning: How fine-tuning went; None for a probe recipe.
        threshold: Of a multi-label model: the probability from which a class counts as present; else None.
    """

    model: keras.Model
    head: LinearHead | None
    spec: ProbeSpec
    l2: float
    fine_tuning: FineTuning | None
    threshold: float | None


def probe_spec(recipe: Recipe, backbone: Backbone) -> ProbeSpec:
    """The recipe's head with its taps resolved to stages of this backbone.

    Raises:
        TltoolError: if the backbone has no such stage.
    """
    head = recipe.head
    taps = resolve_taps(backbone, head.taps)
    return ProbeSpec(recipe.name, taps, head.pooling, head.strengths, head.folds, head.shuffles)


def train(
    recipe: Recipe,
    backbone: Backbone,
    data: Dataset,
    features: FeatureTable,
    baselines: tuple[Baseline, ...],
    folder: RunFolder,
    seed: int,
    events: EventLog,
    deadline: float | None = None,
) -> Trained:
    """Trains by the recipe and saves the picture model in the run's folder.

    Args:
        recipe: What to do.
        backbone: Fine-tuning changes its weights.
        data: One row of `features` a file.
        features: From the frozen backbone.
        baselines: From the inspection; a cross-validation of this very probe is used again.
        folder: Gets the model.
        seed: Of folds and of the order of the pictures.
        events: Told of everything.
        deadline: `time.monotonic()` at which fine-tuning must stop.
    """
    spec = probe_spec(recipe, backbone)
    # Fine-tuning is compared with its probe on the validation pictures, so that probe must not have learned from them.
    rows = data.indices("train") if recipe.stages else data.indices("train", "valid")
    as_inspected = not recipe.stages and not recipe.head.views
    tried = (b.validation for b in baselines if b.spec == spec and b.pictures == len(rows) and as_inspected)
    events.emit("stage", text=f"Solving the linear head on {len(rows)} pictures")
    labels, groups = data.labels_of(rows), data.together_of(rows)
    classes = len(data.class_names)
    views = _views(recipe.head, backbone, data, features, rows, seed, events.report)
    head, validation = solve_probe(
        spec, features, rows, labels, classes, seed, next(tried, None), events.report, groups, views
    )
    classifier = attach_head(backbone, spec.stages, spec.pooling, head)
    tuning = None
    if recipe.stages:
        tuning = fine_tune(
            classifier,
            backbone,
            recipe.stages,
            _pictures(data, features, "train"),
            _pictures(data, features, "valid"),
            seed,
            events,
            deadline,
        )
    frozen = tuning is None or not tuning.kept
    events.emit("stage", text="Saving the model")
    model = picture_model(classifier, backbone.framing, multi_label=data.multi_label)
    if frozen:
        _check_model(model, spec, head, data, features)
    with replacing(folder.model) as temporary:
        model.save(temporary)
    threshold = None
    if data.multi_label and frozen:
        problem = probe_problem(spec, features, rows, labels, classes, views)
        logits = out_of_fold_logits(problem, head.l2, spec.folds, seed, groups, len(views))
        threshold = _threshold(logits, labels)
    elif data.multi_label:
        valid = _pictures(data, features, "valid")
        threshold = _threshold(predict_logits(classifier, valid, backbone.framing), valid.labels)
    return Trained(model, head if frozen else None, spec, validation.l2, tuning, threshold)


def _views(
    head: HeadRecipe,
    backbone: Backbone,
    data: Dataset,
    features: FeatureTable,
    rows: np.ndarray,
    seed: int,
    report: Report,
) -> list[FeatureTable]:
    """Features of the head's augmented views of these pictures."""
    if not head.views:
        return []
    files, keys = [data.files[i] for i in rows], [features.keys[i] for i in rows]
    policy = read_policy(head.augmentation).per_picture
    tables, extra = [], extra_poolings(head.pooling)
    for number in range(head.views):
        table = extract(backbone, data.root, files, report, keys, augmented_view(policy, seed, number), extra)
        if table.problems:
            raise DataError(f"{data.source}: changed while it was being read: {table.problems[0]}. Start again.")
        tables.append(table)
    return tables


def _threshold(logits: np.ndarray, labels: np.ndarray) -> float:
    known = ~np.isnan(logits).any(axis=1)  # a picture that was never held out tells nothing
    return tune_threshold(to_probabilities(logits[known], multi_label=True), labels[known])


def _pictures(data: Dataset, features: FeatureTable, part: str) -> Pictures:
    rows = data.indices(part)
    return Pictures([data.root / data.files[i] for i in rows], data.labels_of(rows), [features.keys[i] for i in rows])


def _check_model(model: keras.Model, spec: ProbeSpec, head: LinearHead, data: Dataset, features: FeatureTable) -> None:
    """Runs whole pictures through the finished graph: a wrong tap or a lost weight shows here, not at the user's."""
    rows = data.indices("test")[:CHECKED_PICTURES]
    expected = head.logits(features.select(spec.stages, spec.pooling)[rows])
    for row, probabilities in zip(rows, to_probabilities(expected, data.multi_label), strict=True):
        picture = decode(data.root / data.files[row], model.get_layer(CLIP).output.shape[1])
        got = keras.ops.convert_to_numpy(model(picture[None], training=False))[0]
        difference = float(np.abs(got - probabilities).max())
        if difference > MODEL_TOLERANCE:
            raise RuntimeError(
                f"{data.files[row]}: the finished model's probabilities differ from the features' by {difference:.3f}; "
                "please report this with the recipe."
            )
