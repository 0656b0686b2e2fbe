"""A run's scores, in words, numbers and a chart."""

from typing import Any

import streamlit as st

from tltool.training.fine_tuning import FineTuning
from tltool.ui import charts
from tltool.ui.words import counted, duration, plain

FEW_PICTURES = 100  # held out; below it the interval is wider than people expect
MISTAKES = 3  # shown in words
NUMBER_WIDTH = 150  # pixels: four beside each other, two on a telephone


def is_multi_label(metrics: dict[str, Any]) -> bool:
    """Whether a picture may have several classes."""
    return "mean_average_precision" in metrics


def headline(metrics: dict[str, Any]) -> str:
    """The one number by which runs are told apart."""
    if is_multi_label(metrics):
        return f"mean average precision {metrics['mean_average_precision']:.1%}"
    return f"{metrics['top1']:.1%}"


def score_in_words(metrics: dict[str, Any]) -> str:
    """The share of right answers, how sure that is, and what it is worth; Markdown."""
    pictures, top1 = metrics["pictures"], metrics["top1"]
    low, high = metrics["top1_interval"]
    totals = [sum(row) for row in metrics["confusion"]]
    common = totals.index(max(totals))
    why = "With so few held-out pictures, chance matters: the" if pictures < FEW_PICTURES else "The"
    return (
        f"The model named **{round(top1 * pictures)} of {pictures}** pictures correctly that it had never seen: "
        f"**{top1:.1%}**. {why} true share lies between {low:.0%} and {high:.0%} (95% interval). "
        f"Always answering “{plain(metrics['class_names'][common])}” would be right for "
        f"{totals[common] / pictures:.0%}."
    )


def mistakes_in_words(metrics: dict[str, Any], count: int = MISTAKES) -> list[str]:
    """The most frequent mix-ups, worst first; Markdown."""
    names = metrics["class_names"]
    wrong = [
        (number, truth, answer)
        for truth, row in enumerate(metrics["confusion"])
        for answer, number in enumerate(row)
        if truth != answer and number
    ]
    wrong.sort(key=lambda item: -item[0])
    return [
        f"“{plain(names[truth])}” was taken for “{plain(names[answer])}” {counted(number, 'time')}"
        for number, truth, answer in wrong[:count]
    ]


def show_scores(metrics: dict[str, Any]) -> None:
    """Draws a run's scores from its `metrics.json`."""
    if is_multi_label(metrics):
        _show_multi_label(metrics)
    else:
        _show_single_label(metrics)
    clean = metrics.get("without_leaks")
    if clean:
        st.warning(
            f"{metrics['leaked']} of the held-out pictures are copies of pictures that the model learned from. Without "
            f"them the score is {headline(clean)}, on {clean['pictures']} pictures: that is the one to trust."
        )
    elif metrics.get("leaked"):
        st.error(
            "All held-out pictures are copies of pictures that the model learned from: "
            "this score says nothing of new ones."
        )
    tuning = metrics.get("validation")
    if tuning:
        st.caption(plain(str(FineTuning.from_json(tuning))))
    st.caption(f"Recipe {plain(metrics['recipe'])}, trained in {duration(metrics['seconds'])}.")


def _show_single_label(metrics: dict[str, Any]) -> None:
    st.markdown(score_in_words(metrics))
    with st.container(horizontal=True):
        _show_numbers(metrics)
    st.altair_chart(
        charts.confusion(metrics["class_names"], metrics["confusion"]),
        width=charts.confusion_size(len(metrics["class_names"])),
        alt="Heat map: held-out pictures by true class and by the model's answer",
    )
    mistakes = mistakes_in_words(metrics)
    if mistakes:
        st.caption("Most frequent mistakes: " + "; ".join(mistakes) + ".")


def _show_multi_label(metrics: dict[str, Any]) -> None:
    pictures = metrics["pictures"]
    st.markdown(
        f"For **{metrics['exact_match']:.1%}** of **{counted(pictures, 'picture')}** that it had never seen, all "
        f"labels were exactly right. A class counts as there from a probability of {metrics['threshold']:.0%} on; that "
        "was tuned on other pictures."
    )
    with st.container(horizontal=True):
        for name, key, meaning in MULTI_LABEL_NUMBERS:
            st.metric(name, f"{metrics[key]:.1%}", help=meaning, width=NUMBER_WIDTH)
    columns = ("support", "average_precision", "precision", "recall")
    rows = zip(metrics["class_names"], *(metrics[column] for column in columns), strict=True)
    st.dataframe(
        [
            dict(zip(("class", "pictures", "average precision", "precision", "recall"), row, strict=True))
            for row in rows
        ],
        hide_index=True,
        width="stretch",
        column_config={
            name: st.column_config.NumberColumn(format="percent")
            for name in ("average precision", "precision", "recall")
        },
    )


MULTI_LABEL_NUMBERS = (
    (
        "Average precision",
        "mean_average_precision",
        "How well the pictures of a class come before the others when they are ranked; mean over the classes.",
    ),
    ("F1", "micro_f1", "Of all classes named and all that are there, the share in both, at the threshold."),
    ("F1 by class", "macro_f1", "The same for each class, then averaged: rare classes count as much as common ones."),
    ("Calibration error", "expected_calibration_error", "How far its probabilities are from what then holds."),
)


def _show_numbers(metrics: dict[str, Any]) -> None:
    wide = {"width": NUMBER_WIDTH}
    st.metric("Correct", f"{metrics['top1']:.1%}", help="Share of held-out pictures named correctly.", **wide)
    st.metric(
        "Balanced",
        f"{metrics['balanced_accuracy']:.1%}",
        help="The same for each class, then averaged: small classes count as much as large ones.",
        **wide,
    )
    st.metric(
        "Log loss", f"{metrics['log_loss']:.3f}", help="Punishes being wrong and sure of it. 0 is perfect.", **wide
    )
    st.metric(
        "Calibration error",
        f"{metrics['expected_calibration_error']:.1%}",
        help="How far its confidence is from its share of right answers. Small test sets alone cause some percent.",
        **wide,
    )
