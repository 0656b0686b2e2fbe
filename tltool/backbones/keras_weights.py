"""Loads a Keras weights file into a network, with an error that names the file."""

import warnings
import zipfile
from pathlib import Path

import keras

from tltool.errors import WeightsError

SUFFIXES = (".weights.h5", ".h5", ".keras")
LONGEST_REASON = 300  # characters; Keras lists every layer that did not fit


def check_weights_file(path: Path) -> None:
    """Says early, before a network is built, that a file cannot be one of weights.

    Raises:
        WeightsError: if there is no such file or its name does not end in one of `SUFFIXES`.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file.")
    if not path.name.endswith(SUFFIXES):
        raise WeightsError(f"{path}: unknown kind of weights file; give one that ends in {', '.join(SUFFIXES)}.")


def load_keras_weights(network: keras.Model, path: Path) -> None:
    """Copies the weights of a file into the network. Only arrays are read: code in a `.keras` file is never run.

    After an error some of the network's weights may already be overwritten.

    Args:
        network: Of the same architecture as the one that was saved.
        path: A file that ends in one of `SUFFIXES`.

    Raises:
        WeightsError: if the file is missing, is of another kind, or does not fit.
    """
    check_weights_file(path)
    try:
        with warnings.catch_warnings():
            # Where Keras finds only part of a layer in the file, it warns and leaves the rest random.
            warnings.filterwarnings("error", "Skipping", UserWarning)
            network.load_weights(path)
    except (
        UserWarning,
        ValueError,
        OSError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        zipfile.BadZipFile,
    ) as error:
        # h5py and Keras answer a damaged or foreign file with any of these.
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise WeightsError(f"{path}: not weights of {network.name}: {reason}") from None
