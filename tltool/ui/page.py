"""The app's one page: data, decision, training, result."""

import itertools
from pathlib import Path

import streamlit as st
from PIL import Image, ImageDraw

from tltool.data import Dataset
from tltool.training.events import read_events
from tltool.training.job import Job
from tltool.ui import charts
from tltool.ui.choose import choose_data
from tltool.ui.findings import show_findings
from tltool.ui.gallery import show_gallery
from tltool.ui.guard import guarded
from tltool.ui.result import show_result
from tltool.ui.steps import current_step
from tltool.ui.training import REFRESH, show_step, show_training
from tltool.ui.verdict import show_verdict
from tltool.ui.words import counted, plain
from tltool.ui.workspace import Workspace, open_workspace

PARAMETER = "w"  # of the page's address: the workspace
CHART_HEIGHT = 420  # pixels; a hundred classes scroll


def show_page() -> None:
    """Draws the page for the workspace that its address names, or the choice of data."""
    st.set_page_config(page_title="tltool", page_icon=_icon(), layout="centered")
    st.html("<style>.stMainBlockContainer { padding-top: 3rem; }</style>")
    st.title("tltool", anchor=False)
    st.caption("Turns a folder of pictures into a classifier, and says why it trained it the way it did.")
    with guarded():
        _show_steps()


def _icon() -> Image.Image:
    """The table with one cell marked. Streamlit would fetch an icon of its own from the internet."""
    icon = Image.new("RGB", (32, 32), "white")
    draw = ImageDraw.Draw(icon)
    for row, column in itertools.product(range(2), repeat=2):
        left, top = 2 + 15 * column, 2 + 15 * row
        draw.rectangle((left, top, left + 12, top + 12), fill=charts.ACCENT if row == column == 0 else charts.PALE)
    return icon


def _show_steps() -> None:
    id_ = st.query_params.get(PARAMETER)
    workspace = open_workspace(id_) if id_ else None
    if id_ and workspace is None:
        st.warning("What this address showed is not on this machine any more. Choose pictures to start anew.")
    st.header("1 Data", anchor=False, divider="gray")
    if workspace is None:
        _choose()
        return
    data = _show_data(workspace)
    if data is None:
        return
    if workspace.facts_file.exists():
        show_findings(data, workspace.facts()["health"]["findings"])
    st.header("2 Decision", anchor=False, divider="gray")
    if not _is_measured(workspace):
        return
    facts = workspace.facts()
    show_verdict(facts, workspace.augmentation_file)
    st.header("3 Train", anchor=False, divider="gray")
    show_training(workspace, facts["decision"])
    done = [fit.run for fit in workspace.fits() if fit.state == "done"]
    if done:
        st.header("4 Result", anchor=False, divider="gray")
        show_result(workspace, done)


def _choose() -> None:
    workspace = choose_data()
    if workspace is not None:
        st.query_params[PARAMETER] = workspace.id
        st.rerun()


def _leave(job: Job) -> None:
    job.stop(patience=0)  # only measuring is cut short; a run goes on
    st.query_params.clear()


def _show_data(workspace: Workspace) -> Dataset | None:
    """The data set once it is listed; until then, what is being done or what is wrong."""
    job = workspace.inspection
    if not job.exists or _was_left(workspace):
        workspace.start_inspection()
    # In this order: a process that ends in between has written its list before.
    running = job.is_running()
    if not workspace.data_file.exists():
        if running:
            _watch_inspection(workspace, listed=False)
            st.button("Use other pictures", on_click=_leave, args=[job], key="leave")
        else:
            st.error(plain(workspace.in_words(job.failure())))
            _choose()
        return None
    data = _load(workspace.path, workspace.data_file.stat().st_mtime_ns)
    classes = counted(len(data.class_names), "class", "classes")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{plain(workspace.title)}**: {counted(len(data), 'picture')} in {classes}", width="content")
        st.button("Use other pictures", on_click=_leave, args=[job], key="leave")
    show_gallery(data)
    _show_counts(data)
    _show_problems(data)
    return data


def _was_left(workspace: Workspace) -> bool:
    """Whether somebody went to other pictures before these were measured."""
    job = workspace.inspection
    return job.was_stopped and not job.is_running() and not workspace.facts_file.exists()


def _is_measured(workspace: Workspace) -> bool:
    """Whether the decision can be shown; if not, says what is being done or what is wrong."""
    job = workspace.inspection
    running = job.is_running()
    if workspace.facts_file.exists():
        return True
    if running:
        _watch_inspection(workspace, listed=True)
        return False
    st.error(plain(workspace.in_words(job.failure())))
    st.button("Try again", on_click=job.forget, key="retry")
    return False


@st.fragment(run_every=REFRESH)
def _watch_inspection(workspace: Workspace, listed: bool) -> None:
    with guarded():
        job = workspace.inspection
        if not job.is_running() or workspace.facts_file.exists() or workspace.data_file.exists() != listed:
            st.rerun()
        show_step(current_step(read_events(workspace.events_file)), job.started, "Starting")


@st.cache_resource(show_spinner=False, max_entries=8)
def _load(path: Path, version: int) -> Dataset:
    # The version is part of the key only: a new list must not be answered with the old one.
    return Workspace(path).data()


def _show_counts(data: Dataset) -> None:
    learned, held_out = data.counts("train", "valid"), data.counts("test")
    with st.expander("Pictures of each class", expanded=len(data.class_names) <= 12):
        tall = len(data.class_names) * charts.ROW > CHART_HEIGHT
        with st.container(height=CHART_HEIGHT if tall else "content", border=False):
            st.altair_chart(
                charts.class_counts(learned, held_out), width="stretch", alt="Bars: number of pictures of each class"
            )


def _show_problems(data: Dataset) -> None:
    """Files that were left out: those with a wrong name at first, those that cannot be read once they were tried."""
    problems = [{"path": problem.path, "reason": problem.reason} for problem in data.problems]
    if problems:
        with st.expander(f":orange-badge[{counted(len(problems), 'file')} left out]"):
            st.dataframe(problems, hide_index=True, width="stretch")
            st.caption("The others are used. Repair or remove these, and give the pictures again if they matter.")
    if data.notes:
        st.caption(plain(" ".join(data.notes)))
