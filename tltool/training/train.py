"""Carries out a recipe on a data set whose features are at hand."""

import hashlib
import time
from dataclasses import dataclass
from zipfile import BadZipFile

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.data import Dataset
from tltool.data.decoding import decode
from tltool.errors import RunError
from tltool.features.engine import has_accelerator
from tltool.features.extract import FeatureTable, digest
from tltool.files import replacing
from tltool.heads.logistic import LinearHead, to_probabilities
from tltool.heads.network import LOGITS, attach_head, framings_of, picture_model
from tltool.heads.temperature import Temperature, fit_temperature
from tltool.heads.threshold import tune_threshold
from tltool.inspection.baselines import Baseline, ProbeSpec
from tltool.recipes import Recipe
from tltool.training.checkpoints import Checkpoints
from tltool.training.events import EventLog
from tltool.training.finetune import FineTuning, fine_tune
from tltool.training.held_out import HeldOut
from tltool.training.pictures import Pictures, predict_logits
from tltool.training.probes import Probes
from tltool.training.run_folder import RunFolder
from tltool.training.search import search

# Largest difference in a probability between the features' own arithmetic and the finished model on a picture. Resizing
# in the graph differs in its last digits, so that one value in some 10,000 is rounded the other way: up to 4e-4 on
# flowers.
MODEL_TOLERANCE = 1e-2
CHECKED_PICTURES = 2


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gave.

    Attributes:
        recipe: That it went by, with what a search has found.
        model: The picture model, as saved.
        head: The probe, where the model is the frozen backbone with it; None after fine-tuning.
        spec: What the probe reads.
        l2: Its ridge strength.
        fine_tuning: How fine-tuning went; None for a probe recipe.
        temperature: What its logits were divided by; head and model have it in them.
        held_out: What it says, so divided, of pictures that it has not learned from.
        threshold: Of a multi-label model: the probability from which a class counts as present; else None.
    """

    recipe: Recipe
    model: keras.Model
    head: LinearHead | None
    spec: ProbeSpec
    l2: float
    fine_tuning: FineTuning | None
    temperature: Temperature
    held_out: HeldOut
    threshold: float | None


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
    searching: bool = False,
    trials: int | None = None,
) -> Trained:
    """Trains by the recipe and saves the picture model in the run's folder.

    Where the run's folder holds a solved probe and checkpoints of fine-tuning, it goes on from there.

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
        searching: Whether to fine-tune with one set of numbers after another until then, and keep the best.
        trials: Of such sets, at most.
    """
    belongs = _belongs(recipe, backbone, data, features, seed) if recipe.stages else {}  # before any weight moves
    probes = Probes(recipe, backbone, data, features, baselines, seed, events)
    spec, began = probes.spec, time.monotonic()
    # Fine-tuning is compared with its probe on the validation pictures, so that has not learned from them.
    rows = data.indices("train") if recipe.stages else data.indices("train", "valid")
    head = _read_head(folder) if recipe.stages and folder.probe.exists() else probes.solve(rows)
    classifier = attach_head(backbone, spec.stages, spec.pooling, head)
    tuning = None
    if recipe.stages:
        with replacing(folder.probe) as temporary:
            np.savez(temporary, kernel=head.kernel, bias=head.bias, l2=head.l2)
        pictures = _pictures(data, features, "train"), _pictures(data, features, "valid")
        if deadline is not None:
            deadline -= time.monotonic() - began  # a probe that is handed back is solved again
        if searching:
            kept = folder.path, folder.scratch
            recipe, tuning = search(
                recipe, classifier, backbone, *pictures, seed, events, deadline, *kept, belongs, trials
            )
        else:
            checkpoints = Checkpoints(folder.checkpoints, belongs)
            kept = checkpoints, folder.scratch
            tuning = fine_tune(classifier, backbone, recipe.stages, *pictures, seed, events, deadline, *kept)
    frozen = tuning is None or not tuning.kept
    if frozen and recipe.stages:  # nothing is left to compare: it learns from the validation pictures as well
        rows = data.indices("train", "valid")
        head = probes.solve(rows)
        classifier = attach_head(backbone, spec.stages, spec.pooling, head)
    events.emit("stage", text="Calibrating")
    if frozen:
        held_out = HeldOut("cross-validation", rows, data.labels_of(rows), probes.held_out_logits(head, rows))
    else:
        valid = _pictures(data, features, "valid")
        logits = predict_logits(classifier, valid, backbone.framing)
        held_out = HeldOut("validation pictures", data.indices("valid"), valid.labels, logits[None])
    temperature, held_out, head = calibrated(held_out, head, seed, events)
    dense = classifier.get_layer(LOGITS)
    dense.set_weights([weight / temperature.value for weight in dense.get_weights()])
    model = picture_model(classifier, backbone.framing, multi_label=data.multi_label)
    if frozen:
        check_model(model, spec, head, data, features)
    save_model(model, folder)
    found = tuning, temperature, held_out, threshold_of(held_out)
    return Trained(recipe, model, head if frozen else None, spec, head.l2, *found)


def calibrated(
    held_out: HeldOut, head: LinearHead, seed: int, events: EventLog
) -> tuple[Temperature, HeldOut, LinearHead]:
    """The temperature of what was held out, and both divided by it."""
    temperature = fit_temperature(held_out.logits, held_out.labels, seed)
    events.note(f"Probabilities, calibrated on {held_out.source}: {temperature}.")
    events.emit("stage", text="Saving the model")
    return temperature, held_out.divided(temperature.value), head.divided(temperature.value)


def save_model(model: keras.Model, folder: RunFolder) -> None:
    """Saves the model in its run's folder, all or nothing."""
    with replacing(folder.model) as temporary:
        model.save(temporary)


