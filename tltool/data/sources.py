"""From what a user names to a data set."""

from pathlib import Path

from tltool.cache import cache_dir
from tltool.data.archives import unpack_zip
from tltool.data.dataset import Dataset
from tltool.data.folders import read_folder
from tltool.errors import DataError
from tltool.seed import LARGEST_SEED

READABLE = "a folder of class folders, a folder with train, valid and test parts, or a .zip of either"


def load_dataset(source: str | Path, seed: int = 0, *, trainable: bool = True) -> Dataset:
    """Indexes and splits a data set; the source is only read.

    Args:
        source: A folder of class folders, a folder with train, valid (or val) and test parts that hold class folders,
            or a .zip of either, which is unpacked into the cache once.
        seed: Of the split; 0 to 2,147,483,647.
        trainable: Whether it must be fit to train on; a set that is only scored may have a single picture.

    Raises:
        DataError: if the source or the seed cannot be used; the message says what to do.
    """
    # True is an int: passed by a caller who mixed up arguments, it would silently be seed 1.
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
        raise DataError(f"seed: {seed!r} is not a whole number from 0 to {LARGEST_SEED}.")
    name = str(source)
    # Path("") is the current folder, which nobody means by an empty field.
    if not name.strip():
        raise DataError(f"No data set named. Give {READABLE}.")
    path = Path(source)
    if name.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:
            raise DataError(f"{name}: no such user. Check the path.") from None
    try:
        str(path.absolute()).encode()
        is_folder, is_file, exists = path.is_dir(), path.is_file(), path.exists()
    except UnicodeEncodeError:
        shown = str(path.absolute()).encode(errors="backslashreplace").decode()
        raise DataError(f"{shown}: the path is not valid UTF-8. Rename the folder or file.") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}). Check the path and its permissions.") from None
    if is_folder:
        return read_folder(path, name, seed, trainable=trainable)
    if path.suffix.lower() == ".zip" and is_file:
        return read_folder(unpack_zip(path, cache_dir() / "datasets"), name, seed, trainable=trainable)
    if exists or name.startswith("tfds:") or path.suffix.lower() in (".csv", ".tar", ".gz", ".tgz"):
        raise DataError(f"{name}: cannot be read as a data set. What can be read: {READABLE}.")
    raise DataError(f"{name}: no such file or folder. Check the path, and give {READABLE}.")
