"""Chains the stages: source -> data set -> inspection -> decision -> recipe -> run -> evaluation -> bundle.

The command line, the app and the public functions all call this module, and no other one chains stages.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tltool.augment.grid import preview as preview_grid
from tltool.augment.policies import Policy, read_policy
from tltool.backbones import Backbone, load_backbone
from tltool.backbones.registry import native_image_size
from tltool.data import Dataset, load_dataset
from tltool.data.batches import read_batches
from tltool.data.decoding import Framing
from tltool.data.listing import would_join
from tltool.decision import TABLE, Decision, decide
from tltool.doctor.by_features import diagnose_features
from tltool.doctor.checkup import Checkup, check_up
from tltool.doctor.diagnosis import Diagnosis, examine_files
from tltool.doctor.findings import by_severity
from tltool.errors import DataError, RecipeError, RunError
from tltool.evaluation.evaluate import score_any
from tltool.evaluation.inference import classify
from tltool.export.bundle import Labels, write_labels
from tltool.features.extract import FeatureTable, extract
from tltool.features.moments import batchnorm_moments
from tltool.features.taps import extra_poolings
from tltool.files import write_json, write_text
from tltool.heads.logistic import to_probabilities
from tltool.inspection.baselines import measure_baselines
from tltool.inspection.files import health_of, inspect_files
from tltool.inspection.inspection import Inspection
from tltool.inspection.similarity import SIMILARITY_PICTURES, Similarity, measure_similarity
from tltool.inspection.size import measure_size
from tltool.inspection.symmetry import measure_symmetry
from tltool.progress import Report, silent
from tltool.recipes import AUTO, Recipe, load_recipe
from tltool.run import Run
from tltool.training.events import EventLog, Listener
from tltool.training.finetune import trained_stages
from tltool.training.run_folder import RunFolder, create_run, logging_to, new_run_path
from tltool.training.train import Trained, probe_spec, train
from tltool.training.versions import versions

RUNS = Path("runs")
MAIN_SCORES = ("top1", "mean_average_precision")  # what a list of runs shows: the one or the other
PROBES = ("linear-probe", "stage-probe")  # the recipes that cross-validation can try before anything is decided
BACKBONE_KEYS = ("backbone", "weights", "image_size", "fit")


@dataclass(frozen=True, eq=False)
class Preview:
    """Pictures as training will see them.

    Attributes:
        policy: What is done to them.
        grid: Shape (pictures, 1 + draws, size, size, 3), uint8; the original first.
        files: Of the pictures, relative to the data set.
        reasons: Why this policy, where the decision picked it.
    """

    policy: Policy
    grid: np.ndarray
    files: tuple[str, ...]
    reasons: tuple[str, ...]


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


def inspect(
    data: Dataset | str | Path,
    *,
    seed: int = 0,
    settings: Sequence[str] = (),
    features: bool = True,
    report: Report = silent,
) -> Inspection:
    """Measures health, size, similarity and baselines of a data set.

    Held-out pictures are looked at by the doctor, but nothing that a decision rests on is measured on them.

    Args:
        data: A data set, or what `load_dataset` takes.
        seed: Of the split (where `data` is not split yet) and of the folds.
        settings: `backbone=...`, `weights=...`, `image_size=...` or `fit=...`, to inspect through another backbone.
        features: Whether pictures go through the backbone; if not, there are only health and size, and no decision.
        report: Told how far each task is.

    Raises:
        TltoolError: if the data or the settings cannot be used.
    """
    chosen = _inspection_settings(settings)
    data = _as_dataset(data, seed)
    if not features:
        return inspect_files(data, report)
    backbone = _backbone_of(load_recipe("linear-probe", chosen))
    checkup, table = _read(data, backbone, report)
    facts = _inspect(checkup, table, backbone, seed, report, tuple(chosen))
    facts = replace(facts, symmetry=measure_symmetry(backbone, checkup.data, table, facts.baselines, seed, report))
    findings = (*facts.health.findings, *diagnose_features(checkup.data, table, seed, report))
    return replace(facts, health=replace(facts.health, findings=by_severity(findings)))


def examine(
    data: Dataset | str | Path,
    *,
    seed: int = 0,
    settings: Sequence[str] = (),
    features: bool = True,
    report: Report = silent,
) -> Diagnosis:
    """Has the doctor look at a data set, also at one that cannot be trained on.

    Args:
        data: A data set, or what `load_dataset` takes.
        seed: Of the split and of the folds by which labels are suspected.
        settings: As for `inspect`.
        features: Whether pictures go through the backbone; if not, no label is suspected and no picture called odd.
        report: Told how far each task is.

    Raises:
        TltoolError: if the data or the settings cannot be used.
    """
    chosen = _inspection_settings(settings)
    data = data if isinstance(data, Dataset) else load_dataset(data, seed, trainable=False, report=report)
    if not features:
        return examine_files(data, report=report)
    backbone = _backbone_of(load_recipe("linear-probe", chosen))
    diagnosis = examine_files(data, backbone.framing, report)
    seen, scan = diagnosis.checkup.data, diagnosis.checkup.scan
    table = extract(backbone, seen.root, seen.files, report, scan.keys)
    findings = (*diagnosis.findings, *diagnose_features(seen, table, seed, report))
    return replace(diagnosis, findings=by_severity(findings))


def _inspection_settings(settings: Sequence[str]) -> list[str]:
    chosen = _backbone_settings(settings)
    if len(chosen) < len(settings):
        raise RecipeError(f"An inspection can be told {', '.join(BACKBONE_KEYS)}; other settings are for a fit.")
    return chosen


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
    """Reads the table for these facts and loads the recipe that it (or the evidence) names.

    Raises:
        DataError: if the facts are from an inspection without features.
    """
    decision = decide(facts)
    return Plan(decision, load_recipe(decision.recipe, facts.settings).with_augmentation(decision.augmentation))


def preview(
    data: Dataset | str | Path,
    recipe: str | Path | Recipe | None = None,
    *,
    policy: str | Policy | None = None,
    rows: int = 6,
    draws: int = 7,
    seed: int = 0,
    settings: Sequence[str] = (),
    report: Report = silent,
) -> Preview:
    """Draws a policy on some training pictures, taken from all classes in turn.

    Args:
        data: A data set, or what `load_dataset` takes.
        recipe: Whose policy is shown: that of its first stage with one, else that of its head's views; None for what
            the table decides. The data are inspected where the policy is left to the decision.
        policy: A policy in its place; `recipe` then only says how pictures become squares.
        rows: Pictures, >= 1.
        draws: Of each, >= 1.
        seed: Of the split and the draws.
        settings: Changes to the recipe.
        report: Told how far each task is.

    Raises:
        TltoolError: if data, recipe or policy cannot be used.
    """
    given = policy if policy is None else read_policy(policy)
    data = _as_dataset(data, seed)
    chosen = _as_recipe(recipe, settings)
    framed = chosen or load_recipe("linear-probe", _backbone_settings(settings))
    wanted, reasons = (AUTO if chosen is None else chosen.augmentation), ()
    if given is None and wanted == AUTO:
        backbone_settings = [f"{key}={getattr(framed, key)}" for key in BACKBONE_KEYS]
        decision = decide(inspect(data, seed=seed, settings=backbone_settings, report=report))
        wanted, reasons = decision.augmentation, (decision.reasons[-1],)
    given = given or read_policy(wanted)
    framing = Framing(framed.size_in_pixels or native_image_size(framed.backbone), framed.fit)
    picked = _from_all_classes(data, rows)
    found, pixels = [], []
    for batch in read_batches([data.root / data.files[i] for i in picked], framing, rows):
        found += [data.files[picked[position]] for position in batch.indices]
        pixels.append(batch.pixels)
        for position, fault in batch.problems:
            reasons += (f"Left out: {data.files[picked[position]]}: {fault}.",)
    if not found:
        raise DataError(f"{data.source}: none of the pictures that were tried could be read.")
    return Preview(given, preview_grid(np.concatenate(pixels), given, draws, seed), tuple(found), reasons)


def _from_all_classes(data: Dataset, count: int) -> list[int]:
    """Positions of training pictures, class after class."""
    rows = data.indices("train", "valid")
    queues: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        queues.setdefault(tuple(data.labels[row]), []).append(int(row))
    turns = zip_longest(*queues.values())
    return [row for turn in turns for row in turn if row is not None][:count]


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
    if would_join(data, parent):
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
    # What must be known before the table is read: through what to look, and what to read off it.
    first = chosen or load_recipe("linear-probe", _settings_of((*BACKBONE_KEYS, "head.pooling"), settings))
    events.emit("stage", text=f"Loading {first.backbone}")
    backbone = _backbone_of(first)
    write_json(folder.versions, versions() | {"backbone": backbone.name, "licence_of_weights": backbone.licence})
    if chosen:
        probe_spec(chosen, backbone)  # a stage that the backbone lacks is told before any work
        for stage in chosen.stages:
            trained_stages(backbone, stage.trainable)
    events.emit("stage", text=f"Reading {len(data)} pictures")
    checkup, features = _read(data, backbone, events.report, extra_poolings(first.head.pooling))
    data = checkup.data
    for problem in data.problems:
        events.emit("note", text=f"Left out: {problem}")
    for note in data.notes:
        events.emit("note", text=note)
    write_json(folder.data, data.to_json())
    write_json(folder.seen, [features.keys[i] for i in data.indices("train", "valid")])
    facts = _inspect(checkup, features, backbone, seed, events.report)
    for finding in facts.health.findings:
        if finding.severity == "error":
            events.emit("note", text=f"The doctor: {finding.message} {finding.fix}")
    decision = decide(facts)
    recipe = chosen or load_recipe(decision.recipe, settings)
    if recipe.leaves_augmentation:
        # Flipped pictures take the backbone seconds, and a probe without views has no use for the answer.
        symmetry = measure_symmetry(backbone, data, features, facts.baselines, seed, events.report)
        facts = replace(facts, symmetry=symmetry)
        decision = decide(facts)
    recipe = recipe.with_augmentation(decision.augmentation)
    write_json(folder.inspection, facts.to_json())
    write_json(folder.decision, decision.to_json() | {"used": recipe.name})
    write_text(folder.recipe, recipe.to_toml())
    folder.write_state(recipe=recipe.name)
    events.emit("decision", used=recipe.name, **decision.to_json())
    trained = train(recipe, backbone, data, features, facts.baselines, folder, seed, events, deadline)
    write_labels(folder.labels, Labels(data.class_names, trained.threshold))
    scores = _score_held_out(trained, checkup, features, events.report)
    seconds = time.monotonic() - start
    about = {"recipe": recipe.name, "l2": trained.l2, "seconds": seconds}
    write_json(folder.metrics, scores | about | _tuning_scores(trained))
    main = {name: scores[name] for name in MAIN_SCORES if name in scores}
    events.emit("end", state="done", seconds=seconds, **main)
    folder.write_state(state="done", pictures=len(data), seconds=seconds, **main)


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
    return _settings_of(BACKBONE_KEYS, settings)


def _settings_of(keys: Sequence[str], settings: Sequence[str]) -> list[str]:
    return [setting for setting in settings if setting.partition("=")[0].strip() in keys]


def _backbone_of(recipe: Recipe) -> Backbone:
    return load_backbone(recipe.backbone, recipe.weights, recipe.size_in_pixels, recipe.fit)


def _read(data: Dataset, backbone: Backbone, report: Report, extra: Sequence[str] = ()) -> tuple[Checkup, FeatureTable]:
    """Looks at every picture and takes its features; row i is picture i."""
    checkup = check_up(data, backbone.framing, report)
    features = extract(backbone, checkup.data.root, checkup.data.files, report, checkup.scan.keys, extra=extra)
    if features.problems:
        raise DataError(f"{data.source}: changed while it was being read: {features.problems[0]}. Start again.")
    return checkup, features


def _inspect(
    checkup: Checkup,
    features: FeatureTable,
    backbone: Backbone,
    seed: int,
    report: Report,
    settings: tuple[str, ...] = (),
) -> Inspection:
    data = checkup.data
    rows = data.indices("train", "valid")
    labels, groups = data.labels_of(rows), data.together_of(rows)
    specs = [probe_spec(load_recipe(name), backbone) for name in PROBES]
    return Inspection(
        source=data.source,
        backbone=backbone.name,
        size=measure_size(data),
        similarity=inspect_similarity(data, backbone, seed, report),
        baselines=measure_baselines(features, rows, labels, len(data.class_names), specs, seed, report, groups),
        health=health_of(checkup),
        settings=settings,
    )


def _score_held_out(trained: Trained, checkup: Checkup, features: FeatureTable, report: Report) -> dict:
    """Scores as JSON; where held-out pictures have copies among the learned ones, also those without them."""
    data = checkup.data
    rows = data.indices("test")
    if trained.head is not None:
        logits = trained.head.logits(features.select(trained.spec.stages, trained.spec.pooling)[rows])
        prob = to_probabilities(logits, data.multi_label)
    else:
        paths, keys = [data.root / data.files[i] for i in rows], [features.keys[i] for i in rows]
        prob = classify(trained.model, paths, report, keys).values
    scores = score_any(prob, data.labels_of(rows), data.class_names, trained.threshold).to_json()
    fresh = ~np.isin(rows, checkup.leaks)
    if fresh.all() or not fresh.any():
        return scores | {"leaked": int((~fresh).sum())}
    clean = score_any(prob[fresh], data.labels_of(rows[fresh]), data.class_names, trained.threshold)
    return scores | {"leaked": int((~fresh).sum()), "without_leaks": clean.to_json()}


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
