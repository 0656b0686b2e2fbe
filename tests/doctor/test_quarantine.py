"""Copies of what is sound: nothing of the source changes, and what is copied can be trained on."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doctor.sets import make_photos
from tests.pictures import make_class_folders, make_picture
from tltool.data import Dataset, load_dataset
from tltool.data.copies import find_copies
from tltool.data.dataset import Row, build
from tltool.data.scan import scan
from tltool.doctor import quarantine
from tltool.doctor.diagnose import diagnose
from tltool.doctor.findings import Finding
from tltool.doctor.quarantine import check_target, copy_clean
from tltool.errors import DataError


def state(root: Path) -> dict[str, tuple[str, int]]:
    """Every file with its content and time of change."""
    return {
        path.relative_to(root).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def listed(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def dropping(*files: str, kind: str = "blank") -> Finding:
    return Finding(kind, "warning", "m", "f", files=files, drop=files)


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_class_folders(tmp_path / "photos", {"cat": 8, "dog": 8})


def test_class_folders_come_out_as_class_folders(folder, tmp_path):
    before = state(folder)
    data = load_dataset(folder)
    told = []
    out = tmp_path / "clean"
    count = copy_clean(data, [dropping("cat/cat_0003.png")], out, lambda *progress: told.append(progress))
    assert count == 15
    assert told[-1][1:] == (15, 15)
    assert listed(out) == sorted([*(set(data.files) - {"cat/cat_0003.png"}), "left-out.txt"])
    again = load_dataset(out)
    assert (again.class_names, len(again), again.problems) == (("cat", "dog"), 15, ())
    assert not any("left-out" in note for note in again.notes)
    for file in again.files:
        assert (out / file).read_bytes() == (folder / file).read_bytes()
    assert (out / "left-out.txt").read_text("utf-8").splitlines() == [
        "path\tfinding\tdetail",
        "cat/cat_0003.png\tblank\t",
    ]
    assert state(folder) == before


def test_given_parts_are_kept(tmp_path):
    folder = tmp_path / "photos"
    for part, count in (("train", 6), ("val", 3), ("test", 4)):
        make_class_folders(folder / part, {"cat": count, "dog": count}, seed=count)
    data = load_dataset(folder)
    copy_clean(data, [], tmp_path / "clean")
    again = load_dataset(tmp_path / "clean")
    assert again.files == tuple(sorted(file.replace("val/", "valid/") for file in data.files))
    assert sorted(zip(again.files, again.given, strict=True)) == sorted(
        (file.replace("val/", "valid/"), part) for file, part in zip(data.files, data.given, strict=True)
    )


def test_names_that_collide_get_numbers(tmp_path):
    folder = tmp_path / "photos"
    for place, color in (("a", 10), ("b", 60), ("c", 90)):
        make_picture(folder / "cat" / place / "img.png", (color, 0, 0))
        make_picture(folder / "cat" / place / "IMG.png", (0, color, 0))
    make_picture(folder / "cat" / "img_2.png", (0, 0, 77))
    for number in range(7):
        make_picture(folder / "dog" / f"{number}.png", (number, 9, 200))
    data = load_dataset(folder)
    assert copy_clean(data, [], tmp_path / "clean") == 14
    names = [path.name for path in (tmp_path / "clean" / "cat").iterdir()]
    assert len({name.casefold() for name in names}) == len(names) == 7
    contents = {path.read_bytes() for path in (folder / "cat").rglob("*.png")}
    assert {path.read_bytes() for path in (tmp_path / "clean" / "cat").iterdir()} == contents


def as_set(folder: Path, **columns) -> Dataset:
    """The pictures of `folder` as a manifest would give them."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    labels = columns.get("labels", [file.split("/")[0] for file in files])
    rows = [
        Row(file, label, part, group)
        for file, label, part, group in zip(
            files, labels, columns.get("parts", [None] * 16), columns.get("groups", [""] * 16), strict=True
        )
    ]
    return build("photos.csv", folder, rows, 0, multi_label=isinstance(labels[0], tuple))


def contents(data: Dataset) -> dict[bytes, tuple]:
    """What is said of each picture, by its bytes."""
    return {
        (data.root / file).read_bytes(): (data.label_names(i), data.given[i], data.groups[i])
        for i, file in enumerate(data.files)
    }


