"""Chains the stages: source -> data set -> inspection -> decision -> recipe -> run -> evaluation -> bundle.

The command line, the app and the public functions all call this module; `carry_out` is its half that works in a run's
folder. No other one chains stages.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tltool.augment.grid import preview as preview_grid
from tltool.augment.policies import Policy, read_policy
from tltool.backbones.registry import native_image_size
from tltool.carry_out import (
    BACKBONE_KEYS,
    backbone_of,
    carry_out,
    filled_in,
    inspect_features,
    rank,
    read_set,
    settings_of,
    try_to_report,
)
from tltool.data import Dataset, load_dataset
from tltool.data.batches import read_batches
from tltool.data.decoding import Framing
from tltool.decision import Decision, decide
from tltool.doctor.by_features import diagnose_features
from tltool.doctor.diagnosis import Diagnosis, examine_files
from tltool.doctor.findings import by_severity
from tltool.ensembles.ensemble import Ensemble
from tltool.ensembles.of_runs import Kind, put_together
from tltool.ensembles.soup_of_runs import Soup
from tltool.errors import DataError, RecipeError, TltoolError
from tltool.features.extract import extract
from tltool.inspection.files import inspect_files
from tltool.inspection.inspection import Inspection
from tltool.inspection.ranking import Ranking
from tltool.inspection.symmetry import measure_symmetry
from tltool.progress import Report, silent
from tltool.recipe_parts import AUTO, leaves_policy, with_policy
from tltool.recipes import Recipe, load_recipe
from tltool.run import Run
from tltool.training.events import Listener
from tltool.training.new_run import new_run, recipe_of
from tltool.training.run_folder import RunFolder
from tltool.training.search import check_searchable

TUNING_BUDGET = 1800.0  # seconds


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
    chosen = _settled(data, chosen, seed, report)
    backbone = backbone_of(load_recipe("linear-probe", chosen))
    checkup, table = read_set(data, backbone, report)
    facts = inspect_features(checkup, table, backbone, seed, report, tuple(chosen))
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
    # Whatever suits the pictures best, what is wrong with them is told as well by the usual one.
    chosen = [setting for setting in _inspection_settings(settings) if not _leaves_backbone(setting)]
    data = data if isinstance(data, Dataset) else load_dataset(data, seed, trainable=False, report=report)
    if not features:
        return examine_files(data, report=report)
    backbone = backbone_of(load_recipe("linear-probe", chosen))
    diagnosis = examine_files(data, backbone.framing, report)
    seen, scan = diagnosis.checkup.data, diagnosis.checkup.scan
    table = extract(backbone, seen.root, seen.files, report, scan.keys)
    findings = (*diagnosis.findings, *diagnose_features(seen, table, seed, report))
    return replace(diagnosis, findings=by_severity(findings))


def _settled(data: Dataset, settings: list[str], seed: int, report: Report) -> list[str]:
    """The settings with a backbone's name where they leave it to the pictures."""
    if not any(map(_leaves_backbone, settings)):
        return settings
    named = [setting for setting in settings if not _leaves_backbone(setting)]
    recipe = load_recipe("linear-probe", settings)
    return [*named, f"backbone={rank(data, recipe, seed, report).pick}"]


def _leaves_backbone(setting: str) -> bool:
    key, _, value = setting.partition("=")
    return (key.strip(), value.strip(" \"'")) == ("backbone", AUTO)


def _inspection_settings(settings: Sequence[str]) -> list[str]:
    chosen = _backbone_settings(settings)
    if len(chosen) < len(settings):
        raise RecipeError(f"An inspection can be told {', '.join(BACKBONE_KEYS)}; other settings are for a fit.")
    return chosen


def recommend(facts: Inspection) -> Plan:
    """Reads the table for these facts and loads the recipe that it (or the evidence) names.

    Raises:
        DataError: if the facts are from an inspection without features.
    """
    decision = decide(facts)
    return Plan(decision, filled_in(load_recipe(decision.recipe, facts.settings), decision))


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
    chosen = recipe_of(recipe, settings)
    framed = chosen or load_recipe("linear-probe", _backbone_settings(settings))
    if framed.backbone == AUTO:
        framed = framed.model_copy(update={"backbone": rank(data, framed, seed, report).pick})
    wanted, reasons = (AUTO if chosen is None else chosen.augmentation), ()
    if given is None and leaves_policy(wanted):
        backbone_settings = [f"{key}={getattr(framed, key)}" for key in BACKBONE_KEYS]
        decision = decide(inspect(data, seed=seed, settings=backbone_settings, report=report))
        wanted, reasons = with_policy(wanted, decision.augmentation), (decision.reasons[-1],)
    given = read_policy(wanted) if given is None else given
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


