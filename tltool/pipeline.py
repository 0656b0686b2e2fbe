"""Chains the stages: source -> data set -> inspection -> decision -> recipe -> run -> evaluation -> bundle.

The command line, the app and the public functions all call this module, and no other one chains stages.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from tltool.backbones import Backbone, load_backbone
from tltool.data import Dataset, Problem, load_dataset
from tltool.data.dataset import load_index
from tltool.decision import TABLE, Decision, decide
from tltool.errors import RecipeError, RunError
from tltool.evaluation.evaluate import Evaluation, evaluate_model
from tltool.evaluation.inference import classify
from tltool.evaluation.metrics import Metrics, score
from tltool.export.bundle import Bundle, export_run, read_labels, write_labels
from tltool.features.extract import FeatureTable, extract
from tltool.features.moments import batchnorm_moments
from tltool.files import write_json, write_text
from tltool.inspection.baselines import measure_baselines
from tltool.inspection.inspection import Health, Inspection
from tltool.inspection.similarity import SIMILARITY_PICTURES, Similarity, measure_similarity
from tltool.inspection.size import measure_size
from tltool.progress import Report, silent
from tltool.recipes import Recipe, load_recipe
from tltool.training.events import EventLog, Listener
from tltool.training.finetune import trained_stages
from tltool.training.run_folder import RunFolder, create_run, logging_to, new_run_path
from tltool.training.train import Trained, probe_spec, train
from tltool.training.versions import versions

if TYPE_CHECKING:
    import keras

RUNS = Path("runs")
PROBES = ("linear-probe", "stage-probe")  # the recipes that cross-validation can try before anything is decided
BACKBONE_KEYS = ("backbone", "weights", "image_size")


@dataclass(frozen=True)
class Plan:
    """A decision with the recipe that it names.

    Attributes:
        decision: Cell, reasons, and whether evidence overruled the table.
        recipe: Ready to pass to `fit`.
    """

    decision: Decision
    recipe: Recipe

    @property
    def cell(self) -> str:
        return self.decision.cell

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.decision.reasons


@dataclass(frozen=True)
class Run:
    """A finished or unfinished run, by its folder."""

    folder: RunFolder

    @property
    def path(self) -> Path:
        return self.folder.path

    @cached_property
    def metrics(self) -> Metrics:
        """Scores on the pictures that the run held out."""
        self.folder.require_done()
        return Metrics.from_json(json.loads(self.folder.metrics.read_text("utf-8")))

    @cached_property
    def decision(self) -> dict:
        """What `decision.json` says."""
        return json.loads(self.folder.decision.read_text("utf-8"))

    @cached_property
    def data(self) -> Dataset:
        """The data set with the split that was used."""
        return load_index(self.folder.data)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return read_labels(self.folder.labels)

    @cached_property
    def model(self) -> "keras.Model":
        """The picture model: uint8 RGB pictures of any size to probabilities."""
        from tltool.export.predictor import load_model

        return load_model(self.path).model

    def evaluate(self, data: Dataset | str | Path | None = None, report: Report = silent) -> Metrics:
        """Scores the model: on the pictures that the run held out, or on other labelled ones (see `evaluate`)."""
        return self.metrics if data is None else evaluate(self, data, report).metrics

    def export(self, out: str | Path, formats: Sequence[str] = ("keras",)) -> Bundle:
        """Writes a bundle into a new or empty folder.

        Raises:
            ExportError: if a format is not offered, or the folder is not empty.
            RunError: if the run did not finish.
        """
        return export_run(self.folder, Path(out), formats)


def inspect(
    data: Dataset | str | Path, *, seed: int = 0, settings: Sequence[str] = (), report: Report = silent
) -> Inspection:
    """Measures size, similarity and baselines of a data set, and which of its files can be read.

    Held-out pictures are read, to know whether they can be, but nothing is measured on them.

    Args:
        data: A data set, or what `load_dataset` takes.
        seed: Of the split (where `data` is not split yet) and of the folds.
        settings: `backbone=...`, `weights=...` or `image_size=...`, to inspect through another backbone.
        report: Told how far each task is.

    Raises:
        TltoolError: if the data or the settings cannot be used.
    """
    chosen = _backbone_settings(settings)
    if len(chosen) < len(settings):
        raise RecipeError(f"An inspection can be told {', '.join(BACKBONE_KEYS)}; other settings are for a fit.")
    recipe = load_recipe("linear-probe", chosen)
    data = _as_dataset(data, seed)
    backbone = _backbone_of(recipe)
    data, features = _read(data, backbone, report)
    return _inspect(data, features, backbone, seed, report, tuple(chosen))


def inspect_similarity(data: Dataset, backbone: Backbone, seed: int = 0, report: Report = silent) -> Similarity:
    """Measures how far a sample of the training pictures is from the backbone's own.

    Args:
        data: Its unreadable files are passed over.
        backbone: It stays as it is.
        seed: Of the sample.
        report: Told how far each task is.
    """
    sample = np.random.default_rng(seed).permutation(data.indices("train", "valid"))[:SIMILARITY_PICTURES]
    features = extract(backbone, data.root, [data.files[i] for i in sample], report)
    readable = [data.root / data.files[sample[i]] for i in features.indices]
    moments = batchnorm_moments(backbone, readable, features.keys, report)
    return measure_similarity(moments, features.confidence, len(readable))


def recommend(facts: Inspection) -> Plan:
    """Reads the table for these facts and loads the recipe that it (or the evidence) names."""
    decision = decide(facts)
    return Plan(decision, load_recipe(decision.recipe, facts.settings))


def fit(
    data: Dataset | str | Path,
    recipe: str | Path | Recipe | None = None,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
    budget: float | None = None,
    listener: Listener | None = None,
) -> Run:
    """Trains a classifier and writes everything about it into a run folder.

    Args:
        data: A data set, or what `load_dataset` takes.
        recipe: A shipped recipe's name, a TOML file, or a `Recipe`; None to let the table decide.
        out: The run's folder, new or empty; `runs/NAME-N` where None.
        seed: Of the split (where `data` is not split yet), the folds and the order of the pictures.
        settings: Changes to the recipe such as "head.folds=3".
        budget: Seconds that the whole call may take. Probes take what they take; fine-tuning is shortened to fit.
        listener: Called with each event as it is written.

    Returns:
        The run, done and scored on the pictures that were held out.

    Raises:
        TltoolError: if the data, the recipe or the folder cannot be used; nothing of the user's is changed.
    """
    start = time.monotonic()
    deadline = None if budget is None else start + budget
    chosen = _as_recipe(recipe, settings)
    data = _as_dataset(data, seed)
    parent = RUNS if out is None else Path(out)
    if parent.resolve().is_relative_to(data.root.resolve()):
        raise RunError(
            f"{parent}: lies inside the data set, which it would spoil. Give an --out outside of {data.root}."
        )
    path = new_run_path(data.name, RUNS) if out is None else Path(out)  # after the check: it makes the folder
    folder = create_run(path, path.name, chosen.name if chosen else "decided by the table", seed)
    events = EventLog(folder.events, listener)
    try:
        with logging_to(folder.log):
            _fit(data, chosen, settings, folder, seed, events, deadline, start)
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt)
        folder.write_state(state="stopped" if stopped else "failed", reason=str(error) or type(error).__name__)
        events.emit("end", state="stopped" if stopped else "failed", reason=str(error))
        raise
    finally:
        events.close()
    return Run(folder)


def _fit(
    data: Dataset,
    chosen: Recipe | None,
    settings: Sequence[str],
    folder: RunFolder,
    seed: int,
    events: EventLog,
    deadline: float | None,
    start: float,
) -> None:
    first = chosen or load_recipe("linear-probe", _backbone_settings(settings))
    events.emit("stage", text=f"Loading {first.backbone}")
    backbone = _backbone_of(first)
    write_json(folder.versions, versions() | {"backbone": backbone.name, "licence_of_weights": backbone.licence})
    if chosen:
        probe_spec(chosen, backbone)  # a stage that the backbone lacks is told before any work
        for stage in chosen.stages:
            trained_stages(backbone, stage.trainable)
    events.emit("stage", text=f"Reading {len(data)} pictures")
    data, features = _read(data, backbone, events.report)
    for problem in data.problems:
        events.emit("note", text=f"Left out: {problem}")
    for note in data.notes:
        events.emit("note", text=note)
    write_json(folder.data, data.to_json())
    write_json(folder.seen, [features.keys[i] for i in data.indices("train", "valid")])
    facts = _inspect(data, features, backbone, seed, events.report)
    write_json(folder.inspection, facts.to_json())
    decision = decide(facts)
    recipe = chosen or load_recipe(decision.recipe, settings)
    write_json(folder.decision, decision.to_json() | {"used": recipe.name})
    write_text(folder.recipe, recipe.to_toml())
    folder.write_state(recipe=recipe.name)
    events.emit("decision", used=recipe.name, **decision.to_json())
    trained = train(recipe, backbone, data, features, facts.baselines, folder, seed, events, deadline)
    write_labels(folder.labels, data.class_names)
    metrics = _score_held_out(trained, data, features, events.report)
    seconds = time.monotonic() - start
    write_json(
        folder.metrics,
        metrics.to_json() | {"recipe": recipe.name, "l2": trained.l2, "seconds": seconds} | _tuning_scores(trained),
    )
    events.emit("end", state="done", top1=metrics.top1, seconds=seconds)
    folder.write_state(state="done", top1=metrics.top1, pictures=len(data), seconds=seconds)


def evaluate(run: Run, data: Dataset | str | Path, report: Report = silent) -> Evaluation:
    """Scores a run on labelled pictures that it has not learned from.

    Args:
        run: A finished run.
        data: Class folders named like the run's classes; where there is a test part, that part counts.
        report: Told how many pictures are done.

    Raises:
        DataError: if a class is not one of the run's, or no picture is left to score.
    """
    run.folder.require_done()
    data = data if isinstance(data, Dataset) else load_dataset(data, trainable=False)
    learned = set(json.loads(run.folder.seen.read_text("utf-8")))
    return evaluate_model(run.model, run.class_names, learned, data, report)


def open_run(path: str | Path) -> Run:
    """A run by its folder.

    Raises:
        RunError: if there is none.
    """
    folder = RunFolder(Path(path))
    folder.read_state()
    return Run(folder)


def _as_dataset(data: Dataset | str | Path, seed: int) -> Dataset:
    return data if isinstance(data, Dataset) else load_dataset(data, seed)


def _as_recipe(recipe: str | Path | Recipe | None, settings: Sequence[str]) -> Recipe | None:
    if isinstance(recipe, Recipe):
        if settings:
            raise RecipeError("Settings change a recipe given by name or file; change the Recipe object itself.")
        return recipe
    if recipe is None:
        _check_settings(settings)
        return None
    return load_recipe(recipe, settings)


def _check_settings(settings: Sequence[str]) -> None:
    """Raises RecipeError for a setting that suits none of the recipes that the table may pick, before any work."""
    for setting in settings:
        fault = None
        for name in TABLE.values():
            try:
                load_recipe(name, [setting])
            except RecipeError as error:
                fault = error
            else:
                break
        else:
            raise fault


def _backbone_settings(settings: Sequence[str]) -> list[str]:
    return [setting for setting in settings if setting.partition("=")[0].strip() in BACKBONE_KEYS]


def _backbone_of(recipe: Recipe) -> Backbone:
    return load_backbone(recipe.backbone, recipe.weights, recipe.size_in_pixels)


def _read(data: Dataset, backbone: Backbone, report: Report) -> tuple[Dataset, FeatureTable]:
    """Features of every picture; files that turn out unreadable leave the data set. Row i is picture i."""
    features = extract(backbone, data.root, data.files, report)
    data = data.without(features.problems)
    if len(data) != len(features.values):
        raise RuntimeError(f"{len(data)} pictures but {len(features.values)} rows of features; please report this.")
    return _without_leaks(data, features)


def _without_leaks(data: Dataset, features: FeatureTable) -> tuple[Dataset, FeatureTable]:
    """Leaves out held-out pictures that are learned from as well: copies of one file on both sides of the split."""
    while True:
        sides = {part: {features.keys[i] for i in data.indices(part)} for part in ("train", "valid")}
        leaks = [i for i in data.indices("test") if features.keys[i] in sides["train"] | sides["valid"]]
        leaks += [i for i in data.indices("valid") if features.keys[i] in sides["train"]]
        if not leaks:
            return data, features
        reason = "a copy of a picture that is learned from, so it is not held out"
        kept = np.setdiff1d(np.arange(len(data)), leaks)
        # Where a class loses all its held-out pictures it is split anew, which may make a new leak: hence the loop.
        data = data.without([Problem(data.files[i], reason) for i in leaks])
        features = features.take(kept)


def _inspect(
    data: Dataset, features: FeatureTable, backbone: Backbone, seed: int, report: Report, settings: tuple[str, ...] = ()
) -> Inspection:
    rows = data.indices("train", "valid")
    specs = [probe_spec(load_recipe(name), backbone) for name in PROBES]
    return Inspection(
        source=data.source,
        backbone=backbone.name,
        size=measure_size(data),
        similarity=inspect_similarity(data, backbone, seed, report),
        baselines=measure_baselines(features, rows, data.labels_of(rows), len(data.class_names), specs, seed, report),
        health=Health(len(data), data.problems, data.notes),
        settings=settings,
    )


def _score_held_out(trained: Trained, data: Dataset, features: FeatureTable, report: Report) -> Metrics:
    rows = data.indices("test")
    if trained.head is not None:
        logits = trained.head.logits(features.select(trained.spec.stages, trained.spec.pooling)[rows])
        probabilities = softmax(logits, axis=1)
    else:
        probabilities = classify(trained.model, [data.root / data.files[i] for i in rows], report).values
    return score(probabilities, data.labels_of(rows), data.class_names)


def _tuning_scores(trained: Trained) -> dict:
    tuning = trained.fine_tuning
    if tuning is None:
        return {}
    return {
        "validation": {
            "probe_log_loss": tuning.probe_log_loss,
            "fine_tuned_log_loss": tuning.log_loss if np.isfinite(tuning.log_loss) else None,
            "kept": "fine-tuned" if tuning.kept else "probe",
        }
    }
