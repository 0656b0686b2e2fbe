"""The place on the page to drop an archive on; what the browser does with it stands in the three files beside this."""

from pathlib import Path

import streamlit as st

from tltool.data.archives import ARCHIVE_ENDINGS
from tltool.errors import TltoolError
from tltool.ui.incoming import MAX_UPLOAD_BYTES
from tltool.ui.tickets import renew_ticket
from tltool.ui.uploads import PATH, TICKET_HEADER
from tltool.ui.words import size
from tltool.ui.workspace import Workspace, open_workspace

TICKET = "upload-ticket"  # in the session
HERE = Path(__file__)

_component = st.components.v2.component(
    "tltool_drop_area",
    html=HERE.with_suffix(".html").read_text("utf-8"),
    css=HERE.with_suffix(".css").read_text("utf-8"),
    js=HERE.with_suffix(".js").read_text("utf-8"),
)


def show_drop_area(backbone: str) -> Workspace | None:
    """Draws the area; returns a workspace once something was uploaded.

    Args:
        backbone: To look through; the choice at the upload's end counts.

    Raises:
        TltoolError: if what was uploaded is gone.
    """
    st.session_state[TICKET] = renew_ticket(st.session_state.get(TICKET), backbone)
    data = {
        "label": f"A .zip, .tar or .tar.gz with one folder a class, up to {size(MAX_UPLOAD_BYTES)}",
        "path": PATH,
        "header": TICKET_HEADER,
        "ticket": st.session_state[TICKET],
        # Browsers know files by what follows the last dot.
        "accept": ",".join(sorted({f".{ending.rsplit('.', 1)[-1]}" for ending in ARCHIVE_ENDINGS})),
    }
    uploaded = _component(key="upload", data=data, on_uploaded_change=_redraw).uploaded
    if uploaded is None:
        return None
    workspace = open_workspace(str(uploaded))
    if workspace is None:
        raise TltoolError("What was uploaded is not on this machine any more. Upload it again.")
    return workspace


def _redraw() -> None:
    """Nothing: Streamlit hands over the values of a component that has a function for them."""
