"""Carries out a run, from its folder: reads, inspects, decides, trains, scores; and goes on where it stopped."""

import errno
import json
import logging
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace

import numpy as np

from tltool.backbones import Backbone, load_backbone, offline_names
from tltool.backbones.registry import native_image_size
from tltool.data import Dataset
from tltool.data.dataset import load_index
from tltool.data.typical_size import typical_side
from tltool.decision import Decision, decide, pick_image_size
from tltool.doctor.checkup import Checkup, check_up
from tltool.ensembles.fit_members import fit_members
from tltool.errors import DataError, RunError, StoppedError, TltoolError
from tltool.export.bundle import Labels, write_labels
from tltool.features.extract import FeatureTable, extract
from tltool.features.moments import batchnorm_moments
from tltool.features.taps import extra_poolings
from tltool.files import write_json, write_text
from tltool.inspection.baselines import Baseline, ProbeSpec, measure_baselines
from tltool.inspection.files import health_of
from tltool.inspection.inspection import Inspection
from tltool.inspection.ranking import Ranking, rank_backbones, read_ranking
from tltool.inspection.similarity import SIMILARITY_PICTURES, Similarity, measure_similarity
from tltool.inspection.size import measure_size
from tltool.inspection.symmetry import measure_symmetry
from tltool.judge import measure_certainty, score_held_out
from tltool.progress import Report, silent
from tltool.recipe_parts import AUTO
from tltool.recipes import Recipe, check_recipe, load_recipe
from tltool.report.page import write_report
from tltool.run import Run
from tltool.training.devices import distribution
from tltool.training.events import EventLog, Listener
from tltool.training.forecast import forecast
from tltool.training.holding import holding
from tltool.training.interrupts import terminable
from tltool.training.joined import joined_table
from tltool.training.mlflow_log import MLflowLog
from tltool.training.probe import probe_spec
from tltool.training.request import Request, read_request
from tltool.training.run_folder import RunFolder, logging_to
from tltool.training.search import check_searchable
from tltool.training.selection import check_trainable
from tltool.training.tensorboard import TensorBoardLog
from tltool.training.train import train
from tltool.training.train_joined import train_joined
from tltool.training.turns import turn
from tltool.training.versions import versions

MAIN_SCORES = ("top1", "mean_average_precision")  # what a list of runs shows: the one or the other
PROBES = ("linear-probe", "stage-probe")  # the recipes that cross-validation can try before anything is decided
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)
BACKBONE_KEYS = ("backbone", "weights", "image_size", "fit")


def carry_out(folder: RunFolder, listener: Listener | None) -> Run:
    """Does what the run was asked for, from wherever it stands, when it is its turn; it is held all the while.

    Args:
        folder: With the request and the data set's index.
        listener: Called with each event.

    Raises:
        KeyboardInterrupt, StoppedError: where it can be resumed.
        TltoolError: if it cannot be carried out.
    """
    request = read_request(folder.request)
    with holding(folder) as spent, terminable(), ExitStack() as context:
        loggers = [TensorBoardLog(folder.tensorboard)]
        if request.mlflow:
            loggers.append(MLflowLog(request.mlflow, folder))
        events = context.enter_context(closing(EventLog(folder.events, *loggers, listener)))
        start = time.monotonic()
        try:
            with _stopping_on_full_disks(folder), logging_to(folder.log), turn(folder, events.note), distribution():
                start = time.monotonic()  # waiting for others is no work
                folder.write_state(working_since=time.time())
                deadline = None if request.budget is None else start + request.budget - spent
                if not folder.metrics.exists():  # else it was stopped in its very last moment
                    _fit(folder, request, events, deadline, start - spent)
                _write_report(folder, events)
                _finish(folder, events)
        except BaseException as error:
            # What is refused, such as a checkpoint of another backend, can be put right.
            stopped = isinstance(error, KeyboardInterrupt | StoppedError | RunError)
            if isinstance(error, KeyboardInterrupt):
                events.note(f"Stopped. `tltool resume {folder.path}` goes on from here.")
            asked = "somebody asked it to stop" if isinstance(error, KeyboardInterrupt) else type(error).__name__
            state, reason = "stopped" if stopped else "failed", str(error) or asked
            with suppress(OSError, TltoolError):  # a full disk must not hide what went wrong
                spent += time.monotonic() - start
                folder.write_state(state=state, reason=reason, spent=spent, working_since=None)
            events.emit("end", state=state, reason=str(error))
            raise
    return Run(folder)


