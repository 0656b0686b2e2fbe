"""Which column of a manifest holds what: by the names that people use, or as the user says."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from tltool.data.listing import shortened
from tltool.errors import DataError

# What each column is called, in lower case with underscores. A later tuple counts only where no name of an earlier one
# is in the header: many tables have an "id" beside the file's name, or a "class_id" beside the class.
NAMES: Mapping[str, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "path": (
            (
                *("path", "file", "filename", "file_name", "filepath", "file_path", "relative_path"),
                *("image", "image_path", "image_file", "image_filename", "image_name", "imagename"),
                *("img", "img_path", "img_file", "img_name", "picture", "photo"),
            ),
            ("id", "image_id", "img_id", "image_index", "isic_id", "name"),
        ),
        "label": (
            (
                *("label", "labels", "class", "classes", "class_name", "classname", "label_name"),
                *("category", "categories", "target", "targets", "tag", "tags"),
                *("diagnosis", "diagnoses", "dx", "finding_labels", "finding_label", "species"),
            ),
            ("class_id", "label_id", "category_id", "class_index", "y"),
        ),
        "split": (("split", "part", "set", "subset", "partition", "dataset_split", "data_split"),),
        "group": (
            (
                *("group", "group_id", "patient", "patient_id", "patientid", "subject", "subject_id"),
                *("lesion", "lesion_id", "video", "video_id", "person", "person_id", "case_id"),
            ),
        ),
    }
)
REQUIRED = ("path", "label")


class Columns(NamedTuple):
    """Positions in the header; None where the table has no such column."""

    path: int
    label: int
    split: int | None
    group: int | None


def find_columns(header: Sequence[str], chosen: Mapping[str, str] | None, shown: str) -> Columns:
    """Finds the columns with the picture's path, its label, and where there are any its split and its group.

    Args:
        header: Names of the columns; letter case, spaces and hyphens do not count.
        chosen: Names that the user gives, by "path", "label", "split" and "group"; an empty name for split or group
            says that there is no such column.
        shown: What messages call the table.

    Raises:
        DataError: naming every column that is missing or could be one of several, with the header.
    """
    chosen = chosen or {}
    faults = [
        f"there is no column to choose as '{role}', only as {', '.join(NAMES)}" for role in chosen if role not in NAMES
    ]
    found: dict[str, int | None] = {}
    for role in NAMES:
        matches, fault = _matches(header, role, chosen.get(role))
        found[role] = matches[0] if len(matches) == 1 else None
        if fault:
            faults.append(fault)
    if found["path"] is not None and found["path"] == found["label"]:
        faults.append(f"column '{header[found['path']]}' cannot be both path and label")
    if faults:
        if found["path"] is found["label"] is None and not chosen:
            faults.append("the first row must name the columns")
        raise DataError(
            f"{shown}: {'; '.join(faults)}. Its columns are: {shortened(header)}. "
            'Name one with --column label=NAME, in Python with columns={"label": "NAME"}.'
        )
    return Columns(**found)


def notes_on_columns(header: Sequence[str], columns: Columns) -> list[str]:
    """What was taken for what, where that is a matter of choice: there are columns that are not used, or groups."""
    taken = {role: header[index] for role, index in columns._asdict().items() if index is not None}
    if len(taken) == len(header) and columns.group is None:
        return []
    unused = [name for i, name in enumerate(header) if i not in columns]
    rest = f"; not used: {shortened(unused)}" if unused else ""
    groups = "; pictures of one group stay together" if columns.group is not None else ""
    return [f"Columns: {', '.join(f'{role} is {name!r}' for role, name in taken.items())}{groups}{rest}."]


def _matches(header: Sequence[str], role: str, name: str | None) -> tuple[list[int], str]:
    """Positions of the columns that may have this role, and what is wrong with that."""
    if name is not None and not name.strip() and role not in REQUIRED:
        return [], ""
    if name is not None:
        # The very name first: a table may have both "Label" and "label".
        exact = [i for i, column in enumerate(header) if column == name]
        matches = exact or [i for i, column in enumerate(header) if _plain(column) == _plain(name)]
        return matches, "" if len(matches) == 1 else f"{len(matches) or 'no'} columns named '{name}' for the {role}"
    for names in NAMES[role]:
        matches = [i for i, column in enumerate(header) if _plain(column) in names]
        if len(matches) > 1:
            return matches, f"several columns may hold the {role}: {', '.join(header[i] for i in matches)}"
        if matches:
            return matches, ""
    return [], f"no column with the {role} found" if role in REQUIRED else ""


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip()).lower()
