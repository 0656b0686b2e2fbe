"""How good the model is: the score in words, all scores with their intervals, by class, and the confusion matrix."""

from collections.abc import Sequence

import numpy as np

from tltool.doctor.findings import counted
from tltool.doctor.markup import Markup, tag
from tltool.evaluation.intervals import Interval
from tltool.evaluation.metrics import Metrics
from tltool.evaluation.multi_label import MultiLabelMetrics
from tltool.report.charts import interval
from tltool.report.evidence import Evidence
from tltool.report.words import between, duration, number, share, size

NUMBERED_UP_TO = 30  # classes in a confusion matrix; of more only the most confused pairs are told
PAIRS_TOLD = 6
CLASSES_UP_TO = 200  # rows of the table by class

Scores = Metrics | MultiLabelMetrics
Row = tuple[str, str, str, str]  # name, value, interval, meaning


def headline(evidence: Evidence) -> Markup:
    """The main score, what it means, and the tiles below it."""
    metrics = evidence.metrics
    bounds = main_interval(metrics)
    if isinstance(metrics, Metrics):
        value, name = metrics.top1, "of held-out pictures are named rightly"
    else:
        value, name = metrics.mean_average_precision, "mean average precision on held-out pictures"
    figure = tag("p", tag("strong", share(value)), f" {name}", class_="score")
    drawn = interval(bounds[0], value, bounds[1]) if bounds else None
    return tag(
        "section",
        tag("div", figure, drawn, *(tag("p", line) for line in in_words(metrics)), class_="card headline"),
        _tiles(evidence),
        id="score",
    )


def main_interval(metrics: Scores) -> Interval | None:
    """Of top-1, or of the mean average precision; None in runs that have not written it."""
    return metrics.top1_interval if isinstance(metrics, Metrics) else metrics.mean_average_precision_interval


def in_words(metrics: Scores) -> list[str]:
    """What the main score means for new pictures, and what it must be compared with."""
    if isinstance(metrics, MultiLabelMetrics):
        bounds = metrics.mean_average_precision_interval
        expected = f" On new pictures like these expect between {between(bounds)}." if bounds else ""
        return [
            f"Measured on {metrics.pictures} pictures that it has not learned from.{expected} 100 % would mean that "
            "for each class all pictures that show it are ranked before all others.",
            f"With the threshold of {metrics.threshold:.2f}, {share(metrics.exact_match)} of the pictures get exactly "
            "their labels, no more and no less.",
        ]
    right, commonest = round(metrics.top1 * metrics.pictures), max(map(sum, metrics.confusion))
    return [
        f"{right} of {metrics.pictures} pictures that it has not learned from. On new pictures like these expect "
        f"between {between(metrics.top1_interval)}: in 19 of 20 cases the true share lies there.",
        f"Always naming the most frequent class would be right for {share(commonest / metrics.pictures)} of them.",
    ]


def _tiles(evidence: Evidence) -> Markup:
    scores, folder = evidence.scores, evidence.run.folder
    backbone = (evidence.versions or {}).get("backbone")
    tiles = {
        "recipe": evidence.recipe_name,
        "backbone": backbone,
        "classes": str(len(evidence.metrics.class_names)),
        "training time": duration(scores.get("seconds")),
        "model": size(folder.model.stat().st_size) if folder.model.exists() else None,
    }
    cells = [tag("div", tag("dt", name), tag("dd", value)) for name, value in tiles.items() if value]
    return tag("dl", *cells, class_="facts")


def metrics_section(evidence: Evidence) -> Markup:
    """All scores, also without leaked pictures where there are any."""
    metrics, clean = evidence.metrics, evidence.run.metrics_without_leaks
    heads = ["score", "value", "95 % interval", "what it is"]
    parts = [_table(heads, _rows(metrics), wide=True)]
    if clean is not None:
        parts.append(
            tag(
                "p", f"Without {counted(evidence.run.leaked, 'held-out picture')} that leaked: {clean}.", class_="quiet"
            )
        )
    return tag("section", tag("h2", "All scores"), tag("div", *parts, class_="card"), id="scores")


def _rows(metrics: Scores) -> list[Row]:
    def of_shares(name: str, value: float | None, bounds: Interval | None, meaning: str) -> Row:
        return name, share(value), between(bounds), meaning

    def plain(name: str, value: float | None, bounds: Interval | None, meaning: str) -> Row:
        return name, number(value), between(bounds, 3, percent=False), meaning

    if isinstance(metrics, Metrics):
        top = "" if metrics.k is None else f"right class among the {metrics.k} most probable"
        rows = [
            of_shares("top-1", metrics.top1, metrics.top1_interval, "most probable class is right"),
            of_shares(f"top-{metrics.k}", metrics.top_k, metrics.top_k_interval, top),
            of_shares(
                "balanced accuracy",
                metrics.balanced_accuracy,
                metrics.balanced_accuracy_interval,
                "recall, each class counting the same",
            ),
        ]
    else:
        rows = [
            of_shares(
                "mean average precision",
                metrics.mean_average_precision,
                metrics.mean_average_precision_interval,
                "how well pictures are ranked, averaged over classes",
            ),
            of_shares(
                "exact match", metrics.exact_match, metrics.exact_match_interval, "all labels of a picture right"
            ),
            of_shares("micro F1", metrics.micro_f1, metrics.micro_f1_interval, "over all decisions"),
        ]
    rows += [
        of_shares(
            "macro F1", metrics.macro_f1, metrics.macro_f1_interval, "precision and recall, averaged over classes"
        ),
        plain(
            "log loss", metrics.log_loss, metrics.log_loss_interval, "nats; punishes being sure and wrong; 0 is best"
        ),
        plain("Brier score", metrics.brier, metrics.brier_interval, "squared error of the probabilities; 0 is best"),
        plain(
            "calibration error",
            metrics.expected_calibration_error,
            metrics.expected_calibration_error_interval,
            "gap between confidence and accuracy; 0 is best",
        ),
    ]
    return [row for row in rows if row[1] != number(None)]