@pytest.mark.parametrize(
    "columns",
    [
        {"groups": [f"patient {i // 2}" for i in range(16)]},
        {
            "parts": ["train"] * 6 + ["test"] * 2 + ["train"] * 5 + ["valid"] + ["test"] * 2,
            "groups": [""] * 14 + ["p"] * 2,
        },
        {"labels": [("sea", "sun")] * 5 + [("sea",)] * 5 + [("sun",)] * 6},
        {"labels": [("sea", "sun")] * 8 + [("sun",)] * 8, "parts": (["train"] * 6 + ["test"] * 2) * 2},
        {"labels": ["a/b"] * 8 + ["dog"] * 8},
        {"labels": ["train"] * 8 + ["dog"] * 8},
        {"labels": [".cat"] * 8 + ["dog"] * 8},
        {"labels": ["Dog"] * 8 + ["dog"] * 8},
        {"labels": ["x" * 300] * 8 + ["dog"] * 8},
        {"labels": [".."] * 8 + ["dog"] * 8},
    ],
    ids=["groups", "parts and groups", "several", "several, parts", "slash", "part", "dot", "case", "long", "up"],
)
def test_what_folders_cannot_say_a_manifest_says(folder, tmp_path, columns):
    data = as_set(folder, **columns)
    out = tmp_path / "clean"
    assert copy_clean(data, [dropping(data.files[0])], out) == 15
    assert [path.name for path in sorted(out.iterdir())] == ["labels.csv", "left-out.txt", "pictures"]
    for source in (out, out / "labels.csv"):
        again = load_dataset(source)
        assert again.multi_label == data.multi_label
        expected = contents(data)
        del expected[(folder / data.files[0]).read_bytes()]
        assert contents(again) == expected


def test_a_class_name_that_reads_as_two_labels_is_refused(folder, tmp_path):
    data = as_set(folder, labels=["cat|kitten"] * 8 + ["dog"] * 8, groups=["g"] * 2 + [""] * 14)
    with pytest.raises(DataError, match=r"'\|' separates labels in labels.csv.*cat\|kitten"):
        copy_clean(data, [], tmp_path / "clean")
    assert not (tmp_path / "clean").exists()


def test_planted_errors_are_gone_from_the_copy(tmp_path):
    folder = tmp_path / "photos"
    for seed, part in enumerate(("train", "test")):
        make_photos(folder / part, {"cat": 12, "dog": 12}, seed)
    shutil.copy(folder / "train/cat/cat_0001.png", folder / "train/dog/liar.png")
    shutil.copy(folder / "train/cat/cat_0002.png", folder / "test/cat/leak.png")
    shutil.copy(folder / "train/cat/cat_0003.png", folder / "train/cat/again.png")
    (folder / "train/dog/empty.png").touch()
    (folder / "train/dog/page.png").write_text("<html>")
    make_picture(folder / "train/dog/blank.png")

    def found(source: Path) -> tuple[Dataset, tuple[Finding, ...]]:
        data = load_dataset(source)
        seen = scan(data.root, data.files)
        return data, diagnose(data, seen, find_copies(seen.keys, seen.thumbnails))

    before = state(folder)
    data, findings = found(folder)
    assert {finding.kind for finding in findings if finding.severity == "error"} >= {"two-labels", "leak"}
    copy_clean(data, findings, tmp_path / "clean")
    clean, rest = found(tmp_path / "clean")
    assert [finding.kind for finding in rest if finding.severity == "error"] == []
    assert not {"exact-copies", "empty", "not-a-picture", "blank"} & {finding.kind for finding in rest}
    assert "train/cat/cat_0003.png" in clean.files or "train/cat/again.png" in clean.files
    assert set(clean.given) == {"train", "test"}
    assert state(folder) == before
    left_out = (tmp_path / "clean" / "left-out.txt").read_text("utf-8")
    for file in ("train/dog/liar.png", "train/cat/cat_0001.png", "test/cat/leak.png", "train/dog/empty.png"):
        assert f"\n{file}\t" in left_out
    assert "\ttrain/cat/cat_0003.png\texact-copies\tcopy of train/cat/again.png" in left_out.replace("\n", "\n\t")


