"""Pictures in memory as a data set: written to the cache once, so that everything that reads files can read them."""

import hashlib
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tltool.cache import cache_dir
from tltool.data.dataset import Dataset, Problem, Row, build
from tltool.data.layout import PART_NAMES
from tltool.data.listing import shortened
from tltool.data.published import published
from tltool.errors import DataError, ShapeError

NAME_DIGITS = 32  # hex digits of the SHA-256 in the folder's name: 128 bits, so that no two sets of arrays meet
PNG_LEVEL = 1  # of zlib; photographs grow by 8 % against the usual 6 and are written 3 times as fast
WORKERS = 4  # threads that write; zlib lets others run meanwhile


def from_arrays(
    images: np.ndarray | Sequence[np.ndarray],
    labels: np.ndarray | Sequence[Any],
    class_names: Sequence[str] | None = None,
    *,
    parts: Sequence[str | None] | None = None,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
    name: str = "arrays",
    trainable: bool = True,
) -> Dataset:
    """A data set of pictures in memory. They are written to the cache as PNG, once for the same pictures.

    Args:
        images: uint8, 0 to 255, shape (N, H, W, 3), or grey (N, H, W, 1) or (N, H, W); or a sequence of N such arrays
            without the first axis, whose sizes may differ.
        labels: Class names or class numbers, shape (N,) or (N, 1). For a multi-label set an array of 0 and 1, shape
            (N, C), or a sequence of N lists of names or numbers. An array with exactly one 1 in each row is that of a
            set with one label a picture.
        class_names: Names of the classes 0 to C-1; None to name them by their numbers.
        parts: The part of each picture (train, valid or val, test); None to have them split.
        groups: Pictures of the same group (a patient, a video) stay in one part; None or "" for one on its own.
        seed: Of the split.
        name: For messages and titles.
        trainable: Whether it must be fit to train on; a set that is only scored may have a single picture.

    Returns:
        A data set in which `files[i]` is `images[i]`, unless one is left out for want of a label. As in any data set,
        its `class_names` are sorted, so that class numbers may differ from those given.

    Raises:
        ShapeError: if shapes do not fit, naming both.
        DataError: if the pictures are not uint8, or labels, parts or the whole set cannot be used.
    """
    pictures = _pictures(images)
    names, multi_label, notes = _label_names(labels, class_names)
    given = _parts(parts)
    for what, column in (("labels", names), ("parts", given), ("groups", groups)):
        if column is not None and len(column) != len(pictures):
            raise ShapeError(f"{name}: {len(pictures)} images but {len(column)} {what}. Give one for each image.")
    root = _write(pictures, name)
    rows, problems = [], []
    for index, of_picture in enumerate(names):
        file = _file_name(index)
        if not of_picture or "" in of_picture:
            problems.append(Problem(file, "no label", "empty-label"))
            continue
        group = "" if groups is None or groups[index] is None else str(groups[index])
        label = of_picture if multi_label else of_picture[0]
        rows.append(Row(file, label, given[index] if given else None, group))
    return build(name, root, rows, seed, problems, notes, trainable=trainable, multi_label=multi_label)


def _pictures(images: Any) -> list[np.ndarray]:
    """The pictures, each of shape (H, W) or (H, W, 3)."""
    if hasattr(images, "__array__"):  # a tensor of any framework too
        images = np.asarray(images)
    pictures = [np.asarray(image) for image in images]
    if not pictures:
        raise ShapeError("images: there are none. Give an array of shape (N, H, W, 3).")
    return [_picture(picture, index) for index, picture in enumerate(pictures)]


def _picture(picture: np.ndarray, index: int) -> np.ndarray:
    where = f"images[{index}]"
    if picture.dtype != np.uint8:
        if np.issubdtype(picture.dtype, np.floating):
            advice = "(images * 255).round().astype('uint8') for values from 0 to 1, without the factor for 0 to 255"
        else:
            advice = "images.astype('uint8') for values from 0 to 255"
        raise DataError(f"{where}: values of {picture.dtype}, not uint8 from 0 to 255. Convert them: {advice}.")
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[..., 0]
    if 0 in picture.shape or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)):
        advice = ""
        if picture.ndim == 3 and picture.shape[2] == 4:
            advice = " Leave out the alpha channel: image[..., :3]."
        elif picture.ndim == 3 and picture.shape[0] in (1, 3):
            advice = " Channels come last: np.moveaxis(image, 0, -1)."
        raise ShapeError(f"{where}: shape {picture.shape}, where (H, W), (H, W, 1) or (H, W, 3) is needed.{advice}")
    return picture


