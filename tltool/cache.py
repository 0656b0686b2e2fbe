"""Where tltool keeps what it can make again: unpacked archives, features, converted weights."""

import os
import tempfile
from pathlib import Path

import platformdirs

from tltool.errors import TltoolError

VARIABLE = "TLTOOL_CACHE"


def cache_dir() -> Path:
    """The cache folder, made if it is missing: `TLTOOL_CACHE`, or the user's cache folder where that is unset or empty.

    Raises:
        TltoolError: if it cannot be made or written.
    """
    # Read at each call: a test or a notebook that sets the variable after the import gets what it asked for.
    chosen = os.environ.get(VARIABLE)
    folder = Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("tltool")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not os.access, which tells root that even /proc may be written.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TltoolError(
            f"{folder}: the cache folder cannot be written ({error.strerror}). "
            f"Set {VARIABLE} to a folder that can be written."
        ) from None
    return folder
