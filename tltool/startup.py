"""Loads Keras without the lines that TensorFlow writes to standard error while it starts."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def load_keras_quietly() -> None:
    """Imports Keras; what its native libraries print is shown only if the import fails."""
    # 2 keeps warnings of TensorFlow's C++ side, such as an allocation that nearly failed, out of the progress bar.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _standard_error_aside():
        import keras

        keras.distribution.list_devices()  # the first look for a GPU complains as well where there is none


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
