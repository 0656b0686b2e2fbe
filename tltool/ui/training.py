"""Step 3: choose a recipe, start, watch, stop."""

import time
from collections.abc import Sequence
from typing import Any

import streamlit as st

from tltool.recipes import load_recipe, recipe_files
from tltool.training.events import Event, read_events
from tltool.training.run_folder import RunFolder
from tltool.ui import charts
from tltool.ui.guard import guarded
from tltool.ui.steps import Step, current_step
from tltool.ui.words import duration, plain
from tltool.ui.worker import Job
from tltool.ui.workspace import Workspace

REFRESH = 1.0  # seconds


def show_training(workspace: Workspace, decision: dict[str, Any]) -> None:
    """Draws the running run, or how the last one ended and the button that starts the next."""
    fits = workspace.fits()
    if fits and fits[-1][0].is_running():
        _watch_fit(*fits[-1])
        return
    if fits:
        _tell_end(workspace, *fits[-1])
    recommended = decision["recipe"]
    names = [recommended, *(name for name in recipe_files() if name != recommended)]
    recipe = st.selectbox(
        "Recipe",
        names,
        format_func=lambda name: f"{name} (recommended)" if name == recommended else name,
        key="recipe",
    )
    st.caption(plain(load_recipe(recipe).summary))
    if st.button("Train again" if fits else "Train", type="primary", key="train"):
        # Without a recipe the command decides anew, by the same facts: the run then says so in its own decision.
        workspace.start_fit(None if recipe == recommended else recipe)
        st.rerun()


def outcome(job: Job, folder: RunFolder) -> str:
    """ "running", "done", "stopped" or "failed"."""
    # In this order: a process that ends in between has written its state before.
    if job.is_running():
        return "running"
    if folder.state_file.exists() and folder.read_state()["state"] == "done":
        return "done"
    return "stopped" if job.was_stopped else "failed"


def show_step(step: Step | None, started: float, waiting: str) -> None:
    """A bar with what is being done and how long it takes."""
    step = step or Step(waiting)
    st.progress(min(1.0, step.share or 0.0), text=plain(step.text))
    left = f" · about {duration(step.seconds_left)} left of this step" if step.seconds_left else ""
    st.caption(f"Running for {duration(time.time() - started)}{left}")


def _tell_end(workspace: Workspace, job: Job, folder: RunFolder) -> None:
    state = outcome(job, folder)
    if state == "stopped":
        st.info("You stopped the last run. Nothing is lost but its time: train again whenever you like.")
    elif state == "failed":
        st.error(f"The last run failed. {plain(workspace.in_words(job.failure()))}")


@st.fragment(run_every=REFRESH)
def _watch_fit(job: Job, folder: RunFolder) -> None:
    with guarded():
        if not job.is_running():
            st.rerun()
        events = read_events(folder.events)
        show_step(current_step(events), job.started, "Starting Keras, which takes some seconds")
        epochs = [event for event in events if event["event"] == "epoch"]
        if epochs:
            st.altair_chart(charts.losses(epochs), width="stretch", alt="Lines: loss by epoch")
        with st.expander("What has happened so far"), st.container(gap=None):
            for line in _told(events):
                st.text(line)
        st.caption("It goes on if you close this page; come back by the same address.")
        if st.button("Stop", key="stop"):
            with st.spinner("Stopping"):
                job.stop()
            st.rerun()


def _told(events: Sequence[Event]) -> list[str]:
    lines = []
    for event in events:
        if event["event"] in ("stage", "note"):
            lines.append(event["text"])
        elif event["event"] == "decision":
            lines.append(f"Decision: {event['cell']}: {event['used']}")
    return lines
