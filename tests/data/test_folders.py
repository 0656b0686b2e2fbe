"""Folders as people have them: wrapped, with parts, with litter, with links, in any script."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures import make_class_folders, make_picture
from tltool.data.dataset import Dataset
from tltool.data.folders import read_folder
from tltool.errors import DataError

COUNTS = {"cat": 5, "dog": 4}


def read(folder: Path) -> Dataset:
    return read_folder(folder, "photos", seed=0)


def parts_of(data: Dataset) -> dict[str, Counter]:
    return {part: Counter(data.class_names[i] for i in data.labels_of(data.indices(part))) for part in set(data.parts)}


def snapshot(folder: Path) -> list[tuple]:
    paths = sorted(folder.rglob("*"))
    return [
        (str(p), p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "") for p in paths
    ]


def test_class_folders(tmp_path: Path) -> None:
    data = read_folder(make_class_folders(tmp_path, COUNTS), "photos", 0, ["Unpacked."])
    assert data.counts() == COUNTS
    assert data.root == tmp_path
    assert data.files[0] == "cat/cat_0000.png"
    assert not data.given_parts
    assert data.notes[0] == "Unpacked."
    assert all(path.is_file() for path in data.paths)


def test_root_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_class_folders(tmp_path / "photos", COUNTS)
    monkeypatch.chdir(tmp_path)
    assert read(Path("photos")).root == tmp_path / "photos"


def test_the_folder_is_left_as_it_was(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "train", COUNTS)
    make_class_folders(tmp_path / "Val", COUNTS)
    before = snapshot(tmp_path)
    read(tmp_path)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "names", [("train", "valid", "test"), ("Training", "VAL", "Testing"), ("TRAIN", "Validation", "Test")]
)
def test_parts_by_any_of_their_names(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for name in names:
        make_class_folders(tmp_path / name, COUNTS)
    data = read(tmp_path)
    assert data.given_parts
    assert parts_of(data) == {"train": COUNTS, "valid": COUNTS, "test": COUNTS}
    assert data.class_names == ("cat", "dog")


def test_valid_without_test_is_held_out(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "train", COUNTS)
    make_class_folders(tmp_path / "val", {"cat": 2, "dog": 1})
    data = read(tmp_path)
    assert data.counts("test") == {"cat": 2, "dog": 1}
    assert data.counts("train", "valid") == COUNTS


def test_a_lone_train_part_is_split_like_any_folder(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "a" / "train", {"cat": 2, "dog": 10})
    make_class_folders(tmp_path / "b", {"cat": 2, "dog": 10})
    data = read(tmp_path / "a")
    assert not data.given_parts
    assert data.parts == read(tmp_path / "b").parts


@pytest.mark.parametrize("wrapping", ["photos", "a/b/c", "photos/train", "a/train/train", "train/a/train/b"])
def test_wrapping_folders_are_seen_through(tmp_path: Path, wrapping: str) -> None:
    make_class_folders(tmp_path / wrapping, COUNTS)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "read me.txt").write_text("Thank you for downloading.")
    assert read(tmp_path).counts() == COUNTS


def test_a_train_folder_around_train_and_test_is_wrapping(tmp_path: Path) -> None:
    for part in ("train", "test"):
        make_class_folders(tmp_path / "Training" / part, COUNTS)
    assert parts_of(read(tmp_path))["test"] == COUNTS


def test_wrapping_folders_inside_parts_are_seen_through(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "train" / "train", COUNTS)
    make_class_folders(tmp_path / "test" / "pictures", COUNTS)
    make_class_folders(tmp_path / "valid" / "valid" / "a", COUNTS)
    assert parts_of(read(tmp_path))["test"] == COUNTS


def test_a_lone_test_class_with_folders_inside_is_no_wrapping(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "train", COUNTS)
    make_class_folders(tmp_path / "test" / "cat", {"monday": 2, "tuesday": 3})
    assert read(tmp_path).counts("test") == {"cat": 5, "dog": 0}


def test_pictures_in_folders_inside_a_class(tmp_path: Path) -> None:
    make_class_folders(tmp_path, COUNTS)
    make_picture(tmp_path / "cat" / "monday" / "am" / "1.JPG")
    data = read(tmp_path)
    assert data.counts() == {"cat": 6, "dog": 4}
    assert "cat/monday/am/1.JPG" in data.files


def test_litter_is_ignored_without_a_word(tmp_path: Path) -> None:
    clean = make_class_folders(tmp_path / "clean", COUNTS)
    tmp_path = make_class_folders(tmp_path / "dirty", COUNTS)
    make_picture(tmp_path / ".thumbnails" / "1.png")
    make_picture(tmp_path / "__MACOSX" / "cat" / "1.png")
    make_picture(tmp_path / "cat" / "._cat_0000.png")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / name).write_text("x")
        (tmp_path / "cat" / name).write_text("x")
    (tmp_path / "read me.txt").write_text("x")
    data = read(tmp_path)
    assert data.counts() == COUNTS
    assert data.problems == ()
    assert data.notes == read(clean).notes


def test_what_is_no_picture_becomes_a_problem(tmp_path: Path) -> None:
    make_class_folders(tmp_path, COUNTS)
    (tmp_path / "cat" / "notes.TXT").write_text("x")
    (tmp_path / "cat" / "README").write_text("x")
    (tmp_path / "dog" / "in").mkdir()
    (tmp_path / "dog" / "in" / "empty.jpg").touch()
    (tmp_path / "dog" / "phone.heic").write_text("x")
    assert [str(problem) for problem in read(tmp_path).problems] == [
        "cat/README: not a picture: its name has no ending such as .jpg",
        "cat/notes.TXT: not a picture: its name ends in .txt",
        "dog/phone.heic: a kind of picture that cannot be read (.heic): save it as JPEG or PNG",
        "dog/in/empty.jpg: the file is empty (0 bytes)",
    ]


def test_problems_tell_their_kind(tmp_path: Path) -> None:
    make_class_folders(tmp_path, COUNTS)
    (tmp_path / "cat" / "notes.txt").write_text("x")
    (tmp_path / "cat" / "empty.jpg").touch()
    (tmp_path / "cat" / "phone.heic").write_text("x")
    (tmp_path / "cat" / "link.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert {problem.path: problem.kind for problem in read(tmp_path).problems} == {
        "cat/notes.txt": "not-a-picture",
        "cat/empty.jpg": "empty",
        "cat/phone.heic": "unreadable",
        "cat/link.png": "missing-file",
        "cat/up": "unreadable",
    }


def test_loose_pictures_are_ignored_with_a_note(tmp_path: Path) -> None:
    make_class_folders(tmp_path, COUNTS)
    for name in ("a.png", "b.jpg"):
        make_picture(tmp_path / name)
    data = read(tmp_path)
    assert data.counts() == COUNTS
    assert data.notes[0] == "Pictures beside the class folders are ignored, for they have no class: 2."


def test_loose_pictures_in_and_beside_parts_are_ignored_with_a_note(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "train", COUNTS)
    make_class_folders(tmp_path / "test", COUNTS)
    make_picture(tmp_path / "banner.png")
    make_picture(tmp_path / "test" / "b.jpg")
    assert read(tmp_path).notes[0] == "Pictures beside the class folders are ignored, for they have no class: 2."


def test_names_in_any_script(tmp_path: Path) -> None:
    counts = {"кошка": 3, "犬": 3, "قطة": 3, "chien à poil": 3, "🦊": 3, "it's 100%": 3}
    assert read(make_class_folders(tmp_path, counts)).counts() == counts


def test_composed_and_decomposed_names_are_one_class(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "train", {unicodedata.normalize("NFC", "é"): 3, "o": 3})
    make_class_folders(tmp_path / "test", {unicodedata.normalize("NFD", "é"): 2, "o": 3})
    data = read(tmp_path)
    assert data.counts("test") == {"o": 3, unicodedata.normalize("NFC", "é"): 2}
    assert all(path.is_file() for path in data.paths)


@pytest.mark.parametrize("part", ["", "train"])
def test_names_that_differ_only_in_case_are_noted(tmp_path: Path, part: str) -> None:
    counts = {"Cat": 3, "cat": 3, "dog": 3}
    data = read(make_class_folders(tmp_path / part, counts).parent if part else make_class_folders(tmp_path, counts))
    assert data.counts() == counts
    note = "Names that differ only in letter case are different classes: Cat and cat. Is that meant?"
    assert note in data.notes
    assert note not in read(make_class_folders(tmp_path / "clean", COUNTS)).notes


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file names outside Unicode")
def test_names_that_are_no_text_become_problems(tmp_path: Path) -> None:
    make_class_folders(tmp_path, COUNTS)
    for name in (b"cat/\xff.png", b"\xfe.png"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"x")
    os.mkdir(bytes(tmp_path) + b"/\xff")
    assert [problem.path for problem in read(tmp_path).problems] == ["\\udcff", "cat/\\udcff.png"]


def test_a_class_missing_in_test_is_noted(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "train", COUNTS)
    make_class_folders(tmp_path / "test", {"cat": 2})
    (tmp_path / "test" / "dog").mkdir()
    data = read(tmp_path)
    assert data.counts("test") == {"cat": 2, "dog": 0}
    assert "The test part has no pictures of dog." in data.notes


def test_all_classes_that_train_lacks_are_named(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "train", COUNTS)
    make_class_folders(tmp_path / "valid", {"cat": 1, "emu": 1})
    make_class_folders(tmp_path / "test", {"fox": 1, "gnu": 1})
    with pytest.raises(
        DataError, match=r"^photos: classes that the train part does not have: valid: emu; test: fox, gnu\."
    ):
        read(tmp_path)


def test_train_may_be_a_class_among_others(tmp_path: Path) -> None:
    counts = {"bus": 3, "car": 3, "train": 3}
    assert read(make_class_folders(tmp_path, counts)).counts() == counts


def test_folders_beside_parts_are_ignored_with_a_note(tmp_path: Path) -> None:
    for part in ("train", "test"):
        make_class_folders(tmp_path / part, COUNTS)
    (tmp_path / "annotations").mkdir()
    data = read(tmp_path)
    assert data.counts("test") == COUNTS
    assert data.notes[0] == "Folders beside the parts are ignored: annotations."


def test_a_test_part_beside_class_folders_is_not_taken_for_a_class(tmp_path: Path) -> None:
    make_class_folders(tmp_path, COUNTS)
    make_class_folders(tmp_path / "test", COUNTS)
    with pytest.raises(DataError, match=r"class folders \(cat, dog\) both beside 'test' and in it"):
        read(tmp_path)


def with_table(root: Path, folder: str = "images", name: str = "labels.csv") -> Path:
    """Writes six pictures into `root / folder` and a table of them into `root`."""
    lines = ["path,label"]
    for number in range(6):
        picture = make_picture(root / folder / f"{number}.png", (number, 0, 0))
        lines.append(f"{picture.relative_to(root).as_posix()},{'cat' if number % 2 else 'dog'}")
    (root / name).write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("wrapping", ["", "photos", "a/b"])
@pytest.mark.parametrize("folder", ["", "images", "images/a/b"])
def test_a_table_beside_pictures_gives_their_labels(tmp_path: Path, wrapping: str, folder: str) -> None:
    with_table(tmp_path / wrapping, folder)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / wrapping / "._labels.csv").write_text("x")
    data = read(tmp_path)
    assert data.counts() == {"cat": 3, "dog": 3}
    assert data.root == tmp_path / wrapping
    assert data.source == "photos"
    assert data.notes[0] == "No class folders, so labels.csv says which picture has which label."


def test_a_table_beside_folders_of_parts_without_classes(tmp_path: Path) -> None:
    with_table(tmp_path, "train")
    flat(tmp_path / "test")
    assert read(tmp_path).counts() == {"cat": 3, "dog": 3}


def test_a_table_beside_pictures_and_folders_without_pictures(tmp_path: Path) -> None:
    with_table(tmp_path)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.xml").write_text("x")
    assert read(tmp_path).counts() == {"cat": 3, "dog": 3}


def test_a_table_in_a_folder_lists_only_what_is_in_it(tmp_path: Path) -> None:
    with_table(tmp_path / "photos")
    picture = make_picture(tmp_path / "secret.png")
    with open(tmp_path / "photos" / "labels.csv", "a") as file:
        file.write(f"\n../secret.png,cat\n{picture},cat\n")
    data = read(tmp_path / "photos")
    assert data.counts() == {"cat": 3, "dog": 3}
    assert [problem.kind for problem in data.problems] == ["outside", "outside"]


def test_columns_go_to_the_table(tmp_path: Path) -> None:
    with_table(tmp_path)
    text = (tmp_path / "labels.csv").read_text()
    (tmp_path / "labels.csv").write_text(text.replace("path,label", "where,what"))
    with pytest.raises(DataError, match=r"^photos, labels\.csv: no column with the path found"):
        read(tmp_path)
    data = read_folder(tmp_path, "photos", 0, columns={"path": "where", "label": "what"})
    assert data.counts() == {"cat": 3, "dog": 3}


@pytest.mark.parametrize("part", ["", "train"])
def test_class_folders_win_over_a_table_with_a_note(tmp_path: Path, part: str) -> None:
    make_class_folders(tmp_path / part, COUNTS)
    for name in ("labels.csv", "more.tsv"):
        (tmp_path / name).write_text("x")
    data = read(tmp_path)
    assert data.counts() == COUNTS
    assert data.notes[0] == (
        "Class folders give the labels; not read: labels.csv, more.tsv. To read a table, give its own path."
    )
    with pytest.raises(DataError, match=r"^photos: columns are named, but class folders give the labels\."):
        read_folder(tmp_path, "photos", 0, columns={"label": "what"})


def test_columns_without_a_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^photos: columns are named, but there is no table beside the pictures\."):
        read_folder(make_class_folders(tmp_path, COUNTS), "photos", 0, columns={"label": "what"})


def test_several_tables_are_named(tmp_path: Path) -> None:
    with_table(tmp_path / "a")
    with_table(tmp_path / "a", name="test.parquet")
    with pytest.raises(
        DataError,
        match=r"^photos: no class folders, and several tables: a/labels\.csv, a/test\.parquet\. Give the path",
    ):
        read(tmp_path)


def nothing(folder: Path) -> None:
    """Leaves the folder empty."""


def flat(folder: Path) -> None:
    make_picture(folder / "a.png")
    make_picture(folder / "b.png")


def only_a_letter(folder: Path) -> None:
    (folder / "letter.txt").write_text("x")


def one_class(folder: Path) -> None:
    make_class_folders(folder, {"cat": 3})


def empty_classes(folder: Path) -> None:
    make_class_folders(folder, {**COUNTS, "emu": 0, "fox": 0})


def class_of_texts(folder: Path) -> None:
    make_class_folders(folder, {**COUNTS, "emu": 0})
    (folder / "emu" / "a.txt").write_text("x")


def no_train_part(folder: Path) -> None:
    make_class_folders(folder / "test", COUNTS)


def two_valid_parts(folder: Path) -> None:
    for part in ("train", "val", "valid"):
        make_class_folders(folder / part, COUNTS)


def flat_test_part(folder: Path) -> None:
    make_class_folders(folder / "train", COUNTS)
    flat(folder / "test")


def empty_train_class(folder: Path) -> None:
    make_class_folders(folder / "train", {**COUNTS, "emu": 0})
    make_class_folders(folder / "test", COUNTS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, r"no class folders\. Put the pictures of each class in a folder named after it\."),
        (only_a_letter, r"no class folders\. Put"),
        (flat, r"2 pictures but no class folders\. Put"),
        (one_class, r"only one class, 'cat'"),
        (empty_classes, r"no pictures in these class folders: emu, fox\. Add pictures or remove them\."),
        (class_of_texts, r"emu \(files left out: 1, the first: emu/a\.txt: not a picture: its name ends in \.txt\)"),
        (no_train_part, r"a part 'test' but no 'train'\. Add a folder 'train'"),
        (two_valid_parts, r"several folders for the valid part: val, valid\. Merge them"),
        (flat_test_part, r"folder 'test': 2 pictures but no class folders\. .*, or remove this one\."),
        (empty_train_class, r"folder 'train': no pictures in these class folders: emu\."),
    ],
)
def test_what_cannot_be_used_is_explained_in_one_line(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=f"^photos.*{message}") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^photos: no such folder\."):
        read(tmp_path / "gone")
    with pytest.raises(DataError, match=r"^photos: a file, not a folder\."):
        read(make_picture(tmp_path / "a.png"))


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_class_folders(tmp_path, COUNTS)
    listed = os.scandir

    # Not chmod: tests may run as root, who may read everything.
    def scandir(path: Path) -> object:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        DataError, match=r"dog: the folder cannot be read \(Permission denied\)\. Change its permissions"
    ):
        read(tmp_path)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A data set whose pictures partly lie elsewhere, with links that lead there and links that lead back."""
    root = make_class_folders(tmp_path / "photos", COUNTS)
    elsewhere = make_class_folders(tmp_path / "elsewhere", {"emu": 3})
    (root / "emu").symlink_to(elsewhere / "emu", target_is_directory=True)
    (root / "cat" / "copy.png").symlink_to(elsewhere / "emu" / "emu_0000.png")
    (elsewhere / "emu" / "ring").symlink_to(elsewhere, target_is_directory=True)
    (root / "dog" / "self").symlink_to(root / "dog", target_is_directory=True)
    (root / "dog" / "up").symlink_to(tmp_path, target_is_directory=True)
    (root / "dog" / "gone.png").symlink_to(tmp_path / "gone.png")
    (root / "dog" / "me.png").symlink_to(root / "dog" / "me.png")
    return root


def test_links_lead_out_and_never_back(linked: Path) -> None:
    data = read(linked)
    assert data.counts() == {"cat": 6, "dog": 4, "emu": 3}
    assert {problem.path: problem.reason.split(":")[0] for problem in data.problems} == {
        "dog/gone.png": "a link to something that does not exist",
        "dog/me.png": "cannot be read (Too many levels of symbolic links)",
        "dog/self": "a link back into the same data set",
        "dog/up": "a link back into the same data set",
    }


def test_wrapping_links_in_a_ring_end(tmp_path: Path) -> None:
    for here, there in (("a", "b"), ("b", "a")):
        (tmp_path / here).mkdir()
        (tmp_path / here / "next").symlink_to(tmp_path / there, target_is_directory=True)
    with pytest.raises(DataError, match=r"^photos"):
        read(tmp_path / "a")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    make_class_folders(tmp_path, COUNTS)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    assert [str(problem) for problem in read(tmp_path).problems] == ["cat/pipe.png: not a regular file"]
