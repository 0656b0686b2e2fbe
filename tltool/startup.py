"""Loads Keras without the lines that TensorFlow prints as it starts, and without the imports that it can spare."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Keras imports these if it finds them, for wrappers that the command line never touches: a third of its own time.
SPARED = ("pandas", "sklearn")


def load_keras_quietly() -> None:
    """Imports Keras; what its native libraries print is shown only if the import fails."""
    # 2 keeps warnings of TensorFlow's C++ side, such as an allocation that nearly failed, out of the progress bar.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _standard_error_aside(), _as_if_not_installed(SPARED):
        import keras

        keras.distribution.list_devices()  # the first look for a GPU complains as well where there is none


@contextmanager
def _as_if_not_installed(names: tuple[str, ...]) -> Iterator[None]:
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # None is how the import system notes that a module cannot be had
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _standard_error_aside() -> Iterator[None]:
    # The lines come from C++ before its logging is set up: no environment variable stops them, only the descriptor.
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
