"""Step 1: which pictures."""

import time

import streamlit as st

from tltool.backbones import backbone_names, offline_names
from tltool.backbones.registry import TINY_RANDOM
from tltool.ui import workspace as spaces
from tltool.ui.drop_area import show_drop_area
from tltool.ui.guard import guarded
from tltool.ui.launch import is_loopback
from tltool.ui.words import duration, plain
from tltool.ui.workspace import Workspace

EARLIER = 8  # data sets offered again

LAYOUT = """photos.zip
├── ants/   ant1.jpg, ant2.jpg, ...
└── bees/   bee1.jpg, bee2.jpg, ..."""


def choose_data() -> Workspace | None:
    """Draws the ways to give pictures, with what is wrong beside them; returns a workspace once one was taken."""
    st.markdown(
        "Put the pictures of each class into a folder of their own; the folder's name is the class's name. "
        "Two classes or more, some dozens of pictures each."
    )
    upload, folder, sample = st.tabs(["Upload an archive", "A folder on this computer", "Try it with a sample"])
    with st.expander("Advanced"):
        backbone = _choose_backbone()
    with upload, guarded():
        st.code(LAYOUT, language=None)
        workspace = show_drop_area(backbone)
        if workspace is not None:
            return workspace
    with folder, guarded(), st.form("folder", border=False):
        text = st.text_input(
            "Path of a folder with one folder a class, of a .zip or .tar of one, or of a .csv table; it is only read",
            placeholder="/home/me/photos",
            key="folder-path",
        )
        if st.form_submit_button("Use this folder", type="primary"):
            return spaces.from_folder(text, backbone)
    with sample, guarded():
        st.markdown(
            "400 handwritten digits that come with scikit-learn: small, grey, and nothing like the photographs that "
            "the network learned from. From here to a finished model takes about a minute."
        )
        if st.button("Use the digits", type="primary"):
            with st.spinner("Writing the digits"):
                return spaces.from_sample(backbone)
    return _earlier_work()


def _choose_backbone() -> str:
    here = offline_names()
    names = [*here, *(name for name in backbone_names() if name not in here)]

    def described(name: str) -> str:
        if name == TINY_RANDOM:
            return f"{name} (has learned nothing; for tests)"
        return name if name in here else f"{name} (its weights are downloaded)"

    return st.selectbox(
        "Pretrained network to start from",
        names,
        format_func=described,
        key="backbone",
        help="The first is the fastest. The larger ones of its family see finer detail.",
    )


def _earlier_work() -> Workspace | None:
    # Elsewhere the address of a workspace is what keeps it private.
    if not is_loopback(st.get_option("server.address") or ""):
        return None
    earlier = spaces.recent_workspaces(EARLIER)
    if not earlier:
        return None
    with st.expander(f"Earlier work ({len(earlier)})"):
        for space in earlier:
            ago = duration(time.time() - space.settings["created"])
            if st.button(f"{plain(space.title)} · {ago} ago", key=f"open-{space.id}", icon=":material/history:"):
                return space
    return None
