"""Manifests as people write them, with every fault that one meets, and those that strangers write."""

import os
import unicodedata
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.pictures import make_class_folders, make_picture
from tltool.data.dataset import Dataset
from tltool.data.manifests import listed_paths, read_manifest
from tltool.errors import DataError

COUNTS = {"cat": 5, "dog": 4}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder "photos" with a folder "images" that has p0.png to p8.png: five cats, then four dogs."""
    for number in range(9):
        make_picture(tmp_path / "photos" / "images" / f"p{number}.png", (number, 0, 0), size=4)
    return tmp_path / "photos"


def rows(*, ending: str = ".png", folder: str = "images/") -> list[list[str]]:
    return [[f"{folder}p{number}{ending}", "cat" if number < 5 else "dog"] for number in range(9)]


def write(photos: Path, lines: list[list[str]], header: str = "path,label", name: str = "labels.csv") -> Path:
    path = photos / name
    path.write_text("\n".join([header, *(",".join(line) for line in lines)]) + "\n", "utf-8")
    return path


def read(path: Path, **options: object) -> Dataset:
    return read_manifest(path, str(path), 0, **options)


def problems(data: Dataset) -> dict[str, str]:
    return {str(problem): problem.kind for problem in data.problems}


def labels(data: Dataset) -> dict[str, tuple[str, ...]]:
    return {file: data.label_names(index) for index, file in enumerate(data.files)}


def test_a_csv_of_paths_and_labels(photos: Path) -> None:
    path = write(photos, rows())
    data = read(path, notes=["Fetched."])
    assert data.counts() == COUNTS
    assert data.source == str(path)
    assert data.root == photos
    assert data.name == "labels"
    assert data.files[0] == "images/p0.png"
    assert all(file.is_file() for file in data.paths)
    assert (data.multi_label, data.given_parts, data.problems) == (False, False, ())
    assert data.notes[0] == "Fetched."
    assert {"train", "valid", "test"} == set(data.parts)


def test_the_root_is_absolute(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(photos, rows())
    monkeypatch.chdir(photos)
    assert read(Path("labels.csv")).root == photos


def test_nothing_of_the_user_s_is_changed(photos: Path) -> None:
    path = write(photos, rows())
    before = {file: file.stat().st_mtime_ns for file in photos.rglob("*")}
    read(path)
    assert {file: file.stat().st_mtime_ns for file in photos.rglob("*")} == before


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_semicolons_and_byte_order_marks(photos: Path, encoding: str) -> None:
    path = write(photos, rows())
    path.write_text(path.read_text("utf-8").replace(",", ";").replace("cat", "кошка"), encoding)
    assert read(path).counts() == {"dog": 4, "кошка": 5}


def test_latin_1_leaves_a_note(photos: Path) -> None:
    path = write(photos, rows())
    path.write_text(path.read_text("utf-8").replace("cat", "bête"), "latin-1")
    data = read(path)
    assert data.counts() == {"bête": 5, "dog": 4}
    assert "labels.csv is not in UTF-8" in data.notes[0]


def test_parts_and_groups(photos: Path) -> None:
    split = ["train", "Training", "VAL", "valid", "test", "train", "TRAIN", "validation", "testing"]
    lines = [[*row, part, f"patient {n // 2}"] for n, (row, part) in enumerate(zip(rows(), split, strict=True))]
    lines[8][3] = ""
    data = read(write(photos, lines, "path,label,split,patient"))
    assert data.given == ("train", "train", "valid", "valid", "test", "train", "train", "valid", "test")
    assert data.parts == data.given
    assert data.groups[:3] == ("patient 0", "patient 0", "patient 1")
    assert data.groups[8] == ""


def test_groups_are_never_parted(photos: Path) -> None:
    lines = [[*row, f"video {n % 5}"] for n, row in enumerate(rows())]
    data = read(write(photos, lines, "path,label,video"))
    together = {
        group: {part for part, of in zip(data.parts, data.groups, strict=True) if of == group} for group in data.groups
    }
    assert all(len(parts) == 1 for parts in together.values())
    assert len(set(data.parts)) > 1


def test_columns_that_the_user_names(photos: Path) -> None:
    path = write(photos, [[row[1], "x", row[0]] for row in rows()], "what,label,where")
    assert read(path, columns={"path": "where", "label": "what"}).counts() == COUNTS
    with pytest.raises(DataError, match=r"no column with the path found\. Its columns are: what, label, where\."):
        read(path)


def test_an_empty_split_column_is_no_split(photos: Path) -> None:
    data = read(write(photos, [[*row, " "] for row in rows()], "path,label,split"))
    assert not data.given_parts
    assert set(data.parts) == {"train", "valid", "test"}


def test_a_lone_train_part_is_split_like_any_table(photos: Path) -> None:
    data = read(write(photos, [[*row, "train"] for row in rows()], "path,label,split"))
    assert not data.given_parts
    assert data.parts == read(write(photos, rows())).parts


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            ["train"] * 7 + ["tset", "0"],
            r"unknown parts in the split column: tset, 0\. Known are train, training, valid",
        ),
        (
            ["train"] * 5 + [""] * 2 + ["test"] * 2,
            r"2 of 9 rows have no part in the split column, the first is row 7\.",
        ),
        (["test"] * 9, r"no row for the train part, only for test\."),
        (["train"] * 5 + ["test"] * 4, r"classes that the train part does not have: test: dog\."),
    ],
)
def test_parts_that_cannot_be_used(photos: Path, split: list[str], message: str) -> None:
    path = write(photos, [[*row, part] for row, part in zip(rows(), split, strict=True)], "path,label,split")
    with pytest.raises(DataError, match=f"labels.csv: {message}"):
        read(path)


def test_a_set_that_is_only_scored_needs_no_train_part(photos: Path) -> None:
    path = write(photos, [[*row, "test"] for row in rows()], "path,label,split")
    assert read(path, trainable=False).counts("test") == COUNTS


def test_a_part_without_a_class_is_noted(photos: Path) -> None:
    split = ["train"] * 4 + ["test"] + ["train"] * 4
    data = read(write(photos, [[*row, part] for row, part in zip(rows(), split, strict=True)], "path,label,split"))
    assert "The test part has no pictures of dog." in data.notes


def test_all_faults_of_rows_are_reported_by_row(photos: Path) -> None:
    make_picture(photos / "extra.png")
    (photos / "notes.txt").write_text("x")
    (photos / "empty.jpg").touch()
    (photos / "phone.heic").write_text("x")
    faults = [
        ["gone.jpg", "cat"],
        ["extra.png", " "],
        ["", "cat"],
        ["notes.txt", "cat"],
        ["empty.jpg", "cat"],
        ["phone.heic", "cat"],
        ["images", "cat"],
        ["extra.png", "cat", "small"],
        ["extra.png"],
    ]
    data = read(write(photos, rows() + faults))
    assert data.counts() == COUNTS
    assert problems(data) == {
        "labels.csv, row 11: no such file gone.jpg": "missing-file",
        "labels.csv, row 12: no label": "empty-label",
        "labels.csv, row 13: no path": "missing-file",
        "labels.csv, row 14: notes.txt: not a picture: its name ends in .txt": "not-a-picture",
        "labels.csv, row 15: empty.jpg: the file is empty (0 bytes)": "empty",
        "labels.csv, row 16: phone.heic: a kind of picture that cannot be read (.heic): save it as JPEG or PNG": (
            "unreadable"
        ),
        "labels.csv, row 17: no such file images": "missing-file",
        "labels.csv, row 18: 3 cells where the header has 2: quote cells that hold ','": "bad-row",
        "labels.csv, row 19: no label": "empty-label",
    }


def test_rows_that_repeat_another_one_count_once(photos: Path) -> None:
    lines = rows()
    data = read(write(photos, [*lines, lines[0], ["./images//p1.png", "cat"], ["images\\p2.png", "cat"]]))
    assert data.counts() == COUNTS
    assert data.problems == ()
    assert data.notes[0] == "Rows of labels.csv that repeat another one count once: 11, 12, 13."


def test_rows_that_contradict_each_other_are_all_left_out(photos: Path) -> None:
    lines = rows()
    data = read(write(photos, [*lines, ["images/p0.png", "dog"], lines[0], lines[8]]))
    assert data.counts() == {"cat": 4, "dog": 4}
    assert problems(data) == {
        f"labels.csv, row {row}: images/p0.png has different labels in different rows: 'cat' and 'dog'": (
            "conflicting-row"
        )
        for row in (2, 11, 12)
    }


def test_one_picture_in_two_parts_or_groups_counts_in_the_first(photos: Path) -> None:
    lines = [[*row, "test" if n in (4, 8) else "train", "a"] for n, row in enumerate(rows())]
    data = read(write(photos, [*lines, [*lines[0][:2], "test", "a"], [*lines[1][:3], "b"]], "path,label,split,group"))
    assert data.given[:2] == ("train", "train")
    assert problems(data) == {
        "labels.csv, row 11: images/p0.png has another part in row 2, which counts": "duplicate-row",
        "labels.csv, row 12: images/p1.png has another group in row 3, which counts": "duplicate-row",
    }


def test_a_table_without_a_row_that_can_be_used(photos: Path) -> None:
    path = write(photos, rows(folder="gone/"))
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}: none of 9 rows can be used. The first: labels.csv, row 2: no such file gone/p0.png; "
        "labels.csv, row 3: no such file gone/p1.png; labels.csv, row 4: no such file gone/p2.png. "
        "Paths must be relative to the table's folder."
    )
    with pytest.raises(DataError, match=r"labels\.csv: no rows below the header"):
        read(write(photos, []))


def test_several_labels_make_a_multi_label_set(photos: Path) -> None:
    lines = rows()
    lines[0][1] = " dog | cat|dog "
    lines[1][1] = "cat||dog"
    data = read(write(photos, lines))
    assert data.multi_label
    assert labels(data)["images/p0.png"] == ("cat", "dog")
    assert labels(data)["images/p2.png"] == ("cat",)
    assert data.counts() == {"cat": 4, "dog": 5}
    assert problems(data) == {"labels.csv, row 3: an empty label in 'cat||dog'": "empty-label"}
    assert data.notes[0] == "Labels are separated by '|', so a picture may have several."


def test_rows_of_one_picture_add_up_in_a_multi_label_set(photos: Path) -> None:
    lines = rows()
    lines[0][1] = "cat|emu"
    data = read(write(photos, [*lines, ["images/p1.png", "emu"], ["images/p1.png", "dog|cat"], lines[0]]))
    assert labels(data)["images/p1.png"] == ("cat", "dog", "emu")
    assert data.problems == ()
    assert "Pictures in several rows of labels.csv have the labels of all of them: images/p1.png." in data.notes


@pytest.mark.parametrize(("multi_label", "first"), [(True, ("cat",)), (False, ("cat",))])
def test_the_caller_may_know_whether_a_set_is_multi_label(
    photos: Path, multi_label: bool, first: tuple[str, ...]
) -> None:
    data = read(write(photos, rows()), multi_label=multi_label)
    assert data.multi_label == multi_label
    assert labels(data)["images/p0.png"] == first
    assert data.counts() == COUNTS


def test_bars_are_text_where_the_caller_knows_of_one_label(photos: Path) -> None:
    lines = [[path, label.replace("cat", "cat|s")] for path, label in rows()]
    assert read(write(photos, lines), multi_label=False).counts() == {"cat|s": 5, "dog": 4}


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("3.0", "10.0", ("10", "3")),
        ("3", "10", ("10", "3")),
        ("3.0", "3.5", ("3.0", "3.5")),
        ("-1.0", "1.0", ("-1", "1")),
        ("3.0|10.0", "3.0", ("10", "3")),
        ("3.00", "v3.0", ("3.00", "v3.0")),
    ],
)
def test_numbers_are_names(photos: Path, one: str, other: str, names: tuple[str, ...]) -> None:
    lines = [[path, one if label == "cat" else other] for path, label in rows()]
    assert read(write(photos, lines)).class_names == names


def test_names_in_any_script_and_with_odd_characters(photos: Path) -> None:
    odd = ["/a/abbey", "..", '"the, big"', "犬", "a\\b", "it's 100%", "CON", "x" * 300, "🦊"]
    for number in range(len(odd)):
        make_picture(photos / "more" / f"{number}.png", (number, 9, 9))
        make_picture(photos / "more" / f"{number}b.png", (number, 9, 99))
    lines = [[f"more/{n}{b}.png", name] for n, name in enumerate(odd) for b in ("", "b")]
    data = read(write(photos, lines))
    assert set(data.class_names) == {name.strip('"') for name in odd}


def test_composed_and_decomposed_names_are_one(photos: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    make_picture(photos / f"{decomposed}.png")
    lines = [[path, composed if n % 2 else decomposed] for n, (path, _) in enumerate(rows())]
    lines[4:] = [[path, "dog"] for path, _ in lines[4:]]
    data = read(write(photos, [*lines, [f"{composed}.png", composed]]))
    assert data.counts() == {composed: 5, "dog": 5}
    assert f"{decomposed}.png" in data.files


def test_names_that_differ_only_in_case_are_noted(photos: Path) -> None:
    lines = [[path, label.upper() if n % 2 else label] for n, (path, label) in enumerate(rows())]
    data = read(write(photos, lines))
    assert data.class_names == ("CAT", "DOG", "cat", "dog")
    assert "Names that differ only in letter case are different classes: CAT and cat, DOG and dog." in data.notes[0]


def test_ids_without_an_ending_find_their_pictures(photos: Path) -> None:
    make_picture(photos / "images" / "a.b.JPG")
    make_picture(photos / "images" / "twice.jpg")
    make_picture(photos / "images" / "twice.png")
    (photos / "images" / "p0").mkdir()
    lines = [*rows(ending=""), ["images/a.b", "cat"], ["images/twice", "cat"], ["images/P1.PNG", "cat"]]
    data = read(write(photos, lines, "id,label"))
    assert data.counts() == {"cat": 6, "dog": 4}
    assert "images/a.b.JPG" in data.files
    assert problems(data) == {
        "labels.csv, row 12: several files could be meant by images/twice: images/twice.jpg, images/twice.png": (
            "missing-file"
        )
    }
    assert data.notes[0] == "Rows of labels.csv that repeat another one count once: 13."


def test_paths_may_be_relative_to_folders_beside_the_table(photos: Path) -> None:
    for number in range(5, 9):
        (photos / "more").mkdir(exist_ok=True)
        (photos / "images" / f"p{number}.png").rename(photos / "more" / f"p{number}.png")
    (photos / "masks").mkdir()
    data = read(write(photos, [*rows(folder="", ending=""), ["gone", "cat"]], "image_id,label"))
    assert data.counts() == COUNTS
    assert data.files[0] == "images/p0.png"
    assert data.files[8] == "more/p8.png"
    assert data.notes[0] == "Paths in labels.csv are relative to folders beside it: images, more."
    assert problems(data) == {"labels.csv, row 11: no such file gone": "missing-file"}


def test_a_table_given_by_the_user_may_list_pictures_anywhere(photos: Path, tmp_path: Path) -> None:
    elsewhere = make_class_folders(tmp_path / "elsewhere", {"emu": 2})
    files = sorted(elsewhere.rglob("*.png"))
    lines = [
        *rows(),
        [str(files[0]), "cat"],
        [f"../elsewhere/emu/{files[1].name}", "cat"],
        [str(photos / "images" / "p0.png"), "cat"],
    ]
    path = write(photos, lines)
    data = read(path)
    assert data.counts() == {"cat": 7, "dog": 4}
    assert all(file.is_file() for file in data.paths)
    # The same picture by another path.
    assert data.notes[0] == "Rows of labels.csv that repeat another one count once: 13."


OUTSIDE = (
    "../secret.png",
    "images/../../secret.png",
    "..\\secret.png",
    "C:\\secret.png",
    "\\\\host\\share\\secret.png",
)


def test_a_table_from_a_stranger_may_not(photos: Path, tmp_path: Path) -> None:
    make_picture(tmp_path / "secret.png")
    make_picture(tmp_path / "hidden" / "secret.png")
    (photos / "link.png").symlink_to(tmp_path / "secret.png")
    (photos / "linked").symlink_to(tmp_path / "hidden", target_is_directory=True)
    (photos / "inside.png").symlink_to(photos / "images" / "p0.png")
    paths = [*OUTSIDE, str(tmp_path / "secret.png"), "link.png", "linked/secret.png", "linked/secret", "linked/gone"]
    data = read(write(photos, [*rows(), *([path, "cat"] for path in paths), ["inside.png", "cat"]]), confined=True)
    assert data.counts() == {"cat": 6, "dog": 4}
    kinds = [problem.kind for problem in data.problems]
    # What a linked folder holds is not told either.
    assert kinds == ["outside"] * 8 + ["missing-file"] * 2
    assert str(data.problems[0]) == (
        "labels.csv, row 11: ../secret.png leads out of the folder: only paths below it are followed here"
    )
    assert "link.png is a link out of the folder" in str(data.problems[6])


def test_a_stranger_s_paths_relative_to_a_folder_cannot_leave_it(photos: Path, tmp_path: Path) -> None:
    make_picture(tmp_path / "secret.png")
    lines = [*rows(folder=""), ["../../secret.png", "cat"], ["../images/p0.png", "cat"]]
    data = read(write(photos, lines), confined=True)
    assert data.counts() == COUNTS
    assert [problem.kind for problem in data.problems] == ["outside"] * 2


def test_an_absolute_path_below_the_folder_itself_is_no_way_out(photos: Path) -> None:
    lines = [[str(photos / path), label] for path, label in rows()]
    assert read(write(photos, lines), confined=True).files == read(write(photos, rows())).files


@pytest.mark.parametrize("path", ["images/p0.png\0.txt", "a" * 5000, "\0", "images/p0.png/x.jpg", "https://host/a.jpg"])
def test_paths_that_can_be_no_file(photos: Path, path: str) -> None:
    table = pyarrow.table({"path": [row[0] for row in rows()] + [path], "label": [row[1] for row in rows()] + ["cat"]})
    parquet.write_table(table, photos / "labels.parquet")
    data = read(photos / "labels.parquet")
    assert data.counts() == COUNTS
    assert [problem.kind for problem in data.problems] == ["missing-file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_opened(photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    assert list(problems(read(write(photos, [*rows(), ["pipe.png", "cat"]])))) == [
        "labels.csv, row 11: pipe.png: not a regular file"
    ]
    os.mkfifo(photos / "pipe.csv")
    with pytest.raises(DataError, match="not a regular file"):
        read(photos / "pipe.csv")


def test_parquet_and_tsv_are_the_same_as_csv(photos: Path) -> None:
    lines = [[path, label, "train" if n % 3 else "test"] for n, (path, label) in enumerate(rows())]
    expected = read(write(photos, lines, "path,label,split"))
    tsv = photos / "labels.tsv"
    tsv.write_text((photos / "labels.csv").read_text("utf-8").replace(",", "\t"), "utf-8")
    columns = dict(zip(("path", "label", "split"), zip(*lines, strict=True), strict=True))
    parquet.write_table(pyarrow.table({name: list(values) for name, values in columns.items()}), photos / "l.parquet")
    for other in (read(tsv), read(photos / "l.parquet")):
        assert (other.files, other.labels, other.parts) == (expected.files, expected.labels, expected.parts)


def test_lists_of_labels_in_parquet(photos: Path) -> None:
    values = [["cat", "dog"], [], *[[label] for _, label in rows()[2:]]]
    parquet.write_table(pyarrow.table({"path": [path for path, _ in rows()], "labels": values}), photos / "l.parquet")
    data = read(photos / "l.parquet")
    assert data.multi_label
    assert labels(data)["images/p0.png"] == ("cat", "dog")
    assert problems(data) == {"l.parquet, row 2: no label": "empty-label"}


def test_listed_paths(photos: Path) -> None:
    path = write(photos, [["a.jpg", "x"], ["b.jpg", ""], ["a.jpg", "y"], ["", "z"], ["c", "d", "e"]])
    assert listed_paths(path, None, "t.csv") == ["a.jpg", "b.jpg"]


CELLS = st.sampled_from(
    (
        "images/p0.png",
        "images/p1",
        "p2.png",
        "../x.png",
        "/etc/passwd",
        "cat",
        "dog",
        "a|b",
        "|",
        "3.0",
        "train",
        "test",
        "",
        "'",
    )
) | st.text(max_size=8)


@given(lines=st.lists(st.lists(CELLS, max_size=5), max_size=8), confined=st.booleans(), header=st.booleans())
@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_table_is_a_data_set_or_an_error(
    photos: Path, lines: list[list[str]], confined: bool, header: bool
) -> None:
    path = photos / "any.csv"
    first = ["path,label,split,group"] if header else []
    text = "\n".join([*first, *(",".join(line) for line in [*rows(), *lines])])
    path.write_bytes(text.encode(errors="replace"))
    found = data_or_message(path, confined)
    if isinstance(found, str):
        assert "any.csv" in found
    else:
        assert all(file.is_file() for file in found.paths)
        assert not confined or all(file.resolve().is_relative_to(photos) for file in found.paths)


def data_or_message(path: Path, confined: bool) -> Dataset | str:
    try:
        return read(path, confined=confined, trainable=False)
    except DataError as error:
        return str(error)