def _label_names(labels: Any, class_names: Sequence[str] | None) -> tuple[list[tuple[str, ...]], bool, list[str]]:
    """The classes of each picture, whether it may have several, and what was guessed."""
    known = None if class_names is None else [_plain(name) for name in class_names]
    if known is not None and (len(set(known)) < len(known) or "" in known):
        raise DataError(f"class_names: {shortened(known)}: each must be there once, and none may be empty.")
    if hasattr(labels, "__array__"):
        labels = np.asarray(labels)
        if labels.ndim == 2 and labels.shape[1] != 1:
            return _from_matrix(labels, known)
        if labels.ndim not in (1, 2):
            raise ShapeError(f"labels: shape {labels.shape}, where (N,) is needed, or (N, C) for a multi-label set.")
        labels = labels.reshape(len(labels)).tolist()
    labels = list(labels)
    multi_label = any(_is_several(label) for label in labels)
    found = []
    for index, label in enumerate(labels):
        several = list(label) if _is_several(label) else [label]
        found.append(tuple(sorted({_name(each, known, f"labels[{index}]") for each in several})))
    return found, multi_label, []


def _from_matrix(labels: np.ndarray, known: Sequence[str] | None) -> tuple[list[tuple[str, ...]], bool, list[str]]:
    if labels.dtype.kind not in "biuf" or not np.isin(labels, (0, 1)).all():
        raise DataError(f"labels: an array of shape {labels.shape} must hold 0 and 1 only, a column for each class.")
    if known is not None and len(known) != labels.shape[1]:
        raise ShapeError(f"labels: shape {labels.shape}, but {len(known)} class names. Give one for each column.")
    known = known or [str(number) for number in range(labels.shape[1])]
    found = [tuple(known[column] for column in np.flatnonzero(row)) for row in labels]
    if all(len(of_picture) == 1 for of_picture in found):
        return found, False, ["Each row of the labels has exactly one class, so this is no multi-label set."]
    return found, True, []


def _is_several(label: Any) -> bool:
    return isinstance(label, list | tuple | set | frozenset) or (isinstance(label, np.ndarray) and label.ndim > 0)


def _name(label: Any, known: Sequence[str] | None, where: str) -> str:
    """The class's name; "" if there is no label."""
    if label is None or label != label:  # NaN
        return ""
    if isinstance(label, str):
        name = _plain(label)
        if known is not None and name and name not in known:
            raise DataError(f"{where}: '{name}' is none of the class names ({shortened(known)}).")
        return name
    if not isinstance(label, int | float | np.integer | np.floating) or not float(label).is_integer():
        raise DataError(f"{where}: {label!r} is neither a class name nor a class number.")
    if known is None:
        return str(int(label))
    if not 0 <= label < len(known):
        raise DataError(f"{where}: {label} is no class number from 0 to {len(known) - 1}, for which there are names.")
    return known[int(label)]


def _plain(name: Any) -> str:
    # One name may be composed in one place and decomposed in another ('é'): both are the same class.
    return unicodedata.normalize("NFC", str(name).strip())


def _parts(parts: Sequence[str | None] | None) -> list[str] | None:
    if parts is None or all(part is None for part in parts):
        return None
    unknown = sorted({str(part) for part in parts if str(part).lower() not in PART_NAMES})
    if unknown:
        raise DataError(f"parts: {shortened(unknown)}: none of {', '.join(PART_NAMES)}. Give one for every image.")
    return [PART_NAMES[str(part).lower()] for part in parts]


def _write(pictures: Sequence[np.ndarray], name: str) -> Path:
    """The folder in the cache that holds them."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(repr(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture))
    target = cache_dir() / "datasets" / f"arrays-{digest.hexdigest()[:NAME_DIGITS]}"

    def fill(folder: Path) -> None:
        def save(index: int) -> None:
            Image.fromarray(pictures[index]).save(folder / _file_name(index), compress_level=PNG_LEVEL)

        with ThreadPoolExecutor(WORKERS, thread_name_prefix="tltool-write") as executor:
            for _ in executor.map(save, range(len(pictures))):
                pass

    try:
        return published(target, fill)
    except OSError as error:
        raise DataError(
            f"{name}: cannot be written to {target.parent} ({error.strerror or error}). Is the disk full?"
        ) from None


def _file_name(index: int) -> str:
    return f"{index:07}.png"  # padded, so that the order of the names is that of the images
