"""What a user may name as a data set, and what happens to everything else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packing import pack, tree
from tests.pictures import make_class_folders, make_picture
from tltool.cache import cache_dir
from tltool.data import load_dataset
from tltool.data.sources import is_address
from tltool.errors import DataError, TltoolError

COUNTS = {"cat": 6, "dog": 5}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_folder_by_path_or_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_class_folders(tmp_path / "photos", COUNTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in (folder, str(folder), "photos", "~/photos"):
        data = load_dataset(source, seed=1)
        assert data.counts() == COUNTS
        assert data.source == str(source)
        assert data.root == folder
        assert data.name == "photos"


@pytest.mark.parametrize("parts", [[""], ["train", "test"], ["train", "val", "test"]])
@pytest.mark.parametrize("name", ["photos.ZIP", "photos.tar", "photos.tar.gz"])
def test_an_archive_is_the_same_as_its_folder(tmp_path: Path, cache: Path, parts: list[str], name: str) -> None:
    for part in parts:
        make_class_folders(tmp_path / "photos" / part, COUNTS)
    folder = tmp_path / "photos"
    archive = pack(tmp_path / name, {f"photos/{path}": content for path, content in tree(folder).items()})
    from_folder, from_archive = load_dataset(folder), load_dataset(archive)
    assert from_archive.files == from_folder.files
    assert from_archive.parts == from_folder.parts
    assert from_archive.labels == from_folder.labels
    assert from_archive.name == "photos"
    assert from_archive.source == str(archive)
    assert from_archive.root.is_relative_to(cache / "datasets")
    assert all(path.is_file() for path in from_archive.paths)


def test_unpacking_is_reported(tmp_path: Path) -> None:
    archive = pack(tmp_path / "photos.zip", tree(make_class_folders(tmp_path / "photos", COUNTS)))
    told = []
    load_dataset(archive, report=lambda *progress: told.append(progress))
    assert told
    assert all(0 <= done <= total for _, done, total in told)


def test_messages_name_the_archive_not_the_cache(tmp_path: Path, cache: Path) -> None:
    archive = pack(tmp_path / "photos.zip", tree(make_class_folders(tmp_path / "photos", {"cat": 3})))
    with pytest.raises(DataError, match=r"photos\.zip: only one class") as caught:
        load_dataset(archive)
    assert str(cache) not in str(caught.value)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A manifest of the pictures in `tmp_path / "photos"`, and of one beside that folder."""
    folder = make_class_folders(tmp_path / "photos" / "images", COUNTS).parent
    make_picture(tmp_path / "secret.png")
    lines = [f"{path.relative_to(folder).as_posix()},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (folder / "labels.csv").write_text("\n".join(["where,what", *lines, "../secret.png,cat", ""]))
    return folder / "labels.csv"


def test_a_table_of_the_user_s_may_list_what_lies_elsewhere(tmp_path: Path, table: Path) -> None:
    columns = {"path": "where", "label": "what"}
    data = load_dataset(table, columns=columns, seed=3)
    assert data.counts() == COUNTS | {"cat": COUNTS["cat"] + 1}
    assert data.name == "labels"
    assert data.root == table.parent
    assert (data.seed, data.source) == (3, str(table))
    with pytest.raises(DataError, match=r"labels\.csv: no column with the path found; no column with the label found"):
        load_dataset(table)


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz"])
def test_a_table_in_an_archive_may_not(tmp_path: Path, table: Path, cache: Path, name: str) -> None:
    # Pictures in one folder, so that the folders name no classes.
    members = {Path(path).name: content for path, content in tree(table.parent).items() if path.endswith(".png")}
    text = table.read_text().replace("images/cat/", "in/").replace("images/dog/", "in/")
    make_picture(cache / "secret.png")
    members = {f"in/{path}": content for path, content in members.items()}
    archive = pack(tmp_path / name, members | {"labels.csv": text.replace("where,what", "path,label").encode()})
    data = load_dataset(archive)
    assert data.counts() == COUNTS
    assert [problem.kind for problem in data.problems] == ["outside"]
    assert data.notes[0] == "No class folders, so labels.csv says which picture has which label."


def test_columns_of_a_folder_with_class_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns are named, but there is no table"):
        load_dataset(make_class_folders(tmp_path / "photos", COUNTS), columns={"label": "what"})


def test_a_folder_named_like_an_archive_is_a_folder(tmp_path: Path) -> None:
    assert len(load_dataset(make_class_folders(tmp_path / "photos.zip", COUNTS))) == 11


@pytest.mark.parametrize("name", ["notes.txt", "photos.7z", "labels.xlsx", "a.jpg", "labels"])
@pytest.mark.parametrize("exists", [True, False])
def test_other_files_are_refused_with_what_can_be_read(tmp_path: Path, name: str, exists: bool) -> None:
    if exists:
        (tmp_path / name).write_text("x")
    named = (
        r"a folder of class folders",
        r"train, valid and test parts",
        r"\.zip or \.tar",
        r"\.csv",
        "tfds:",
        "s3://",
    )
    with pytest.raises(DataError, match=f"{name}: .*{'.*'.join(named)}"):
        load_dataset(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3://bucket/photos", True),
        ("https://host/photos.zip?key=1", True),
        ("zip::memory://photos.zip", True),
        ("zip://in::memory://photos.zip", True),
        ("photos", False),
        ("photos::old", False),
        ("a/b://c", False),
        ("C:/photos", False),
        ("c://photos", False),
        ("tfds:mnist", False),
    ],
)
def test_which_names_are_addresses(name: str, expected: bool) -> None:
    assert is_address(name) == expected


