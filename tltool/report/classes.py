"""How good the model is at each class."""

import numpy as np

from tltool.doctor.markup import Markup, tag
from tltool.evaluation.intervals import Interval
from tltool.evaluation.metrics import Metrics
from tltool.evaluation.multi_label import MultiLabelMetrics
from tltool.report.charts import interval
from tltool.report.document import header
from tltool.report.words import share

CLASSES_UP_TO = 200  # rows of the table


def classes_section(metrics: Metrics | MultiLabelMetrics) -> Markup | None:
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
            tag("div", tag("table", header(heads), tag("tbody", *rows)), class_="scroll"),
            tag("p", f"and {more:,} more classes", class_="quiet") if more else None,
            class_="card",
        ),
        id="classes",
    )


def _with_interval(value: float | None, bounds: Interval | None) -> list[Markup]:
    drawn = interval(bounds[0], value, bounds[1]) if bounds and value is not None else None
    return [tag("td", share(value)), tag("td", drawn, class_="drawn")]