def _belongs(recipe: Recipe, backbone: Backbone, data: Dataset, features: FeatureTable, seed: int) -> dict[str, str]:
    """What a checkpoint is good for, and for nothing else."""
    labels = data.labels_of(range(len(data))).tobytes()
    return {
        "recipe": hashlib.sha256(recipe.to_toml().encode()).hexdigest(),
        "backbone": backbone.fingerprint,
        "data set": hashlib.sha256(digest(features.keys).encode() + labels).hexdigest(),
        "seed": str(seed),
        "Keras backend": keras.backend.backend(),
        "kind of device": "accelerator" if has_accelerator() else "CPU",
    }


def _read_head(folder: RunFolder) -> LinearHead:
    try:
        with folder.probe.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return LinearHead(file["kernel"], file["bias"], float(file["l2"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise RunError(f"{folder.probe}: cannot be read ({error}). Delete it, and the probe is solved anew.") from None


def threshold_of(held_out: HeldOut) -> float | None:
    """From which probability a class counts as present; None where each picture has exactly one."""
    _, labels, logits = held_out.once
    if labels.ndim == 1:
        return None
    return tune_threshold(to_probabilities(logits, multi_label=True), labels)


def _pictures(data: Dataset, features: FeatureTable, part: str) -> Pictures:
    rows = data.indices(part)
    return Pictures([data.root / data.files[i] for i in rows], data.labels_of(rows), [features.keys[i] for i in rows])


def check_model(model: keras.Model, spec: ProbeSpec, head: LinearHead, data: Dataset, features: FeatureTable) -> None:
    """Runs whole pictures through the finished graph: a wrong tap or a lost weight shows here, not at the user's."""
    rows = data.indices("test")[:CHECKED_PICTURES]
    expected = head.logits(features.select(spec.stages, spec.pooling)[rows])
    for row, probabilities in zip(rows, to_probabilities(expected, data.multi_label), strict=True):
        picture = decode(data.root / data.files[row], max(framing.size for framing in framings_of(model)))
        got = keras.ops.convert_to_numpy(model(picture[None], training=False))[0]
        difference = float(np.abs(got - probabilities).max())
        if difference > MODEL_TOLERANCE:
            raise RuntimeError(
                f"{data.files[row]}: the finished model's probabilities differ from the features' by {difference:.3f}; "
                "please report this with the recipe."
            )
