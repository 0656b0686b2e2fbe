"""Keeps Pillow's warnings away from people who can do nothing about them, in any number of threads."""

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import Image

# Pillow logs damage as errors; without a handler Python prints each to stderr, beside the problem that names the file.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def _silence_libtiff() -> None:
    """Keeps libtiff from printing a line for each damaged strip of a file, beside the problem that names the file."""
    # Pillow leaves libtiff's own handlers in place, and they belong to the process. Where it is linked into Pillow in
    # another way, as on Windows, the functions are not found, and the lines are all that is wrong.
    with suppress(OSError, AttributeError):
        libtiff = ctypes.CDLL(Image.core.__file__)
        libtiff.TIFFSetErrorHandler(None)
        libtiff.TIFFSetWarningHandler(None)


_silence_libtiff()

_lock = threading.Lock()
_inside = 0
_filters: warnings.catch_warnings | None = None


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignores what Pillow warns of in pictures that can be read: large ones, and odd metadata around sound pixels."""
    # The filters belong to the process. Were each thread to save and restore them, one could restore what another had
    # changed: decoding in parallel would now and then leave them changed for good, or raise where warnings are errors.
    # So the first one in changes them, and the last one out puts them back.
    global _inside, _filters
    with _lock:
        if _inside == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _filters is not None:
                _filters.__exit__(None, None, None)
                _filters = None