@pytest.mark.parametrize("host", ["", "localhost"])
def test_addresses_of_this_machine_are_read_in_place(tmp_path: Path, cache: Path, table: Path, host: str) -> None:
    folder = make_class_folders(tmp_path / "my photos", COUNTS)
    for path in (folder, str(folder).replace(" ", "%20")):
        data = load_dataset(f"file://{host}{path}")
        assert data.counts() == COUNTS
        assert data.root == folder
        assert data.source == f"file://{host}{path}"
    # As with a path, the user has named the table.
    assert len(load_dataset(f"file://{host}{table}", columns={"path": "where", "label": "what"})) == 12
    assert not cache.exists()
    with pytest.raises(DataError, match=r"^file:///gone: no such file or folder"):
        load_dataset("file:///gone")


@pytest.mark.parametrize(
    "name", ["gone", "gone.zip", "gone.tar.gz", "gone.csv", "gone.parquet", "a\0b", "~nobody-of-this-name/photos"]
)
def test_what_does_not_exist_is_said_to(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no such"):
        load_dataset(name if name.startswith("~") else str(tmp_path / name))


def test_a_path_that_may_not_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"aaa: cannot be read \(File name too long\)\. Check the path"):
        load_dataset(tmp_path / ("a" * 300))

    # Not chmod: tests may run as root, who may read everything.
    def stat(path: Path, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(DataError, match=r"photos: cannot be read \(Permission denied\)\. Check the path"):
        load_dataset(tmp_path / "photos")


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are not valid UTF-8, which only Linux has")
def test_a_path_that_is_not_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(b"ph\xff")
    make_class_folders(folder / "in", COUNTS)
    with pytest.raises(DataError, match=r"ph\\udcff: the path is not valid UTF-8\. Rename"):
        load_dataset(folder)
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match=r"ph\\udcff/in: the path is not valid UTF-8\. Rename"):
        load_dataset("in")


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(name: str) -> None:
    with pytest.raises(DataError, match="No data set named"):
        load_dataset(name)


@pytest.mark.parametrize("seed", [-1, 2**31, 1.0, "1", None, True])
def test_seeds_are_whole_numbers(tmp_path: Path, seed: object) -> None:
    with pytest.raises(DataError, match=f"seed: {seed!r} is not a whole number"):
        load_dataset(make_class_folders(tmp_path / "photos", COUNTS), seed=seed)


def test_the_largest_seed(tmp_path: Path) -> None:
    assert load_dataset(make_class_folders(tmp_path / "photos", COUNTS), seed=2**31 - 1).seed == 2**31 - 1


def test_a_set_that_is_only_scored_needs_no_train_part(tmp_path: Path) -> None:
    make_class_folders(tmp_path / "photos" / "test", COUNTS)
    data = load_dataset(tmp_path / "photos", trainable=False)
    assert data.counts("test") == COUNTS
    assert data.given_parts
    assert data.notes == ()
    with pytest.raises(DataError, match="a part 'test' but no 'train'"):
        load_dataset(tmp_path / "photos")


@pytest.mark.parametrize("part", ["", "test", "train"])
def test_a_set_that_is_only_scored_may_lack_a_class(tmp_path: Path, part: str) -> None:
    make_class_folders(tmp_path / "photos" / part, COUNTS | {"emu": 0})
    if part == "train":
        make_class_folders(tmp_path / "photos" / "test", {"emu": 2})
    data = load_dataset(tmp_path / "photos", trainable=False)
    assert data.counts() == COUNTS | ({"emu": 2} if part == "train" else {})
    assert "No pictures in these class folders: emu." in data.notes


def test_cache_dir_follows_the_variable(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir() == cache
    assert cache.is_dir()
    monkeypatch.setenv("TLTOOL_CACHE", "")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user" / name)
    assert cache_dir() == tmp_path / "user" / "tltool"


def test_a_cache_dir_that_cannot_be_made_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "file" / "in"))
    with pytest.raises(TltoolError, match="Set TLTOOL_CACHE to a folder that can be written"):
        cache_dir()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that not even root may write in: Linux has /proc")
def test_a_cache_dir_that_cannot_be_written_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLTOOL_CACHE", "/proc")
    with pytest.raises(TltoolError, match=r"^/proc: .*Set TLTOOL_CACHE to a folder that can be written"):
        cache_dir()


def test_importing_loads_no_framework() -> None:
    names = ("tensorflow", "keras", "jax", "torch", "fsspec", "pyarrow", "pandas", "tensorflow_datasets")
    code = f"import sys, tltool.data; print([m for m in {names} if m in sys.modules])"
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert result.stdout.strip() == "[]"
