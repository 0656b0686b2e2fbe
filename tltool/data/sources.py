"""From what a user names to a data set."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

from tltool.cache import cache_dir
from tltool.data.archives import is_archive, unpack
from tltool.data.dataset import Dataset
from tltool.data.folders import read_folder
from tltool.data.listing import is_table
from tltool.data.manifests import read_manifest
from tltool.errors import DataError
from tltool.progress import Report, silent
from tltool.seed import LARGEST_SEED

READABLE = (
    "a folder of class folders, a folder with train, valid and test parts, a .zip or .tar(.gz) of either, a table of "
    "pictures and labels (.csv, .tsv, .parquet), tfds:NAME, or an address of any of these (s3://, gs://, https://)"
)
CATALOGUE = "tfds:"


def load_dataset(
    source: str | Path,
    seed: int = 0,
    *,
    trainable: bool = True,
    columns: Mapping[str, str] | None = None,
    report: Report = silent,
) -> Dataset:
    """Indexes and splits a data set; the source is only read.

    Args:
        source: One of

            - a folder of class folders, or of train, valid (or val) and test parts that hold class folders, or of
              pictures and one manifest;
            - an archive of such a folder (.zip, .tar, .tar.gz), which is unpacked into the cache once;
            - a manifest: a .csv, .tsv or .parquet with a row for each picture, see `read_manifest`;
            - `tfds:NAME`, a data set of tensorflow-datasets, copied into the cache once;
            - an address of one of the first three that fsspec opens (s3://, gs://, https://), copied into the cache
              once for each state of what is there.
        seed: Of the split; 0 to 2,147,483,647.
        trainable: Whether it must be fit to train on; a set that is only scored may have a single picture.
        columns: Names of a manifest's columns by "path", "label", "split" and "group", where they are not recognised;
            for a tfds set the features by "path" (the picture) and "label".
        report: Told how far copying and unpacking are.

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
    if name.startswith(CATALOGUE):
        # Late, as the next one: neither package is needed for what most people have.
        from tltool.data.tfds import read_tfds

        return read_tfds(name, seed, trainable=trainable, columns=columns, report=report)
    if is_address(name) and _local_path(name) is None:
        from tltool.data.remote import fetch

        path, notes = fetch(name, cache_dir() / "datasets", columns, report)
        try:
            return _read(path, name, seed, notes, report, confined=True, trainable=trainable, columns=columns)
        except DataError as error:
            # People know the address; where its copy lies in the cache tells them nothing.
            raise DataError(str(error).replace(str(path), name)) from None
    path = _checked(_local_path(name) or Path(source), name)
    return _read(path, name, seed, (), report, confined=False, trainable=trainable, columns=columns)


def is_address(name: str) -> bool:
    """Whether this is an address rather than a path: "s3://photos", "zip::https://host/photos.zip"."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+(::|://)", name) is not None and "://" in name


def _local_path(address: str) -> Path | None:
    """The path in a file:// address, which needs no copy; None if the address is another."""
    if not address.lower().startswith("file://") or "::" in address:
        return None
    path = re.sub(r"^localhost(?=/)", "", address[len("file://") :])
    return Path(path) if Path(path).exists() else Path(url2pathname(path))


def _checked(path: Path, name: str) -> Path:
    """The path with a home directory filled in, if there is something at it."""
    if name.startswith("~"):
        try:
            path = path.expanduser()
        except RuntimeError:
            raise DataError(f"{name}: no such user. Check the path.") from None
    try:
        str(path.absolute()).encode()
        exists = path.exists()
    except UnicodeEncodeError:
        shown = str(path.absolute()).encode(errors="backslashreplace").decode()
        raise DataError(f"{shown}: the path is not valid UTF-8. Rename the folder or file.") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}). Check the path and its permissions.") from None
    if not exists:
        raise DataError(f"{name}: no such file or folder. Check the path, and give {READABLE}.")
    return path


def _read(
    path: Path, source: str, seed: int, notes: Iterable[str], report: Report, *, confined: bool, **options: Any
) -> Dataset:
    is_folder = path.is_dir()
    if not is_folder and is_table(path.name):
        return read_manifest(path, source, seed, notes, confined=confined, **options)
    if not is_folder and not is_archive(path):
        raise DataError(f"{source}: cannot be read as a data set. What can be read: {READABLE}.")
    folder = path if is_folder else unpack(path, cache_dir() / "datasets", report)
    return read_folder(folder, source, seed, notes, **options)
