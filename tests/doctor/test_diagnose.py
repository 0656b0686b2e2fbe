"""The doctor on files: planted faults are found, and clean sets are left in peace."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REAL_DATA
from tests.doctor.sets import NO_COPIES, classes, data_of, make_photos, scan_of
from tltool.data import load_dataset
from tltool.data.copies import find_copies
from tltool.data.dataset import Problem
from tltool.data.scan import scan
from tltool.doctor.diagnose import diagnose
from tltool.doctor.findings import Finding
from tltool.doctor.repeats import LEAK


def found(folder: Path) -> dict[str, Finding]:
    data = load_dataset(folder, trainable=False)
    seen = scan(data.root, data.files)
    findings = diagnose(data, seen, find_copies(seen.keys, seen.thumbnails))
    assert len({finding.kind for finding in findings}) == len(findings)
    return {finding.kind: finding for finding in findings}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three even classes in two parts."""
    for seed, (part, count) in enumerate((("train", 14), ("test", 12))):
        make_photos(tmp_path / "photos" / part, dict.fromkeys(("cat", "dog", "emu"), count), seed)
    return tmp_path / "photos"


def test_a_clean_set_gives_no_finding(folder):
    assert found(folder) == {}


def plant_files(root: Path) -> dict[str, set[str]]:
    """Plants one fault of each kind; returns the files that each finding should name."""
    cat, dog = root / "train" / "cat", root / "train" / "dog"
    picture = Image.open(cat / "cat_0000.png")
    (cat / "empty.jpg").touch()
    picture.save(cat / "cut.jpg", quality=95)
    (cat / "cut.jpg").write_bytes((cat / "cut.jpg").read_bytes()[:800])
    (cat / "page.jpg").write_text("<html>404</html>")
    frames = [Image.open(dog / f"dog_000{n}.png").rotate(90) for n in range(3)]
    frames[0].save(dog / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (90, 60), (250, 250, 250)).save(dog / "blank.png")
    Image.open(dog / "dog_0005.png").rotate(180).point(lambda value: value // 8).save(dog / "dark.png")
    make_photos(root.parent / "more", {"new": 3}, seed=9)
    new = [Image.open(root.parent / "more" / "new" / f"new_000{n}.png") for n in range(3)]
    new[2].save(cat / "really.jpg", "PNG")
    new[0].resize((30, 20)).save(dog / "small.png")
    new[1].resize((500, 60)).save(dog / "strip.png")
    shutil.copy(dog / "dog_0008.png", dog / "copy.png")
    shutil.copy(dog / "dog_0009.png", cat / "other.png")
    shutil.copy(dog / "dog_0010.png", root / "test" / "dog" / "leak.png")
    Image.open(dog / "dog_0011.png").convert("RGB").save(dog / "sent.jpg", quality=60)
    return {
        "empty": {"train/cat/empty.jpg"},
        "truncated": {"train/cat/cut.jpg"},
        "not-a-picture": {"train/cat/page.jpg"},
        "wrong-extension": {"train/cat/really.jpg"},
        "animated": {"train/dog/moving.gif"},
        "blank": {"train/dog/blank.png"},
        "dark": {"train/dog/dark.png"},
        "tiny": {"train/dog/small.png"},
        "long": {"train/dog/strip.png"},
        "two-labels": {"train/dog/dog_0009.png", "train/cat/other.png"},
        "leak": {"test/dog/leak.png"},
        "exact-copies": {
            *("train/dog/dog_0008.png", "train/dog/copy.png", "train/dog/dog_0009.png", "train/cat/other.png"),
            *("train/dog/dog_0010.png", "test/dog/leak.png"),
        },
        "near-copies": {
            *("train/dog/dog_0011.png", "train/dog/sent.jpg"),
            *("train/dog/dog_0005.png", "train/dog/dark.png"),
        },
    }


def test_planted_faults_are_found_and_nothing_else(folder):
    planted = plant_files(folder)
    findings = found(folder)
    assert {kind: set(finding.files) for kind, finding in findings.items()} == planted
    severities = [finding.severity for finding in findings.values()]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert {kind for kind, finding in findings.items() if finding.severity == "error"} == {"two-labels", "leak"}
    for finding in findings.values():
        assert finding.message
        assert finding.fix
        assert set(finding.drop) <= set(finding.files)
        assert len(finding.details) in (0, len(finding.files))


def test_problems_of_source_and_scan_are_told_once():
    data = data_of(*classes(cat=40, dog=40), problems=[Problem("cat/00.jpg", "damaged picture", "damaged")])
    seen = scan_of(data, {"cat/00.jpg": {"keys": None}, "cat/01.jpg": {"keys": None}})
    damaged, few = diagnose(data, seen, NO_COPIES)
    assert damaged.files == ("cat/00.jpg", "cat/01.jpg")
    assert few.kind == "few-held-out"


def test_a_problem_that_is_a_leak_is_told_as_one():
    data = data_of(*classes(cat=60, dog=60), problems=[Problem("valid/cat/00.jpg", "a copy", LEAK)])
    (finding,) = diagnose(data, scan_of(data), NO_COPIES)
    assert finding.kind == "leak-valid"


def test_a_scan_of_other_files_is_refused():
    data = data_of(*classes(cat=4, dog=4))
    with pytest.raises(ValueError, match="the scan is of 3 files, not the 8"):
        diagnose(data, scan_of(data).take(np.arange(3)), NO_COPIES)


# What is true of them: icons of 28 pixels are tiny; weather holds many pictures twice, slightly changed, in both parts,
# flowers a vase of tulips, and trashnet two shots of one leaflet. All else would be a false alarm.
REAL = {
    "cats_dogs": {},
    "chest_xray": {},
    "fashion_mnist": {"tiny": "note"},
    "flowers": {"near-copies": "note", "leak": "warning"},
    "ham10000_skin": {},
    "hymenoptera": {},
    "kmnist_test": {"tiny": "note"},
    "rsscn7_aerial": {},
    "trashnet": {"near-copies": "note", "leak": "warning"},
    "weather": {"near-copies": "note", "leak": "error"},
}


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "severities"), REAL.items(), ids=REAL)
def test_real_sets_are_left_in_peace(name: str, severities: dict[str, str]):
    assert {kind: finding.severity for kind, finding in found(REAL_DATA / name).items()} == severities
