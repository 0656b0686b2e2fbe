"""Step 3: choose a recipe, start, watch, stop."""

import time
from collections.abc import Sequence
from typing import Any

import streamlit as st

from tltool.recipes import load_recipe, recipe_files
from tltool.training.events import Event, read_events
from tltool.training.submission import Submission, resubmit
from tltool.ui import charts
from tltool.ui.guard import guarded
from tltool.ui.steps import Step, current_step
from tltool.ui.words import duration, plain
from tltool.ui.workspace import Workspace

REFRESH = 1.0  # seconds


def show_training(workspace: Workspace, decision: dict[str, Any]) -> None:
    """Draws the run under way, or how the last one ended and the buttons that go on with it or start the next."""
    last = next(iter(workspace.fits()[::-1]), None)
    if last and last.state in ("queued", "running"):
        _watch_fit(workspace, last)
        return
    if last:
        _tell_end(workspace, last)
    recommended = decision["recipe"]
    names = [recommended, *(name for name in recipe_files() if name != recommended)]
    recipe = st.selectbox(
        "Recipe",
        names,
        format_func=lambda name: f"{name} (recommended)" if name == recommended else name,
        key="recipe",
    )
    st.caption(plain(load_recipe(recipe).summary))
    with st.container(horizontal=True):
        if last and _can_go_on(last) and st.button("Go on with the last run", type="primary", key="go-on"):
            resubmit(last.run)
            st.rerun()
        if st.button("Train again" if last else "Train", type="secondary" if last else "primary", key="train"):
            # Without a recipe the run decides anew, by the same facts: it then says so in its own decision.
            workspace.start_fit(None if recipe == recommended else recipe)
            st.rerun()


def _can_go_on(fit: Submission) -> bool:
    # Runs of earlier versions do not say what they were asked for.
    return fit.state in ("stopped", "interrupted") and fit.run.request.exists()


def show_step(step: Step | None, started: float, waiting: str) -> None:
    """A bar with what is being done and how long it takes."""
    step = step or Step(waiting)
    st.progress(min(1.0, step.share or 0.0), text=plain(step.text))
    left = f" · about {duration(step.seconds_left)} left of this step" if step.seconds_left else ""
    st.caption(f"Running for {duration(time.time() - started)}{left}")


def _tell_end(workspace: Workspace, fit: Submission) -> None:
    state = fit.state
    if state == "stopped" and fit.was_stopped:
        st.info("You stopped the last run. What it has learned is kept: go on with it whenever you like.")
    elif state == "stopped":
        st.warning(f"The last run had to stop. {plain(workspace.in_words(fit.failure()))}")
    elif state == "interrupted":
        st.warning(f"The last run was interrupted. {plain(workspace.in_words(fit.failure()))}")
    elif state == "failed":
        st.error(f"The last run failed. {plain(workspace.in_words(fit.failure()))}")


@st.fragment(run_every=REFRESH)
def _watch_fit(workspace: Workspace, fit: Submission) -> None:
    with guarded():
        if fit.state not in ("queued", "running"):
            st.rerun()
        events = read_events(fit.run.events)
        step = current_step([event for event in events if event["time"] >= fit.since])  # not of the time before it
        show_step(_waiting(fit) or step, fit.since, "Starting Keras, which takes some seconds")
        epochs = [event for event in events if event["event"] == "epoch"]
        if epochs:
            st.altair_chart(charts.losses(epochs), width="stretch", alt="Lines: loss by epoch")
        with st.expander("What has happened so far"), st.container(gap=None):
            for line in _told(events):
                st.text(workspace.in_words(line))
        st.caption("It goes on if you close this page; come back by the same address.")
        if st.button("Stop", key="stop"):
            with st.spinner("Stopping, as soon as what it has learned is kept"):
                fit.stop()
            st.rerun()


def _waiting(fit: Submission) -> Step | None:
    state = fit.run.read_state()
    # Before it has a process it waits for that alone.
    waits = state["state"] == "queued" and state["pid"] is not None
    return Step("Waiting for another run on this machine to end") if waits else None


def _told(events: Sequence[Event]) -> list[str]:
    lines = []
    for event in events:
        if event["event"] in ("stage", "note"):
            lines.append(event["text"])
        elif event["event"] == "decision":
            used = "" if event["used"] == event["recipe"] else f" (you asked for {event['used']})"
            lines.append(f"Decision: {event['cell']}: {event['recipe']}{used}")
    return lines
