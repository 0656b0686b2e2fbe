"""Whether the model's probabilities can be believed, and how its answers trade one fault for the other."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tltool.doctor.markup import Markup, tag
from tltool.evaluation.calibration import Reliability, chance_errors, reliability
from tltool.evaluation.curves import Curve, trace_curves
from tltool.report.answers import Answers
from tltool.report.charts import COLOURS, SHARE, Axis, Line, bar, chart, dot
from tltool.report.evidence import Evidence
from tltool.report.words import number, share

USUAL = 0.95  # as for the intervals
CURVES_UP_TO = COLOURS  # classes with a curve of their own; of more only that of all together
CONFIDENCE, ACCURACY = replace(SHARE, title="confidence"), replace(SHARE, title="came true")


def trust_section(evidence: Evidence, answers: Answers) -> Markup:
    """The reliability diagram, and what else is known of the certainty."""
    found = reliability(answers.prob, answers.labels)
    return tag(
        "section",
        tag("h2", "Can its probabilities be believed?"),
        tag(
            "div",
            tag("p", verdict(found, by_chance(answers))),
            *(tag("p", line) for line in certainty_in_words(evidence)),
            tag("div", _diagram(found), _histogram(found), class_="plots"),
            class_="card",
        ),
        id="trust",
    )


def by_chance(answers: Answers) -> float:
    """The calibration error that 19 of 20 sets of as many pictures stay below if nothing is wrong, [0, 1]."""
    several = answers.labels.ndim == 2
    confidence = answers.prob.ravel() if several else answers.prob.max(axis=1)
    return float(np.quantile(chance_errors(confidence.astype(np.float64)), USUAL))


def verdict(found: Reliability, chance: float) -> str:
    """Whether the diagram speaks against the probabilities, in a sentence or two."""
    error = found.expected_calibration_error
    shown = f"On average, confidence and frequency differ by {share(error)}"
    if error <= chance:
        return f"{shown}; with so few pictures up to {share(chance)} is chance, so nothing speaks against them."
    filled = [(n, s - t) for n, s, t in zip(found.counts, found.confidence, found.accuracy, strict=True) if n]
    leaning = sum(n * gap for n, gap in filled) / sum(n for n, _ in filled)
    side = "It is surer of itself than it may be." if leaning > 0 else "It is less sure of itself than it might be."
    return f"{shown}; up to {share(chance)} would be chance. {side}"


def certainty_in_words(evidence: Evidence) -> list[str]:
    """The temperature, and how sets of classes and "I do not know" did; nothing of a run that has none."""
    found, scores = evidence.certainty, evidence.run.certainty_scores
    if found is None:
        return []
    lines = [_sentence(str(found.temperature))]
    if scores.covered is not None:
        lines.append(
            f"Sets of classes that shall hold the right one in {share(scores.coverage, 0)} of the cases held it in "
            f"{share(scores.covered)} of the held-out pictures, with {number(scores.set_size, 2)} classes on average."
        )
    elif isinstance(found.sets, str):
        lines.append(_sentence(f"no sets of classes: {found.sets}"))
    if scores.known is not None:
        lines.append(f"{share(scores.known)} of the held-out pictures count as known; of any other kind few should.")
    elif isinstance(found.novelty, str):
        lines.append(_sentence(f"it cannot say that it does not know a picture: {found.novelty}"))
    return lines


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."


def _diagram(found: Reliability) -> Markup:
    bars, dots, most = [], [], max(found.counts)
    for low, high, said, true, count in zip(
        found.edges, found.edges[1:], found.confidence, found.accuracy, found.counts, strict=False
    ):
        if count:
            title = f"said {share(said)}, true {share(true)}, {count} times"
            bars.append(bar(CONFIDENCE, ACCURACY, (low + 0.004, 0), (high - 0.004, true), "bin", title))
            # By area: a bin of three pictures must not weigh as much to the eye as one of a hundred.
            dots.append(dot(CONFIDENCE, ACCURACY, (said, true), 2 + 8 * (count / most) ** 0.5, title))
    lines = [Line("as it should be", [(0, 0), (1, 1)], 7, dashed=True)]
    what = "Reliability: how often what is said with some confidence comes true"
    drawn = chart(what, CONFIDENCE, ACCURACY, lines, [*bars, *dots])
    return tag("div", drawn, tag("p", "The larger the dot, the more answers.", class_="quiet"))


def _histogram(found: Reliability) -> Markup:
    total = sum(found.counts)
    most = max(found.counts) / total
    top = next(limit for limit in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0) if limit >= most - 1e-9)
    ticks = [top * part / 4 for part in range(5)]
    y = Axis("share of the answers", 0.0, top, ticks, lambda value: f"{100 * value:g}%")
    bars = [
        bar(CONFIDENCE, y, (low + 0.004, 0), (high - 0.004, count / total), "bin", f"{count} of {total}")
        for low, high, count in zip(found.edges, found.edges[1:], found.counts, strict=False)
    ]
    return chart("How often each confidence is said", CONFIDENCE, y, [], bars)


def curves_section(answers: Answers) -> Markup | None:
    """ROC and precision-recall curves; None where no class tells two kinds of pictures apart."""
    found = trace_curves(answers.prob, answers.labels, answers.data.class_names)
    if not found.roc:
        return None
    names = answers.data.class_names
    of_classes = len(names) <= CURVES_UP_TO
    if len(names) == 2 and answers.labels.ndim == 1:
        # The other class's curve is the same, read from the other end.
        roc, recalls = found.roc[:1], found.precision_recall
    else:
        roc = found.roc if of_classes else (found.roc_micro,)
        recalls = found.precision_recall if of_classes else (found.precision_recall_micro,)
    words = None if of_classes else f"All decisions on the {len(names)} classes together."
    return tag(
        "section",
        tag("h2", "Trade-offs"),
        tag(
            "div",
            tag("p", "Each class against the rest, over all thresholds. Beside the names: the area under the curve."),
            tag("p", words, class_="quiet") if words else None,
            tag(
                "div",
                _curves("ROC curves", "false alarms", "found", roc, names, [(0, 0), (1, 1)]),
                _curves("Precision-recall curves", "found (recall)", "right (precision)", recalls, names, []),
                class_="plots",
            ),
            class_="card",
        ),
        id="curves",
    )


def _curves(
    what: str, across: str, up: str, curves: Sequence[Curve], names: Sequence[str], chance: list[tuple[float, float]]
) -> Markup:
    x, y = replace(SHARE, title=across), replace(SHARE, title=up)
    lines = [Line("", chance, 7, dashed=True)] if chance else []
    for curve in curves:
        colour = names.index(curve.name) if curve.name in names else 0
        lines.append(Line(f"{curve.name} {curve.area:.3f}", list(zip(curve.x, curve.y, strict=True)), colour))
    return tag("div", tag("h3", what), chart(what, x, y, lines))