@contextmanager
def _stopping_on_full_disks(folder: RunFolder) -> Iterator[None]:
    """What cannot be written ends the run where it can be resumed."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        place = error.filename or folder.path
        raise StoppedError(
            f"{place}: cannot be written ({error.strerror}). Make room, or the folder writable, then "
            f"`tltool resume {folder.path}`."
        ) from None


def _fit(folder: RunFolder, request: Request, events: EventLog, deadline: float | None, start: float) -> None:
    data, settings, seed = load_index(folder.data), request.settings, request.seed
    # What must be known before the table is read: through what to look, and what to read off it.
    chosen = None if request.recipe is None else check_recipe(tomllib.loads(request.recipe), folder.request.name)
    if folder.probe.exists():  # decided, and solved: what is left is fine-tuning
        chosen = load_recipe(folder.recipe)
    first = chosen or load_recipe("linear-probe", settings_of((*BACKBONE_KEYS, "head.pooling"), settings))
    if first.backbone == AUTO:
        picked = {"backbone": _settle_backbone(first, folder, data, seed, events)}
        first, chosen = first.model_copy(update=picked), chosen and chosen.model_copy(update=picked)
        settings = (*settings, f"backbone={picked['backbone']}")
    if chosen:
        first = chosen = _settle_size(chosen, data, seed, events)
        if chosen.members != "none":
            fit_members(folder, chosen, data, seed, events, deadline, _fit_member)
            folder.write_state(recipe=chosen.name)
            return
    events.emit("stage", text=f"Loading {first.backbone}")
    backbone = backbone_of(first)
    others = [_load(first, name) for name in first.joined[1:]]
    names, licences = ([getattr(each, key) for each in (backbone, *others)] for key in ("name", "licence"))
    about = {"backbone": ", ".join(names), "licence_of_weights": ", ".join(dict.fromkeys(licences))}
    write_json(folder.versions, versions() | about)
    if chosen:
        probe_spec(chosen, backbone, others)  # a stage that the backbone lacks is told before any work
        for stage in chosen.stages:
            check_trainable(backbone, stage.trainable)
    events.emit("stage", text=f"Reading {len(data)} pictures")
    checkup, features = read_set(data, backbone, events.report, extra_poolings(first.head.pooling))
    data = checkup.data
    for problem in data.problems:
        events.note(f"Left out: {problem}")
    for note in data.notes:
        events.note(note)
    baselines: tuple[Baseline, ...] = ()
    if folder.probe.exists():
        recipe = chosen
    else:
        write_json(folder.data, data.to_json())
        write_json(folder.seen, [features.keys[i] for i in data.indices("train", "valid")])
        recipe, baselines = _decide(folder, settings, seed, chosen, checkup, features, backbone, events)
        if request.searching:
            check_searchable(recipe)  # the table may have picked a probe
        recipe = _settle_size(recipe, data, seed, events)
        if (recipe.size_in_pixels or backbone.image_size) != backbone.image_size:
            events.emit("stage", text=f"Reading {len(data)} pictures at {recipe.image_size} pixels")
            backbone = backbone_of(recipe)
            checkup, features = read_set(data, backbone, events.report, extra_poolings(recipe.head.pooling))
            baselines = ()
        write_text(folder.recipe, recipe.to_toml())
        folder.write_state(recipe=recipe.name)
    if deadline is not None and recipe.stages and not request.searching:
        for line in forecast(recipe, backbone, data, deadline - time.monotonic()):
            events.note(line)
    if others:
        features = _join(features, backbone, others, data, recipe, events)
        trained = train_joined(recipe, (backbone, *others), data, features, folder, seed, events)
    else:
        searched = request.searching, request.trials
        trained = train(recipe, backbone, data, features, baselines, folder, seed, events, deadline, *searched)
    write_labels(folder.labels, Labels(data.class_names, trained.threshold))
    certainty = measure_certainty(trained, data, features, seed, folder.path, events.report)
    scores = score_held_out(trained, certainty, checkup, features, folder.path, events.report)
    seconds = time.monotonic() - start
    about = {"recipe": recipe.name, "l2": trained.l2, "seconds": seconds}
    tuning = {} if trained.fine_tuning is None else {"validation": trained.fine_tuning.to_json()}
    write_text(folder.found_recipe, trained.recipe.to_toml())
    write_json(folder.metrics, scores | about | tuning)


def _fit_member(folder: RunFolder, request: Request, events: EventLog, deadline: float | None, start: float) -> None:
    """One of several classifiers; the report is that of the run that they are members of."""
    if not folder.metrics.exists():
        _fit(folder, request, events, deadline, start)
    _finish(folder, events)


def _write_report(folder: RunFolder, events: EventLog) -> None:
    """Writes the page that shows it all; without it the run is no less done."""
    events.emit("stage", text="Writing the report")
    try_to_report(Run(folder), events.report, events.note)


def try_to_report(run: Run, report: Report, say: Callable[[str], None]) -> None:
    """Writes a run's report, or says why there is none."""
    try:
        write_report(run, report)
    except Exception as error:
        logging.getLogger(__name__).exception("No report")
        say(f"The report could not be written ({error}). `tltool report {run.path}` tries again.")


