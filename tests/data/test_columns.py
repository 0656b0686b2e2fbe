"""Which column is which, in headers that people have."""

import pytest

from tltool.data.columns import Columns, find_columns
from tltool.errors import DataError


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("path,label", Columns(0, 1, None, None)),
        ("LABEL,Path", Columns(1, 0, None, None)),
        ("filename,class,split,patient", Columns(0, 1, 2, 3)),
        ("id,file,category,part,Video ID", Columns(1, 2, 3, 4)),
        ("image_id,dx,dx_type,lesion_id", Columns(0, 1, None, 3)),
        ("Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age", Columns(0, 1, None, 3)),
        ("id,class_id", Columns(0, 1, None, None)),
        ("class_id,class,id,image-path,subset", Columns(3, 1, 4, None)),
        ("img,target,set,subject", Columns(0, 1, 2, 3)),
        ("width,height,image,diagnosis", Columns(2, 3, None, None)),
    ],
)
def test_names_that_are_recognised(header: str, columns: Columns) -> None:
    assert find_columns(header.split(","), None, "t.csv") == columns


@pytest.mark.parametrize(
    ("header", "chosen", "columns"),
    [
        ("a,b", {"path": "a", "label": "b"}, Columns(0, 1, None, None)),
        ("A ,b c", {"path": "a", "label": "B-C"}, Columns(0, 1, None, None)),
        ("path,label,Label", {"label": "Label"}, Columns(0, 2, None, None)),
        ("path,class,category", {"label": "category"}, Columns(0, 2, None, None)),
        ("path,label,split,patient", {"split": "", "group": " "}, Columns(0, 1, None, None)),
        ("path,label,split,fold", {"split": "fold", "group": "split"}, Columns(0, 1, 3, 2)),
    ],
)
def test_names_that_the_user_gives(header: str, chosen: dict[str, str], columns: Columns) -> None:
    assert find_columns(header.split(","), chosen, "t.csv") == columns


@pytest.mark.parametrize(
    ("header", "chosen", "message"),
    [
        ("path,size", {}, "no column with the label found"),
        ("a.jpg,cat", {}, "no column with the path found; no column with the label found"),
        ("path,file,label", {}, "several columns may hold the path: path, file"),
        ("path,label,LABEL", {}, "several columns may hold the label: label, LABEL"),
        ("path,label,patient_id,lesion_id", {}, "several columns may hold the group: patient_id, lesion_id"),
        ("path,label", {"label": "size"}, "no columns named 'size' for the label"),
        ("path,x,x", {"label": "x"}, "2 columns named 'x' for the label"),
        ("path,label", {"label": ""}, "no columns named '' for the label"),
        ("path,label", {"label": "path"}, "column 'path' cannot be both path and label"),
        ("path,label", {"labels": "x"}, "no column to choose as 'labels', only as path, label, split, group"),
    ],
)
def test_what_is_missing_or_ambiguous_is_named_with_the_header(
    header: str, chosen: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=r"^t\.csv: ") as caught:
        find_columns(header.split(","), chosen, "t.csv")
    assert message in str(caught.value)
    assert f"Its columns are: {header.replace(',', ', ')}." in str(caught.value)
    assert "--column label=NAME" in str(caught.value)


def test_a_long_header_is_shortened() -> None:
    with pytest.raises(DataError, match=r"column 9 and 990 more\. Name one"):
        find_columns([f"column {number}" for number in range(1000)], None, "t.csv")
