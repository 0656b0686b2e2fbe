"""The page's charts: functions from plain values to Altair charts."""

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

ACCENT = "#0f766e"
PALE = "#94a3b8"
ROW = 24  # pixels of a bar with its gap
LABEL = 160  # pixels of a class name
NUMBERS_UP_TO = 12  # classes in a confusion matrix whose cells can hold a number
LABELS_UP_TO = 60  # classes whose names have room beside the cells
LEARNED, HELD_OUT = "learned from", "held out for the score"


def class_counts(learned: Mapping[str, int], held_out: Mapping[str, int]) -> alt.Chart:
    """Bars of pictures a class, by class name, in two parts."""
    rows = [
        {"class": name, "pictures": counts[name], "part": part, "order": order}
        for order, (part, counts) in enumerate(((LEARNED, learned), (HELD_OUT, held_out)))
        for name in learned
    ]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X("pictures:Q", title="pictures", axis=alt.Axis(tickMinStep=1)),
            y=_names("class", list(learned), None),
            color=alt.Color(
                "part:N",
                title=None,
                scale=alt.Scale(domain=[LEARNED, HELD_OUT], range=[ACCENT, PALE]),
                legend=alt.Legend(orient="top"),
            ),
            order=alt.Order("order:Q"),
            tooltip=["class:N", "part:N", "pictures:Q"],
        )
        .properties(height=alt.Step(ROW))
    )


def similarity(by_stage: Mapping[str, float], similar_below: float) -> alt.LayerChart:
    """Bars of divergence by stage, nats, first stage on top, with the limit of what counts as similar."""
    frame = pd.DataFrame({"stage": list(by_stage), "divergence": list(by_stage.values())})
    frame["side"] = ["similar" if value < similar_below else "different" for value in frame["divergence"]]
    bars = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("divergence:Q", title="distance from ImageNet (nats)"),
            y=_names("stage", list(by_stage), None),
            color=alt.Color(
                "side:N",
                title=None,
                scale=alt.Scale(domain=["similar", "different"], range=[ACCENT, "#d97706"]),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=["stage:N", alt.Tooltip("divergence:Q", format=".3f")],
        )
    )
    limit = pd.DataFrame({"limit": [similar_below]})
    rule = alt.Chart(limit).mark_rule(strokeDash=[4, 4], color=PALE, size=2).encode(x="limit:Q")
    return (bars + rule).properties(height=alt.Step(ROW))


def losses(epochs: Sequence[Mapping]) -> alt.Chart:
    """Lines of training and validation loss over the epochs of all stages, from a run's "epoch" events."""
    rows = [
        {"epoch": number, "stage": event["stage"], "loss": event[key], "on": on}
        for number, event in enumerate(epochs, 1)
        for key, on in (("loss", "training pictures"), ("valid_log_loss", "validation pictures"))
    ]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(zero=False)),
            y=alt.Y("loss:Q", title="loss (lower is better)", axis=alt.Axis(format="~g"), scale=alt.Scale(zero=False)),
            color=alt.Color(
                "on:N",
                title=None,
                scale=alt.Scale(domain=["training pictures", "validation pictures"], range=[PALE, ACCENT]),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=["stage:N", "epoch:Q", "on:N", alt.Tooltip("loss:Q", format=".4f")],
        )
        .properties(height=300)
    )


def confusion(class_names: Sequence[str], matrix: Sequence[Sequence[int]]) -> alt.Chart | alt.LayerChart:
    """A heat map of counts, rows the truth and columns the answers; shaded by share of the row."""
    rows = [
        {
            "is": truth,
            "called": answer,
            "pictures": count,
            "share": count / max(sum(line), 1),
        }
        for truth, line in zip(class_names, matrix, strict=True)
        for answer, count in zip(class_names, line, strict=True)
    ]
    names = list(class_names)
    few, labelled = len(names) <= NUMBERS_UP_TO, len(names) <= LABELS_UP_TO
    angle = 0 if len(names) <= 4 else -45
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X(
            "called:N",
            sort=names,
            title="the model says",
            axis=alt.Axis(orient="top", labelAngle=angle, labelLimit=LABEL, labels=labelled),
        ),
        y=_names("is", names, "it is").axis(labelLimit=LABEL, labels=labelled),
        tooltip=["is:N", "called:N", "pictures:Q", alt.Tooltip("share:Q", format=".0%")],
    )
    cells = base.mark_rect(stroke="#64748b", strokeWidth=0.3).encode(
        color=alt.Color("share:Q", scale=alt.Scale(range=["#f1f5f9", ACCENT], domain=[0, 1]), legend=None)
    )
    if not few:
        return cells.properties(height=confusion_size(len(names)))
    numbers = base.mark_text(fontSize=16).encode(
        text="pictures:Q",
        color=alt.condition("datum.share > 0.5", alt.value("white"), alt.value("#1e293b")),
    )
    return (cells + numbers).properties(height=confusion_size(len(names)))


def confusion_size(classes: int) -> int:
    """Height and width of the heat map, pixels; narrower where the page is."""
    return min(80 + 2 * LABEL + 40 * classes, 700) if classes > 4 else 120 + 90 * classes


def probabilities(values: Mapping[str, float], count: int = 5) -> alt.Chart:
    """Bars of the most probable classes."""
    best = sorted(values.items(), key=lambda item: -item[1])[:count]
    frame = pd.DataFrame({"class": [name for name, _ in best], "probability": [value for _, value in best]})
    return (
        alt.Chart(frame)
        .mark_bar(color=ACCENT)
        .encode(
            x=alt.X("probability:Q", title=None, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            y=_names("class", list(frame["class"]), None),
            tooltip=["class:N", alt.Tooltip("probability:Q", format=".1%")],
        )
        .properties(height=alt.Step(ROW))
    )


def _names(field: str, order: list[str], title: str | None) -> alt.Y:
    # In the order of the data set, not by the alphabet of the chart's own collation.
    return alt.Y(f"{field}:N", sort=order, title=title, axis=alt.Axis(labelLimit=LABEL))