def _finish(folder: RunFolder, events: EventLog) -> None:
    """Says that the run is done, and throws away what only one that is not needs."""
    metrics = json.loads(folder.metrics.read_text("utf-8"))
    main = {name: metrics[name] for name in MAIN_SCORES if name in metrics}
    seconds, pictures = metrics["seconds"], len(load_index(folder.data))
    with suppress(FileNotFoundError):
        folder.found_recipe.replace(folder.recipe)
    events.emit("end", state="done", seconds=seconds, **main)
    folder.write_state(state="done", reason=None, pictures=pictures, seconds=seconds, **main)
    # After the state: killed in between, a run that has its checkpoints is resumed from its last step.
    for unneeded in (folder.checkpoints, folder.scratch):
        shutil.rmtree(unneeded, ignore_errors=True)


def _decide(
    folder: RunFolder,
    settings: Sequence[str],
    seed: int,
    chosen: Recipe | None,
    checkup: Checkup,
    features: FeatureTable,
    backbone: Backbone,
    events: EventLog,
) -> tuple[Recipe, tuple[Baseline, ...]]:
    """Inspects, reads the table, and fills in what the recipe leaves to the decision."""
    data = checkup.data
    facts = inspect_features(checkup, features, backbone, seed, events.report)
    for finding in facts.health.findings:
        if finding.severity == "error":
            events.note(f"The doctor: {finding.message} {finding.fix}")
    decision = decide(facts)
    recipe = chosen or load_recipe(decision.recipe, settings)
    if recipe.leaves_augmentation:
        # Flipped pictures take the backbone seconds, and a probe without views has no use for the answer.
        symmetry = measure_symmetry(backbone, data, features, facts.baselines, seed, events.report)
        facts = replace(facts, symmetry=symmetry)
        decision = decide(facts)
    write_json(folder.inspection, facts.to_json())
    write_json(folder.decision, decision.to_json() | {"used": recipe.name})
    events.emit("decision", used=recipe.name, **decision.to_json())
    return filled_in(recipe, decision), facts.baselines


def filled_in(recipe: Recipe, decision: Decision) -> Recipe:
    return recipe.with_augmentation(decision.augmentation).with_trainable(decision.diverging)


def _settle_backbone(recipe: Recipe, folder: RunFolder, data: Dataset, seed: int, events: EventLog) -> str:
    """The backbone that suits the pictures; a run that is resumed has chosen already."""
    if not folder.ranking.exists():
        events.emit("stage", text="Ranking backbones")
        write_json(folder.ranking, rank(data, recipe, seed, events.report).to_json())
    ranking = read_ranking(folder.ranking)
    events.note(f"Backbone {ranking.reason}")
    return ranking.pick


def rank(
    data: Dataset, recipe: Recipe, seed: int, report: Report = silent, names: Sequence[str] | None = None
) -> Ranking:
    """Ranks backbones for the size and framing that a recipe has; all that need no network where None are named."""
    head = recipe.head
    probe = ProbeSpec(recipe.name, (), head.pooling, head.strengths, head.folds, head.shuffles)
    looking = {"image_size": recipe.size_in_pixels, "fit": recipe.fit}
    return rank_backbones(data, names or offline_names(), probe, seed=seed, report=report, **looking)


def _settle_size(recipe: Recipe, data: Dataset, seed: int, events: EventLog) -> Recipe:
    """The recipe with the size of its pictures, where it leaves that to them."""
    if recipe.image_size != AUTO:
        return recipe
    pixels, reason = pick_image_size(typical_side(data, seed), native_image_size(recipe.backbone))
    events.note(reason)
    return recipe.model_copy(update={"image_size": pixels})


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


def settings_of(keys: Sequence[str], settings: Sequence[str]) -> list[str]:
    return [setting for setting in settings if setting.partition("=")[0].strip() in keys]


def backbone_of(recipe: Recipe) -> Backbone:
    return _load(recipe, recipe.backbone)


def _load(recipe: Recipe, name: str) -> Backbone:
    return load_backbone(name, recipe.weights, recipe.size_in_pixels, recipe.fit)


def _join(
    features: FeatureTable,
    backbone: Backbone,
    others: Sequence[Backbone],
    data: Dataset,
    recipe: Recipe,
    events: EventLog,
) -> FeatureTable:
    """The features of the first backbone with those of the others beside them."""
    tables = {backbone.name: features}
    for other in others:
        events.emit("stage", text=f"Reading {len(data)} pictures through {other.name}")
        given = data.root, data.files, events.report, features.keys
        table = extract(other, *given, extra=extra_poolings(recipe.head.pooling))
        _require_whole(table, data)
        tables[other.name] = table
    return joined_table(tables)


def read_set(
    data: Dataset, backbone: Backbone, report: Report, extra: Sequence[str] = ()
) -> tuple[Checkup, FeatureTable]:
    """Looks at every picture and takes its features; row i is picture i."""
    checkup = check_up(data, backbone.framing, report)
    features = extract(backbone, checkup.data.root, checkup.data.files, report, checkup.scan.keys, extra=extra)
    _require_whole(features, data)
    return checkup, features


def _require_whole(features: FeatureTable, data: Dataset) -> None:
    if features.problems:
        raise DataError(f"{data.source}: changed while it was being read: {features.problems[0]}. Start again.")


def inspect_features(
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
