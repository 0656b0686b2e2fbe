"""What a user may name as a data set, and what happens to everything else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.pictures import make_class_folders
from tltool.cache import cache_dir
from tltool.data import load_dataset
from tltool.errors import DataError, TltoolError

COUNTS = {"cat": 6, "dog": 5}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(folder.rglob("*.png")):
            opened.write(path, path.relative_to(folder.parent))
    return archive


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
def test_a_zip_is_the_same_as_its_folder(tmp_path: Path, cache: Path, parts: list[str]) -> None:
    for part in parts:
        folder = make_class_folders(tmp_path / "photos" / part, COUNTS)
    folder = tmp_path / "photos"
    archive = pack(folder, tmp_path / "photos.ZIP")
    from_folder, from_zip = load_dataset(folder), load_dataset(archive)
    assert from_zip.files == from_folder.files
    assert from_zip.parts == from_folder.parts
    assert from_zip.labels == from_folder.labels
    assert from_zip.name == "photos"
    assert from_zip.root.is_relative_to(cache / "datasets")
    assert all(path.is_file() for path in from_zip.paths)


def test_messages_name_the_archive_not_the_cache(tmp_path: Path, cache: Path) -> None:
    archive = pack(make_class_folders(tmp_path / "photos", {"cat": 3}), tmp_path / "photos.zip")
    with pytest.raises(DataError, match=r"photos\.zip: only one class") as caught:
        load_dataset(archive)
    assert str(cache) not in str(caught.value)


def test_a_folder_named_like_an_archive_is_a_folder(tmp_path: Path) -> None:
    assert len(load_dataset(make_class_folders(tmp_path / "photos.zip", COUNTS))) == 11


@pytest.mark.parametrize("name", ["photos.tar", "photos.tar.gz", "labels.csv", "notes.txt"])
@pytest.mark.parametrize("exists", [True, False])
def test_other_files_are_refused_with_what_can_be_read(tmp_path: Path, name: str, exists: bool) -> None:
    if exists:
        (tmp_path / name).write_text("x")
    with pytest.raises(
        DataError, match=r"a folder of class folders, .*train, valid and test parts, or a \.zip of either"
    ):
        load_dataset(tmp_path / name)


def test_catalogue_names_are_refused() -> None:
    with pytest.raises(DataError, match="tfds:mnist: cannot be read as a data set"):
        load_dataset("tfds:mnist")


@pytest.mark.parametrize("name", ["gone", "gone.zip", "a\0b", "~nobody-of-this-name/photos"])
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
    code = "import sys, tltool.data; print([m for m in ('tensorflow', 'keras', 'jax', 'torch') if m in sys.modules])"
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert result.stdout.strip() == "[]"
