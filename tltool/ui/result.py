"""Step 4: how good it is, and what to do with it."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from tltool.data import decode
from tltool.errors import DataError
from tltool.training.events import read_events
from tltool.training.run_folder import RunFolder
from tltool.ui import charts
from tltool.ui.package import zip_bundle
from tltool.ui.predict import Answer, predict_pictures
from tltool.ui.scores import headline, show_scores
from tltool.ui.words import plain, size
from tltool.ui.workspace import Workspace

TRIED = 12  # pictures at once
TRIED_PIXELS = 480


def show_result(workspace: Workspace, runs: Sequence[RunFolder]) -> None:
    """Draws the finished runs' scores, the newest one's unless another is chosen."""
    newest_first = list(reversed(runs))
    scores = {run.path.name: json.loads(run.metrics.read_text("utf-8")) for run in newest_first}
    run = newest_first[0]
    if len(runs) > 1:
        name = st.selectbox(
            "Run",
            list(scores),
            format_func=lambda name: f"{name}: {scores[name]['recipe']}, {headline(scores[name])}",
            key=f"run-{len(runs)}",  # a new one is shown, whatever was chosen before
        )
        run = next(run for run in runs if run.path.name == name)
    metrics = scores[run.path.name]
    show_scores(metrics)
    _show_epochs(run)
    _show_report(run)
    st.markdown("##### Use the model")
    _show_download(workspace, run)
    _show_try(run)
    with st.expander("The same on the command line"):
        st.code(_commands(workspace, run, metrics["recipe"]), language="bash", wrap_lines=True)
        st.caption("Everything about this run is in its folder; the last line lists all runs on these pictures.")


def _show_epochs(run: RunFolder) -> None:
    epochs = [event for event in read_events(run.events) if event["event"] == "epoch"]
    if epochs:
        with st.expander("How fine-tuning went"):
            st.altair_chart(charts.losses(epochs), width="stretch", alt="Lines: loss by epoch")


def _show_report(run: RunFolder) -> None:
    if not run.report.exists():  # of a run of an earlier version
        return
    st.download_button(
        "Report",
        data=run.report.read_bytes,
        file_name=f"{run.path.name}-report.html",
        mime="text/html",
        on_click="ignore",
        icon=":material/description:",
        key="report",
        help="One page with the mistakes and what it looked at, how far its answers can be trusted, and all the rest.",
    )


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
        "of its answers; beside them how far these can be trusted. It loads in plain Keras."
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
    with st.container(border=True):
        left, right = st.columns([1, 2], vertical_alignment="center")
        try:
            left.image(decode(content, TRIED_PIXELS), alt=name, width="stretch")
        except DataError:
            left.text(name)
        said = plain(answer.label or "none of them")
        if answer.known is False:
            right.markdown("**I do not know**")
            right.warning(f"Unlike the pictures that it has learned from. Asked all the same, it says {said}.")
        else:
            right.markdown(f"**{said}**, {answer.confidence:.1%} sure")
        if answer.known is not False and len(answer.label_set) > 1:
            right.caption(f"One of {plain(', '.join(answer.label_set))}, in nine of ten such pictures.")
        right.altair_chart(
            charts.probabilities(answer.probabilities), width="stretch", alt="Bars: the most probable classes"
        )


def _commands(workspace: Workspace, run: RunFolder, recipe: str) -> str:
    fit = [*workspace.fit_command(recipe), "--out", "my-run"]
    lines = [fit, ["tltool", "predict", str(run.path), "PICTURES"], ["tltool", "runs", str(workspace.runs)]]
    return "\n".join(shlex.join(line) for line in lines)
