"""Step 4: how good it is, and what to do with it."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from tltool.data import decode
from tltool.errors import DataError
from tltool.training.events import read_events
from tltool.training.run_folder import RunFolder
from tltool.ui import charts
from tltool.ui.package import zip_bundle
from tltool.ui.predict import Answer, predict_pictures
from tltool.ui.words import counted, duration, plain, size
from tltool.ui.workspace import Workspace

FEW_PICTURES = 100  # held out; below it the interval is wider than people expect
MISTAKES = 3  # shown in words
TRIED = 12  # pictures at once
TRIED_PIXELS = 480
NUMBER_WIDTH = 150  # pixels: four beside each other, two on a telephone


def show_result(workspace: Workspace, runs: Sequence[RunFolder]) -> None:
    """Draws the finished runs' scores, the newest one's unless another is chosen."""
    newest_first = list(reversed(runs))
    scores = {run.path.name: json.loads(run.metrics.read_text("utf-8")) for run in newest_first}
    run = newest_first[0]
    if len(runs) > 1:
        name = st.selectbox(
            "Run",
            list(scores),
            format_func=lambda name: f"{name}: {scores[name]['recipe']}, {scores[name]['top1']:.1%}",
            key=f"run-{len(runs)}",  # a new one is shown, whatever was chosen before
        )
        run = next(run for run in runs if run.path.name == name)
    metrics = scores[run.path.name]
    _show_scores(metrics)
    _show_epochs(run)
    st.markdown("##### Use the model")
    _show_download(workspace, run)
    _show_try(run)
    with st.expander("The same on the command line"):
        st.code(_commands(workspace, run, metrics["recipe"]), language="bash", wrap_lines=True)
        st.caption("Everything about this run is in its folder; the last line lists all runs on these pictures.")


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


def _show_scores(metrics: dict[str, Any]) -> None:
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
    tuning = metrics.get("validation")
    if tuning and tuning["fine_tuned_log_loss"] is None:
        st.caption("No epoch of fine-tuning gave a score, so you get the linear head that it would have started from.")
    elif tuning:
        better = "fine-tuning" if tuning["kept"] == "fine-tuned" else "the linear head that it started from"
        st.caption(f"On the validation pictures {better} did better, so that is what you get.")
    st.caption(f"Recipe {plain(metrics['recipe'])}, trained in {duration(metrics['seconds'])}.")


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


def _show_epochs(run: RunFolder) -> None:
    epochs = [event for event in read_events(run.events) if event["event"] == "epoch"]
    if epochs:
        with st.expander("How fine-tuning went"):
            st.altair_chart(charts.losses(epochs), width="stretch", alt="Lines: loss by epoch")


def _show_download(workspace: Workspace, run: RunFolder) -> None:
    packed = zip_bundle(run, workspace.path / "bundles")
    st.download_button(
        f"Download the model ({size(packed.stat().st_size)})",
        data=lambda: packed.open("rb"),
        file_name=packed.name,
        mime="application/zip",
        on_click="ignore",
        type="primary",
        key="download",
    )
    st.caption(
        "A .zip with `model.keras`, which takes pictures of any size, and `labels.json`, the class names in the order "
        "of its answers. It loads in plain Keras."
    )


def _show_try(run: RunFolder) -> None:
    files = st.file_uploader(f"Try it: up to {TRIED} pictures", accept_multiple_files=True, key=f"try-{run.path.name}")
    if len(files) > TRIED:
        st.warning(f"The first {TRIED} are shown. `tltool predict` takes any number.")
    files = files[:TRIED]
    if not files:
        return
    pictures = [file.getvalue() for file in files]
    with st.spinner("Looking at the pictures; loading the model takes some seconds"):
        answers = _ask(str(run.path), pictures)
    for file, content, answer in zip(files, pictures, answers, strict=True):
        _show_answer(file.name, content, answer)


def _ask(run: str, pictures: Sequence[bytes]) -> list[Answer]:
    """Answers, kept for the session: the page is drawn anew at every click."""
    kept = st.session_state.setdefault("answers", {})
    keys = [(run, hashlib.sha256(content).hexdigest()) for content in pictures]
    new = {key: content for key, content in zip(keys, pictures, strict=True) if key not in kept}
    if new:
        kept.update(zip(new, predict_pictures(Path(run), list(new.values())), strict=True))
    return [kept[key] for key in keys]


def _show_answer(name: str, content: bytes, answer: Answer) -> None:
    if answer.probabilities is None:
        st.error(f"{plain(name)}: {plain(answer.problem or '')}")
        return
    label, confidence = max(answer.probabilities.items(), key=lambda item: item[1])
    with st.container(border=True):
        left, right = st.columns([1, 2], vertical_alignment="center")
        try:
            left.image(decode(content, TRIED_PIXELS), alt=name, width="stretch")
        except DataError:
            left.text(name)
        right.markdown(f"**{plain(label)}**, {confidence:.1%} sure")
        right.altair_chart(
            charts.probabilities(answer.probabilities), width="stretch", alt="Bars: the most probable classes"
        )


def _commands(workspace: Workspace, run: RunFolder, recipe: str) -> str:
    fit = [*workspace.fit_command(recipe), "--out", "my-run"]
    lines = [fit, ["tltool", "predict", str(run.path), "PICTURES"], ["tltool", "runs", str(workspace.runs)]]
    return "\n".join(shlex.join(line) for line in lines)