def test_never_into_the_data_set_and_never_over_files(folder, tmp_path):
    data = load_dataset(folder)
    before = state(folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(folder)
    for target, message in [
        (folder, "lies inside the data set"),
        (folder / "clean", "lies inside the data set"),
        (tmp_path / "link" / "clean", "lies inside the data set"),
        (tmp_path / "other" / ".." / "photos" / "clean", "lies inside the data set"),
        (tmp_path / "full", "is not empty"),
        (tmp_path, "is not empty"),
        (tmp_path / "file", "is not empty"),
        (tmp_path / "file" / "clean", "cannot be"),
    ]:
        with pytest.raises(DataError, match=message):
            copy_clean(data, [], target)
    assert state(folder) == before
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "link", "photos"]


def test_an_empty_folder_is_taken(folder, tmp_path):
    (tmp_path / "clean").mkdir()
    assert copy_clean(load_dataset(folder), [], tmp_path / "clean") == 16
    assert len(load_dataset(tmp_path / "clean")) == 16
    assert check_target(load_dataset(folder), tmp_path / "new") == tmp_path / "new"


def test_a_rest_that_cannot_be_trained_on_is_not_copied(folder, tmp_path):
    data = load_dataset(folder)
    with pytest.raises(DataError, match=r"Nothing is copied.*only one class, 'dog'"):
        copy_clean(data, [dropping(*(file for file in data.files if file.startswith("cat")))], tmp_path / "clean")
    with pytest.raises(DataError, match=r"Nothing is copied.*class 'cat' has 1 image"):
        copy_clean(data, [dropping(*(f"cat/cat_000{n}.png" for n in range(1, 8)))], tmp_path / "clean")
    with pytest.raises(DataError, match=r"Nothing is copied.*no readable pictures"):
        copy_clean(data, [dropping(*data.files)], tmp_path / "clean")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_class_without_training_pictures_is_not_copied(tmp_path):
    folder = tmp_path / "photos"
    for part in ("train", "val", "test"):
        make_class_folders(folder / part, {"cat": 4, "dog": 4, "emu": 4})
    data = load_dataset(folder)
    emus = {part: [f"{part}/emu/emu_000{n}.png" for n in range(4)] for part in ("train", "val", "test")}
    with pytest.raises(DataError, match="nothing is copied: no training picture is left of emu"):
        copy_clean(data, [dropping(*emus["train"])], tmp_path / "clean")
    with pytest.raises(DataError, match="nothing would be left of the test part"):
        copy_clean(data, [dropping(*(file for file in data.files if file.startswith("test")))], tmp_path / "clean")
    assert copy_clean(data, [dropping(*emus["train"], *emus["val"], *emus["test"])], tmp_path / "clean") == 24
    assert load_dataset(tmp_path / "clean").class_names == ("cat", "dog")


def test_a_full_disk_is_told_before_anything_is_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 40_000))
    with pytest.raises(DataError, match=r"the copy takes 0\.\d MB and 0\.0 MB are free"):
        copy_clean(load_dataset(folder), [], tmp_path / "clean")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_picture_that_is_gone_leaves_no_half_copy(folder, tmp_path, monkeypatch):
    data = load_dataset(folder)

    def vanishing(source, target, copy=shutil.copyfile):
        (folder / "dog" / "dog_0005.png").unlink(missing_ok=True)
        return copy(source, target)

    monkeypatch.setattr(quarantine.shutil, "copyfile", vanishing)
    with pytest.raises(DataError, match=r"No such file or directory: .*dog_0005\.png"):
        copy_clean(data, [], tmp_path / "clean")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from tltool.data import load_dataset
from tltool.doctor import quarantine
def report(task, done, total):
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)
quarantine.copy_clean(load_dataset(sys.argv[1]), [], Path(sys.argv[2]), report)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system that can kill: runs on Linux and macOS")
def test_a_copy_that_was_cut_off_is_recognisable(folder, tmp_path):
    arguments = [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "clean")]
    done = subprocess.run(arguments, capture_output=True, timeout=60, check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert names[0].startswith("clean.incomplete-")
    assert copy_clean(load_dataset(folder), [], tmp_path / "clean") == 16
