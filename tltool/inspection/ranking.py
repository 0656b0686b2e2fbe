"""Which backbone suits some pictures: those whose weights are on this machine, cross-validated on the same pictures."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.backbones import Backbone, load_backbone
from tltool.backbones.registry import native_image_size
from tltool.data import Dataset
from tltool.data.decoding import Fit
from tltool.errors import DataError, RunError, TltoolError
from tltool.features.engine import ENGINE_BATCH, load_engine
from tltool.features.extract import extract
from tltool.features.reading import FEATURES, reading_model
from tltool.inspection.baselines import BASELINE_PICTURES, Baseline, ProbeSpec, compare, measure_baselines
from tltool.inspection.logme import log_evidence
from tltool.progress import Report, silent

# Standard errors within which a backbone counts as good as the best, as Breiman et al., 1984, chose the size of trees.
WITHIN = 1.0
# Of a batch for each backbone in turn; the quickest counts, as other work on the machine only adds, and hits all alike.
ROUNDS = 10


@dataclass(frozen=True)
class Ranked:
    """What one backbone brings.

    Attributes:
        name: In the registry.
        accuracy: Of a linear probe on its last stage, by cross-validation: top-1; of several labels all right.
        accuracy_error: Its standard error, as a fraction.
        log_loss: Of the probe, nats a picture.
        behind: Log loss that the probe has more than the best one's, on the same folds, nats; 0 for the best.
        behind_error: Standard error of that.
        log_evidence: LogME, nats a picture and class.
        milliseconds: A picture takes it on this machine, preprocessing and decoding not counted.
        megabytes: Of its weights up to the last stage, in float32.
        image_size: Height and width of its input, pixels.
    """

    name: str
    accuracy: float
    accuracy_error: float
    log_loss: float
    behind: float
    behind_error: float
    log_evidence: float
    milliseconds: float
    megabytes: float
    image_size: int


@dataclass(frozen=True)
class Ranking:
    """Backbones, the one with the lowest log loss first.

    Attributes:
        pick: The quickest of those that are within a standard error of the best.
        reason: Why, in words.
        pictures: That it was measured on.
        backbones: All that were measured.
        left_out: Why others were not, by name.
    """

    pick: str
    reason: str
    pictures: int
    backbones: tuple[Ranked, ...]
    left_out: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_ranking(path: Path) -> Ranking:
    """What was written of `to_json`.

    Raises:
        RunError: if it cannot be read.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
        return Ranking(**values | {"backbones": tuple(Ranked(**each) for each in values["backbones"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path}: cannot be read ({error}). Delete it, and the backbones are ranked anew.") from None


def rank_backbones(
    data: Dataset,
    names: Sequence[str],
    probe: ProbeSpec,
    *,
    seed: int = 0,
    image_size: int | None = None,
    fit: Fit = "squish",
    report: Report = silent,
) -> Ranking:
    """Measures each backbone on the same training pictures, at most `BASELINE_PICTURES` of them.

    Args:
        data: Its held-out pictures are not looked at.
        names: Of backbones; one whose weights cannot be had is left out, and `left_out` says why.
        probe: How the linear head is chosen; it reads each backbone's last stage.
        seed: Of the sample and the folds, which are the same for all.
        image_size: Of all their inputs, pixels; each one's own where None.
        fit: How pictures become square.
        report: Told how far each task is.

    Raises:
        DataError: if the pictures do not allow it.
        TltoolError: if there is no such backbone, or none can be loaded.
    """
    for name in names:
        native_image_size(name)  # a name that there is not is a slip, and no reason to do without
    rows = data.indices("train", "valid")
    if len(rows) > BASELINE_PICTURES:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:BASELINE_PICTURES])
    files = [data.files[row] for row in rows]
    measured: list[tuple[Backbone, Baseline, float]] = []
    left_out = {}
    for name in dict.fromkeys(names):
        try:
            backbone = load_backbone(name, image_size=image_size, fit=fit)
        except TltoolError as error:
            left_out[name] = str(error)
            continue
        table = extract(backbone, data.root, files, _named(report, name))
        here = rows[table.indices]
        if not len(here):
            first = f", such as {table.problems[0]}" if table.problems else ""
            raise DataError(f"{data.source}: none of the training pictures can be read{first}.")
        labels, groups = data.labels_of(here), data.together_of(here)
        top = backbone.stage_names[-1:]
        spec = ProbeSpec(name, top, probe.pooling, probe.strengths, probe.folds, probe.shuffles)
        given = table, np.arange(len(here)), labels, len(data.class_names), [spec], seed, report, groups
        (baseline,) = measure_baselines(*given)
        measured.append((backbone, baseline, log_evidence(table.select(top, probe.pooling), labels)))
    if not measured:
        raise TltoolError("No backbone can be ranked: " + " ".join(left_out.values()))
    return _ranking(measured, len(measured[0][1].validation.losses), left_out)


def _ranking(measured: list[tuple[Backbone, Baseline, float]], pictures: int, left_out: dict[str, str]) -> Ranking:
    measured = sorted(measured, key=lambda each: each[1].validation.log_loss)
    times = _milliseconds([backbone for backbone, *_ in measured])
    best = measured[0][1]
    ranked = []
    for (backbone, baseline, evidence), milliseconds in zip(measured, times, strict=True):
        gap = compare(baseline, best)
        found = baseline.validation
        ranked.append(
            Ranked(
                name=backbone.name,
                accuracy=found.accuracy,
                accuracy_error=found.accuracy_error,
                log_loss=found.log_loss,
                behind=0.0 if baseline is best else gap.gain,
                behind_error=0.0 if baseline is best else gap.error,
                log_evidence=evidence,
                milliseconds=milliseconds,
                megabytes=_megabytes(backbone),
                image_size=backbone.image_size,
            )
        )
    return Ranking(*_pick(ranked), pictures, tuple(ranked), left_out)


def _pick(ranked: Sequence[Ranked]) -> tuple[str, str]:
    """The quickest within a standard error of the best, and why."""
    first = ranked[0]
    equals = [each for each in ranked if each.behind <= WITHIN * each.behind_error]
    pick = min(equals, key=lambda each: each.milliseconds)
    if len(ranked) == 1:
        return pick.name, f"{pick.name}: the only one that was measured."
    if pick is not first:
        return pick.name, (
            f"{pick.name}: not behind {first.name} beyond a standard error (log loss {pick.behind:+.3f} ± "
            f"{pick.behind_error:.3f}), and it takes {pick.milliseconds / first.milliseconds:.0%} of its time."
        )
    next_one = ranked[1]
    if len(equals) == 1:
        return pick.name, (
            f"{pick.name}: better than {next_one.name} beyond a standard error (log loss {-next_one.behind:+.3f} ± "
            f"{next_one.behind_error:.3f})."
        )
    return pick.name, f"{pick.name}: the best, and the quickest of those within a standard error."


def _milliseconds(backbones: Sequence[Backbone]) -> list[float]:
    """What a picture takes in the engine of each, without decoding."""
    random = np.random.default_rng(0)
    jobs = []
    for backbone in backbones:
        size = backbone.image_size
        pixels = random.integers(0, 256, (ENGINE_BATCH, size, size, 3)).astype(np.float32)
        jobs.append((load_engine(reading_model(backbone), FEATURES), pixels))
    seconds = np.empty((ROUNDS, len(jobs)))
    for number in range(ROUNDS):
        for position, (engine, pixels) in enumerate(jobs):
            start = time.perf_counter()
            engine(pixels)
            seconds[number, position] = time.perf_counter() - start
    return list(seconds.min(axis=0) / ENGINE_BATCH * 1000)


def _megabytes(backbone: Backbone) -> float:
    top = backbone.network.get_layer(backbone.stages[-1].layer).output
    return keras.Model(backbone.network.input, top).count_params() * 4 / 1e6


def _named(report: Report, name: str) -> Report:
    return lambda task, done, total: report(f"{task}, {name}", done, total)
