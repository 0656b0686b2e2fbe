"""How training went: the curves of fine-tuning, or the ridge of a probe."""

from itertools import pairwise
from typing import Any

from tltool.doctor.markup import Markup, tag
from tltool.report.charts import Axis, Line, at, chart, mark, nice_axis
from tltool.report.evidence import Evidence
from tltool.report.words import duration, number
from tltool.training.events import Event


def training_section(evidence: Evidence) -> Markup | None:
    """None where nothing is known of it."""
    tuning = evidence.run.tuning
    words = [str(tuning)] if tuning is not None else []
    if evidence.scores.get("l2") is not None:
        words.append(f"Ridge strength of the linear head, by cross-validation: {evidence.scores['l2']:g}.")
    if evidence.scores.get("seconds") is not None:
        words.append(f"All of it took {duration(evidence.scores['seconds'])}.")
    epochs = [event for event in evidence.epochs if event["loss"] is not None and event["valid_log_loss"] is not None]
    plots = []
    if epochs:
        plots.append(_losses(epochs, _probe_level(evidence)))
    ridge = _ridge(evidence)
    if ridge:
        plots.append(ridge)
    if not words and not plots:
        return None
    told = tag("div", *(tag("p", line) for line in words))
    return tag("section", tag("h2", "Training"), tag("div", told, *plots, class_="card columns"), id="training")


def _probe_level(evidence: Evidence) -> float | None:
    """The probe's validation log loss, where that is what was chosen by."""
    tuning = evidence.run.tuning
    return tuning.probe if tuning is not None and tuning.choose_by == "log_loss" else None


def _losses(epochs: list[Event], probe: float | None) -> Markup:
    numbers = range(1, len(epochs) + 1)
    train = [(float(n), event["loss"]) for n, event in zip(numbers, epochs, strict=True)]
    valid = [(float(n), event["valid_log_loss"]) for n, event in zip(numbers, epochs, strict=True)]
    values = [value for _, value in (*train, *valid)] + ([probe] if probe is not None else [])
    x = _epoch_axis(len(epochs))
    y = nice_axis("loss (lower is better)", values)
    lines = []
    if probe is not None:
        lines.append(Line("the probe it started from", [(x.low, probe), (x.high, probe)], 7, dashed=True))
    lines += [Line("training pictures", train, 1, dots=True), Line("validation pictures", valid, 0, dots=True)]
    best = min(range(len(epochs)), key=lambda position: _score(epochs[position]))
    extra = [mark(x, y, valid[best], "best epoch"), *_borders(epochs, x, y)]
    return tag("div", tag("h3", "Fine-tuning"), chart("Loss by epoch of fine-tuning", x, y, lines, extra))


def _score(event: Event) -> float:
    score: Any = event.get("score")
    return event["valid_log_loss"] if score is None else score


def _epoch_axis(count: int) -> Axis:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000, count) if count / step <= 10)
    return Axis("epoch", 0.5, count + 0.5, list(range(step if step > 1 else 1, count + 1, step)))


def _borders(epochs: list[Event], x: Axis, y: Axis) -> list[Markup]:
    """Dotted lines between the stages of fine-tuning."""
    parts = []
    for number_of, (before, after) in enumerate(pairwise(epochs), start=1):
        if before["stage"] != after["stage"]:
            across, bottom = at(x, y, (number_of + 0.5, y.low))
            _, top = at(x, y, (number_of + 0.5, y.high))
            place = {"x1": f"{across:.1f}", "x2": f"{across:.1f}", "y1": f"{bottom:.1f}", "y2": f"{top:.1f}"}
            parts.append(tag("line", **place, class_="border"))
            parts.append(tag("text", after["stage"], x=f"{across + 4:.1f}", y=f"{top + 10:.1f}", class_="mark"))
    return parts


def _ridge(evidence: Evidence) -> Markup | None:
    """Cross-validated log loss over the strength of the ridge, of the recipe that was used."""
    baselines = (evidence.inspection or {}).get("baselines") or []
    found = next((each for each in baselines if each.get("recipe") == evidence.recipe_name), None)
    path = sorted((found or {}).get("path") or [])
    if len(path) < 2:
        return None
    # At even distances: strengths are a geometric series, give or take a rounding.
    strengths = [row[0] for row in path]
    ticks = range(0, len(path), 1 + (len(path) - 1) // 8)
    x = Axis("ridge strength", 0.0, len(path) - 1.0, list(ticks), lambda place: f"{strengths[int(place)]:g}")
    points = [(float(place), row[1]) for place, row in enumerate(path)]
    y = nice_axis("log loss, cross-validated", [value for _, value in points])
    best = min(points, key=lambda point: point[1])
    extra = [mark(x, y, best, f"{strengths[int(best[0])]:g}: {number(best[1])}")]
    line = Line("", points, 0, dots=True)
    return tag("div", tag("h3", "How strong a ridge"), chart("Log loss by ridge strength", x, y, [line], extra))
