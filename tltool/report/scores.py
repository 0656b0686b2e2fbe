"""How good the model is: the score in words, and all scores with their intervals."""

from collections.abc import Sequence

from tltool.doctor.findings import counted
from tltool.doctor.markup import Markup, tag
from tltool.evaluation.intervals import Interval
from tltool.evaluation.metrics import Metrics
from tltool.evaluation.multi_label import MultiLabelMetrics
from tltool.report.charts import interval
from tltool.report.document import header
from tltool.report.evidence import Evidence
from tltool.report.words import between, duration, number, share, size

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
        expected = f" On new pictures like these expect {between(bounds)}." if bounds else ""
        return [
            f"Measured on {metrics.pictures} pictures that it has not learned from.{expected} 100 % would mean that "
            "for each class all pictures that show it are ranked before all others.",
            f"With the threshold of {metrics.threshold:.2f}, {share(metrics.exact_match)} of the pictures get exactly "
            "their labels, no more and no less.",
        ]
    right, commonest = round(metrics.top1 * metrics.pictures), max(map(sum, metrics.confusion))
    return [
        f"{right} of {metrics.pictures} pictures that it has not learned from. On new pictures like these expect "
        f"{between(metrics.top1_interval)}: in 19 of 20 cases the true share lies there.",
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
    return tag("div", tag("table", header(heads), tag("tbody", *body), class_="scores"), class_="scroll")
