"""Whatever goes wrong on the page is a sentence on the page."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from tltool.errors import TltoolError
from tltool.ui.words import plain

_log = logging.getLogger(__name__)


@contextmanager
def guarded() -> Iterator[None]:
    """Shows errors; the traceback of one that is nobody's mistake but tltool's goes to the server's own output."""
    try:
        yield
    except TltoolError as error:
        st.error(plain(str(error)))
    except Exception as error:
        _log.exception("The page failed")
        st.error(
            f"tltool itself has failed ({type(error).__name__}). Reload the page; if it fails again, please report "
            "what the window says in which the app was started."
        )
