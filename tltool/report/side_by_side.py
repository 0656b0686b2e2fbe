"""Finished runs next to each other: their scores on the same pictures, what differs, and whether one is better."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tltool.ensembles.agreeing import check_agreeing
from tltool.ensembles.common_pictures import CommonPictures, held_out_by_all
from tltool.errors import RunError
from tltool.evaluation.comparison import Comparison, compare
from tltool.evaluation.evaluate import score_any
from tltool.evaluation.inference import classify
from tltool.evaluation.metrics import Metrics
from tltool.evaluation.multi_label import MultiLabelMetrics
from tltool.progress import Report, silent
from tltool.report.answers import answers_of
from tltool.run import Run

UNTOLD = ("summary",)  # keys of a recipe that decide nothing
ABSENT = "-"


@dataclass(frozen=True)
class Side:
    """One run.

    Attributes:
        name: The folder's, or the whole path where two are called the same.
        path: Of the folder.
        recipe: Its name.
        metrics: On the pictures that all runs held out.
        seconds: That it took to train; None where it does not say.
        size: Of the model, bytes.
    """

    name: str
    path: str
    recipe: str
    metrics: Metrics | MultiLabelMetrics
    seconds: float | None
    size: int

    @property
    def score(self) -> float:
        """Top-1; of a multi-label model the mean average precision."""
        return self.metrics.top1 if isinstance(self.metrics, Metrics) else self.metrics.mean_average_precision

    def to_json(self) -> dict[str, Any]:
        about = {"name": self.name, "path": self.path, "recipe": self.recipe}
        return about | {"seconds": self.seconds, "model_bytes": self.size, "metrics": self.metrics.to_json()}


@dataclass(frozen=True)
class SideBySide:
    """All of them.

    Attributes:
        sides: In the order given.
        best: Position of the one with the highest score; of equals that with the lower log loss.
        pictures: That all were scored on: held out by every run.
        held_out: That the first run held out.
        differences: By key of the recipe, the value of each run as text; only keys that differ.
        comparisons: The best one with each of the others, in their order.
    """

    sides: tuple[Side, ...]
    best: int
    pictures: int
    held_out: int
    differences: dict[str, tuple[str, ...]]
    comparisons: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "runs": [side.to_json() for side in self.sides],
            "best": self.sides[self.best].name,
            "pictures": self.pictures,
            "differences": {key: list(values) for key, values in self.differences.items()},
            "comparisons": [found.to_json() | {"in_words": str(found)} for found in self.comparisons],
        }

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Each comparison in words; of several, with the names of the two, which a sentence may leave out."""
        if len(self.comparisons) == 1:
            return (str(self.comparisons[0]),)
        return tuple(f"{found.names[1]} and {found.names[0]}: {found}" for found in self.comparisons)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to keep in mind."""
        found = []
        if self.pictures < self.held_out:
            left_out = self.held_out - self.pictures
            found.append(
                f"{left_out} pictures are left out: another run has learned from them, or they cannot be read."
            )
        if len(self.comparisons) > 1:
            found.append(
                f"The best of {len(self.sides)} runs is partly the luckiest: a difference that stands out among "
                f"{len(self.comparisons)} comparisons is weaker evidence than a single one."
            )
        return tuple(found)


def put_side_by_side(runs: Sequence[Run], report: Report = silent) -> SideBySide:
    """Scores runs on the pictures that all of them held out.

    Args:
        runs: Two or more, done, with the same classes. They are read and left as they are.
        report: Told how many pictures are done.

    Raises:
        RunError: if there are fewer than two, one comes twice or is not done, their classes differ, or no picture is
            held out by all.
        DataError: if the pictures are gone.
    """
    if len(runs) < 2:
        raise RunError("One run alone cannot be compared. Give two or more; `tltool report RUN` tells of one.")
    check_agreeing(runs)
    common = held_out_by_all(runs)
    common, prob = _asked(runs, common, report)
    names = _names(runs)
    sides = tuple(_side(run, name, values, common) for run, name, values in zip(runs, names, prob, strict=True))
    best = max(range(len(sides)), key=lambda position: (sides[position].score, -sides[position].metrics.log_loss))
    return SideBySide(
        sides=sides,
        best=best,
        pictures=len(common.rows),
        held_out=len(runs[0].data.indices("test")),
        differences=_differences(runs),
        comparisons=tuple(
            _compared(runs, names, prob, common.labels, best, other) for other in range(len(runs)) if other != best
        ),
    )


def _asked(runs: Sequence[Run], common: CommonPictures, report: Report) -> tuple[CommonPictures, np.ndarray]:
    """Probabilities, shape (runs, pictures, C), of the pictures that all can read; kept ones where there are."""
    found: list[dict[str, np.ndarray]] = []
    for run in runs:
        kept = answers_of(run, report)
        known = {} if kept is None else dict(zip(kept.keys, kept.prob, strict=True))
        missing = [place for place, key in enumerate(common.keys) if key not in known]
        if missing:
            rest = common.take(np.array(missing))
            result = classify(run.model, rest.paths, report, rest.keys)
            known |= {rest.keys[index]: values for index, values in zip(result.indices, result.values, strict=True)}
        found.append(known)
    places = [place for place, key in enumerate(common.keys) if all(key in known for known in found)]
    if not places:
        raise RunError(f"{runs[0].path}: none of its held-out pictures can be read any more. Put them back.")
    common = common.take(np.array(places))
    return common, np.array([[known[key] for key in common.keys] for known in found])


def _names(runs: Sequence[Run]) -> list[str]:
    short = [run.path.resolve().name for run in runs]
    return [name if short.count(name) == 1 else str(run.path) for name, run in zip(short, runs, strict=True)]


def _side(run: Run, name: str, prob: np.ndarray, common: CommonPictures) -> Side:
    scores = json.loads(run.folder.metrics.read_text("utf-8"))
    return Side(
        name=name,
        path=str(run.path),
        recipe=scores.get("recipe") or ABSENT,
        metrics=score_any(prob, common.labels, run.class_names, run.labels.threshold),
        seconds=scores.get("seconds"),
        size=run.folder.model.stat().st_size,
    )


def _compared(
    runs: Sequence[Run], names: Sequence[str], prob: np.ndarray, labels: np.ndarray, best: int, other: int
) -> Comparison:
    thresholds = None
    if runs[best].labels.threshold is not None:
        thresholds = runs[other].labels.threshold, runs[best].labels.threshold
    return compare(prob[other], prob[best], labels, (names[other], names[best]), thresholds)


def _differences(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    recipes = []
    for run in runs:
        values: Mapping[str, Any] = {}
        with suppress(OSError, ValueError):  # a run that was made of others has none
            values = tomllib.loads(run.folder.recipe.read_text("utf-8"))
        recipes.append({key: value for key, value in _flat(values).items() if key not in UNTOLD})
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    rows = {key: tuple(recipe.get(key, ABSENT) for recipe in recipes) for key in keys}
    # A run that was made of others has no recipe that could differ.
    having = [number for number, recipe in enumerate(recipes) if recipe]
    differing = {
        key: values for key, values in rows.items() if any(values[a] != values[b] for a, b in pairwise(having))
    }
    # Of a stage that one of them lacks, its name says enough: none of its two dozen keys has anything to differ from.
    alone = [f"{key.removesuffix('name')}" for key, values in differing.items() if key.endswith(".name")]
    return {
        key: values
        for key, values in differing.items()
        if key.endswith(".name") or not any(key.startswith(stage) for stage in alone)
    }


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Dotted keys, and values as text; stages go by their names, as in `--set`."""
    found = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value, start=1):
                found |= _flat(item, f"{before}{key}.{item.get('name', number)}.")
        elif isinstance(value, list):
            found[f"{before}{key}"] = ", ".join(map(str, value)) or ABSENT
        else:
            found[f"{before}{key}"] = str(value)
    return found