def rank_backbones(
    data: Dataset | str | Path,
    names: Sequence[str] | None = None,
    *,
    seed: int = 0,
    settings: Sequence[str] = (),
    report: Report = silent,
) -> Ranking:
    """Ranks backbones by a cross-validated probe and by LogME; held-out pictures are not looked at.

    Args:
        data: A data set, or what `load_dataset` takes.
        names: Of backbones; all whose weights are on this machine where None. Keras downloads those of others.
        seed: Of the split (where `data` is not split yet), the sample and the folds.
        settings: `image_size=...` or `fit=...`.
        report: Told how far each task is.

    Raises:
        TltoolError: if the data, a name or the settings cannot be used.
    """
    others = len(settings) - len(settings_of(("image_size", "fit"), settings))
    if others:
        raise RecipeError("A ranking can be told image_size and fit; other settings are for a fit.")
    return rank(_as_dataset(data, seed), load_recipe("linear-probe", settings), seed, report, names)


def fit(
    data: Dataset | str | Path,
    recipe: str | Path | Recipe | None = None,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
    budget: float | None = None,
    mlflow: str | None = None,
    listener: Listener | None = None,
) -> Run:
    """Trains a classifier and writes everything about it into a run folder.

    Of the runs that one machine is given at a time, each waits for those before it.

    Args:
        data: A data set, or what `load_dataset` takes.
        recipe: A shipped recipe's name, a TOML file, or a `Recipe`; None to let the table decide.
        out: The run's folder, new or empty; `runs/NAME-N` where None.
        seed: Of the split (where `data` is not split yet), the folds and the order of the pictures.
        settings: Changes to the recipe such as "head.folds=3".
        budget: Seconds that the whole call may take. Probes take what they take; fine-tuning is shortened to fit.
        mlflow: Address of an MLflow tracking server, or a folder, that the run is logged to as well.
        listener: Called with each event as it is written.

    Returns:
        The run, done and scored on the pictures that were held out.

    Raises:
        TltoolError: if the data, the recipe or the folder cannot be used; nothing of the user's is changed.
        KeyboardInterrupt: if it was asked to stop; `resume` goes on from there.
    """
    data = _as_dataset(data, seed)
    folder = new_run(data, recipe, out=out, seed=seed, settings=settings, budget=budget, mlflow=mlflow)
    return carry_out(folder, listener)


def tune(
    data: Dataset | str | Path,
    recipe: str | Path | Recipe | None = None,
    *,
    budget: float = TUNING_BUDGET,
    trials: int | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
    mlflow: str | None = None,
    listener: Listener | None = None,
) -> Run:
    """Searches a recipe's rate, layer decay, depth and strength of augmentation, and keeps the best classifier.

    Arguments are those of `fit`, and:

    Args:
        budget: Seconds that the whole call may take.
        trials: Sets of numbers to try, at most; None for as many as there is time for.

    Returns:
        A run like that of `fit`; its recipe has the best numbers.

    Raises:
        RecipeError: if the recipe has no stage of fine-tuning.
        TltoolError: as `fit`, or if Optuna is missing.
    """
    data = _as_dataset(data, seed)
    chosen = recipe_of(recipe, settings)
    if chosen is not None:
        check_searchable(chosen)
    asked = {"out": out, "seed": seed, "settings": settings, "budget": budget, "mlflow": mlflow}
    folder = new_run(data, recipe, **asked, searching=True, trials=trials)
    return carry_out(folder, listener)


def ensemble(
    runs: Sequence[Run | str | Path],
    *,
    kind: Kind = "average",
    out: str | Path | None = None,
    report: Report = silent,
) -> Ensemble | Soup:
    """Makes one model of finished runs, in a run folder of its own, with a report.

    Args:
        runs: Two or more, or their folders; they are left as they are.
        kind: "average" for the mean of their probabilities: of any runs with the same classes. "soup" for the mean of
            the weights of fine-tuned runs that share a start, each added only as far as it helps: as small and fast
            as one of them.
        out: The new run's folder, new or empty; `runs/ensemble-N` or `runs/soup-N` where None.
        report: Told how many pictures are done.

    Raises:
        TltoolError: if runs cannot be put together, no picture is left to score them on, or the folder is taken.
    """
    if isinstance(runs, (str, Path)):
        raise TltoolError(f"{runs}: one run alone. Give a list of two or more.")
    made = put_together(runs, kind=kind, out=out, report=report)
    try_to_report(made.run, report, logging.getLogger(__name__).warning)
    return made


def resume(run: str | Path, *, listener: Listener | None = None) -> Run:
    """Goes on with a run that was stopped, interrupted or killed, and ends as if it had not been.

    Args:
        run: Its folder.
        listener: Called with each event as it is written.

    Raises:
        RunError: if there is no such run, it is done, another process works on it, or its checkpoints were written
            for another recipe, backbone or data set.
        TltoolError: as `fit`.
    """
    folder = RunFolder(Path(run))
    folder.require_unfinished()
    return carry_out(folder, listener)


def _as_dataset(data: Dataset | str | Path, seed: int) -> Dataset:
    return data if isinstance(data, Dataset) else load_dataset(data, seed)


def _backbone_settings(settings: Sequence[str]) -> list[str]:
    return settings_of(BACKBONE_KEYS, settings)
