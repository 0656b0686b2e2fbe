"""How a folder of pictures is laid out: which folders only wrap others, and which are the parts of a split."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from tltool.data.listing import holds_picture, list_folder, shortened
from tltool.errors import DataError

# Lower-case folder names and the part that each stands for.
PART_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "valid": "valid",
        "val": "valid",
        "validation": "valid",
        "test": "test",
        "testing": "test",
    }
)


def see_through(folder: Path, stop_at: Collection[str] = ()) -> Path:
    """The folder itself, or the innermost one below it where each level holds one folder and no picture.

    Args:
        folder: Where to start.
        stop_at: Names of parts or classes: a folder that holds one of them is no wrapping, unless that one holds only
            folders with such names in its turn ("train" around "train" and "test").

    Raises:
        DataError: if a folder cannot be listed.
    """
    seen = set()
    while os.path.realpath(folder) not in seen:
        seen.add(os.path.realpath(folder))
        outer = list_folder(folder, folder)
        if len(outer.folders) != 1 or outer.pictures:
            break
        (name,) = outer.folders
        inner = list_folder(folder / name, folder)
        # A folder with pictures in it is a class; to enter it would report a flat folder instead of a lone class.
        if inner.pictures or not inner.folders:
            break
        if _among(name, stop_at) and not all(_among(below, stop_at) for below in inner.folders):
            break
        folder = folder / name
    return folder


def _among(name: str, names: Collection[str]) -> bool:
    return name in names or name.lower() in names


def find_parts(root: Path, source: str, *, trainable: bool = True) -> tuple[dict[str, str], list[str]]:
    """Finds the train, valid and test folders in `root`.

    Returns:
        The folder name of each part, with "train" among them if it is to be trained on, or nothing where `root` holds
        class folders; and the names of folders beside the parts, which belong to none.

    Raises:
        DataError: if there is no train part to train on, two folders for one part, or class folders beside a part.
    """
    named, others = defaultdict(list), []
    for name in list_folder(root, root).folders:
        part = PART_NAMES.get(name.lower())
        (named[part] if part else others).append(name)
    if not named or (others and _are_classes(root, named, others, source)):
        return {}, []
    if trainable and "train" not in named:
        found = ", ".join(name for names in named.values() for name in names)
        raise DataError(
            f"{source}: a part '{found}' but no 'train'. Add a folder 'train' with the pictures to learn from."
        )
    for part, names in named.items():
        if len(names) > 1:
            raise DataError(f"{source}: several folders for the {part} part: {', '.join(names)}. Merge them into one.")
    return {part: names[0] for part, names in named.items()}, others


def _are_classes(root: Path, named: Mapping[str, list[str]], others: list[str], source: str) -> bool:
    """Whether folders with the names of parts are classes like the `others` beside them ("train" among vehicles)."""
    inside = {name: list_folder(root / name, root) for names in named.values() for name in names}
    if "train" in named and len(named) > 1:
        return any(inside[name].pictures for name in named["train"])
    for name, listing in inside.items():
        shared = sorted(set(listing.folders) & set(others))
        if shared:
            raise DataError(
                f"{source}: class folders ({', '.join(shared)}) both beside '{name}' and in it. "
                "Give each part a folder of its own: train, valid, test."
            )
    return True


def find_tables(folder: Path, root: Path) -> list[Path]:
    """Files that may be manifests, in the first of these places that has some.

    They are `root`, the folders around it up to `folder`, and the only folder in `root`: one with pictures in it is
    not seen through, for it may be a class.

    Raises:
        DataError: if a folder cannot be listed.
    """
    around = [place for place in (root, *root.parents) if place.is_relative_to(folder)]
    inside = [root / name for name in list_folder(root, root).folders]
    for place in around + (inside if len(inside) == 1 else []):
        tables = [place / name for name in list_folder(place, place).tables]
        if tables:
            return tables
    return []


def has_classes(root: Path) -> bool:
    """Whether folders name the classes: two at least hold pictures, in `root` or in its parts.

    A single one, such as "images", says nothing about its pictures; nor do parts with nothing but pictures in them.

    Raises:
        DataError: if a folder cannot be listed.
    """
    classes = set()
    for name in list_folder(root, root).folders:
        if name.lower() not in PART_NAMES:
            classes |= {name} if holds_picture(root / name) else set()
            continue
        part = see_through(root / name)
        classes |= {below for below in list_folder(part, root).folders if holds_picture(part / below)}
    return len(classes) > 1


def check_parts(source: str, classes: Mapping[str, Collection[str]], *, trainable: bool) -> list[str]:
    """Notes on parts that lack a class which others have.

    Args:
        source: What the user gave; messages start with it.
        classes: Names of the classes with pictures, for each part that there is.
        trainable: Whether the set is to be trained on; if not, there need be no train part.

    Raises:
        DataError: if the set is to be trained on and a class is not in the train part.
    """
    known = set(classes["train"] if trainable else set().union(*classes.values()))
    unknown = {part: sorted(set(names) - known) for part, names in classes.items() if set(names) - known}
    if unknown:
        listed = "; ".join(f"{part}: {shortened(names)}" for part, names in unknown.items())
        raise DataError(
            f"{source}: classes that the train part does not have: {listed}. "
            "Add pictures of them to the train part, or take them out; names must match to the letter."
        )
    return [
        f"The {part} part has no pictures of {shortened(sorted(known - set(names)))}."
        for part, names in classes.items()
        if known - set(names)
    ]


def notes_on_case(names: Iterable[str]) -> list[str]:
    """A note if class names differ only in letter case, which is mostly a slip; else none."""
    alike = defaultdict(list)
    for name in sorted(set(names)):
        alike[name.casefold()].append(name)
    found = [" and ".join(same) for same in alike.values() if len(same) > 1]
    if not found:
        return []
    return [f"Names that differ only in letter case are different classes: {shortened(found)}. Is that meant?"]
