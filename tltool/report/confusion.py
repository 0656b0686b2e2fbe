"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np

from tltool.doctor.markup import Markup, tag
from tltool.evaluation.metrics import Metrics
from tltool.evaluation.multi_label import MultiLabelMetrics

NUMBERED_UP_TO = 30  # classes in a confusion matrix; of more only the most confused pairs are told
PAIRS_TOLD = 6


def confusion_section(metrics: Metrics | MultiLabelMetrics) -> Markup | None:
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