def classes_section(metrics: Scores) -> Markup | None:
    """Precision and recall of each class; None for runs that have not written them."""
    if not metrics.recall:
        return None
    names = metrics.class_names
    rows = []
    for position in np.argsort([1.0 if value is None else value for value in metrics.recall], kind="stable")[
        :CLASSES_UP_TO
    ]:
        cells = [tag("th", tag("bdi", names[position]), scope="row"), tag("td", f"{metrics.support[position]:,}")]
        for values, bounds in (
            (metrics.precision, metrics.precision_interval),
            (metrics.recall, metrics.recall_interval),
        ):
            cells += _with_interval(values[position], bounds[position] if bounds else None)
        if metrics.f1:
            cells.append(tag("td", share(metrics.f1[position])))
        rows.append(tag("tr", *cells))
    heads = ["class", "pictures", "precision", "", "recall", "", *(["F1"] if metrics.f1 else [])]
    more = len(names) - len(rows)
    return tag(
        "section",
        tag("h2", "By class"),
        tag(
            "div",
            tag(
                "p",
                "The weakest recall first. Precision: how often the answer is right; recall: how many are found. "
                "Bars show the 95 % interval.",
                class_="quiet",
            ),
            tag("div", tag("table", _header(heads), tag("tbody", *rows)), class_="scroll"),
            tag("p", f"and {more:,} more classes", class_="quiet") if more else None,
            class_="card",
        ),
        id="classes",
    )


def _with_interval(value: float | None, bounds: Interval | None) -> list[Markup]:
    drawn = interval(bounds[0], value, bounds[1]) if bounds and value is not None else None
    return [tag("td", share(value)), tag("td", drawn, class_="drawn")]


def confusion_section(metrics: Scores) -> Markup | None:
    """Which classes are taken for which; None where pictures have several, or classes are too many for a table."""
    if not isinstance(metrics, Metrics) or len(metrics.class_names) > NUMBERED_UP_TO:
        return None
    names = metrics.class_names
    head = tag(
        "tr",
        tag("th", "it is ↓ · called →", class_="corner"),
        *(tag("th", tag("span", tag("bdi", name)), scope="col", class_="turned") for name in names),
    )
    rows = [
        tag("tr", tag("th", tag("bdi", name), scope="row"), *_cells(line, names, position))
        for position, (name, line) in enumerate(zip(names, metrics.confusion, strict=True))
    ]
    words = "Held-out pictures, rows by what they show; the diagonal is right. The darker, the more of the row."
    matrix = tag("table", tag("thead", head), tag("tbody", *rows), class_="confusion")
    return tag(
        "section",
        tag("h2", "Confusion"),
        tag(
            "div",
            tag("div", tag("div", matrix, class_="scroll"), tag("p", words, class_="quiet")),
            _most_confused(metrics),
            class_="card columns",
        ),
        id="confusion",
    )


def _most_confused(metrics: Metrics) -> Markup:
    """The largest numbers beside the diagonal, in words."""
    names, matrix = metrics.class_names, np.array(metrics.confusion)
    wrong = matrix - np.diag(matrix.diagonal())
    lines = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS_TOLD]:
        truth, answer = np.unravel_index(place, wrong.shape)
        if wrong[truth, answer]:
            count = f" {wrong[truth, answer]} of {matrix[truth].sum()}"
            pair = tag("bdi", names[truth]), " called ", tag("bdi", names[answer])
            lines.append(tag("li", *pair, tag("span", count, class_="quiet")))
    if not lines:
        return tag("div", tag("p", "No class was taken for another."))
    return tag("div", tag("h3", "Most often"), tag("ol", *lines, class_="told"))


def _cells(line: Sequence[int], names: Sequence[str], truth: int) -> list[Markup]:
    total = max(sum(line), 1)
    return [
        tag(
            "td",
            str(count) if count else "",
            class_="right" if answer == truth else "wrong",
            # The root: one in ten that is taken for another must be seen.
            style=f"--share:{round(100 * (count / total) ** 0.5)}%",
            title=f"{names[truth]} called {names[answer]}: {count} of {sum(line)}",
        )
        for answer, count in enumerate(line)
    ]


def _header(heads: Sequence[str]) -> Markup:
    return tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads)))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, wide: bool = False) -> Markup:
    body = [
        tag(
            "tr",
            *(
                tag("th" if place == 0 else "td", cell, class_="words" if place == 3 else None)
                for place, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    return tag("div", tag("table", _header(heads), tag("tbody", *body), class_="scores"), class_="scroll")
