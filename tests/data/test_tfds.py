"""Sets of tensorflow-datasets, read from where it keeps them.

One process writes sets and another reads them, for tfds reads sets that its process has the code of in another way.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tltool.data import load_dataset
from tltool.data.tfds import _check_network, _parts_of
from tltool.errors import DataError

ROOT = Path(__file__).parents[2]
# Reads the sets that are named on standard input and prints, as JSON, what each is or the message that it gives.
READ = """
import json, sys
from tltool.data import load_dataset
from tltool.errors import DataError

answers, told = [], []
for source, columns in json.load(sys.stdin):
    told.clear()
    try:
        data = load_dataset(source, columns=columns, report=lambda *progress: told.append(progress))
        answers.append({**data.to_json(), "names": [data.label_names(i) for i in range(len(data))], "told": told[-1:]})
    except DataError as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""
ASKED: list[tuple[str, dict[str, str] | None]] = [
    ("tfds:tiny_shapes", None),
    ("tfds:tiny_shapes:1.0.0", {"label": "coarse"}),
    ("tfds:tiny_tags", None),
    ("tfds:tiny_grey/small", None),
    ("tfds:tiny_grey/small:2.*.*", None),
    ("tfds:tiny_two", None),
    ("tfds:tiny_two", {"label": "form"}),
    ("tfds:tiny_two", {"label": "image"}),
    ("tfds:tiny_two", {"label": "form", "group": "colour"}),
    ("tfds:tiny_texts", None),
    ("tfds:tiny_depth", None),
    ("tfds:tiny_shapes:9.0.0", None),
    ("tfds:tiny_tag", None),
    ("tfds:mnits", None),
    ("tfds:mnist/gone", None),
    ("tfds:", None),
    ("tfds:../tiny_shapes", None),
    ("tfds:tiny_shapes", None),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sets in "sets"; the cache of the process that reads them is in "cache"."""
    folder = tmp_path_factory.mktemp("tfds")
    command = [sys.executable, str(ROOT / "tests" / "write_tfds.py"), str(folder / "sets")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.endswith("6 sets\n"), done.stderr
    return folder


@pytest.fixture(scope="module")
def answers(place: Path) -> dict[str, dict[str, Any]]:
    """What each of ASKED gives, by what is asked; that of the last one under "again"."""
    before = digests(place / "sets")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ],
        input=json.dumps(ASKED),
        cwd=ROOT,
        env=os.environ | {"TFDS_DATA_DIR": str(place / "sets"), "TLTOOL_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # The sets are only read; tfds makes an empty folder for one that it would have to download.
    assert digests(place / "sets") == before
    *answers, again = json.loads(done.stdout)
    keys = [source + (json.dumps(columns) if columns else "") for source, columns in ASKED[:-1]]
    return dict(zip(keys, answers, strict=True)) | {"again": again, "stderr": done.stderr}


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def pictures(answer: dict[str, Any]) -> dict[int, tuple[str, tuple[str, ...], str | None]]:
    """Folder and ending, class names and given part of each picture, by the number that its brightness tells."""
    assert "error" not in answer, answer["error"]
    found = {}
    for row, names in zip(answer["files"], answer["names"], strict=True):
        path = Path(answer["root"]) / row[0]
        with Image.open(path) as image:
            number = round(np.asarray(image).mean() / 10)
        place = f"{path.parent.name}/{path.suffix}"
        found[number] = (place, tuple(names), row[answer["columns"].index("given_part")])
    assert len(found) == len(answer["files"])
    return found


def test_splits_become_parts(answers: dict[str, dict[str, Any]], place: Path) -> None:
    answer = answers["tfds:tiny_shapes"]
    names = ("/a/abbey", "犬")
    assert pictures(answer) == {
        **{n: ("train/.jpg" if n % 2 else "train/.png", (names[n % 2],), "train") for n in range(10)},
        **{10 + n: ("validation/.png", (names[n % 2],), "valid") for n in range(4)},
    }
    assert answer["source"] == "tfds:tiny_shapes"
    assert answer["notes"][:2] == [
        "Splits that are left out: extra.",
        "Pictures of the test split that have no label are left out: 3.",
    ]
    assert answer["told"] == [["Copying pictures out of tfds", 17, 17]]
    assert Path(answer["root"]).parent == place / "cache" / "datasets"
    for row in answer["files"]:
        start = b"\xff\xd8\xff" if row[0].endswith(".jpg") else b"\x89PNG"
        assert (Path(answer["root"]) / row[0]).read_bytes().startswith(start)


def test_the_second_time_nothing_is_copied(answers: dict[str, dict[str, Any]], place: Path) -> None:
    first, again = answers["tfds:tiny_shapes"], answers["again"]
    assert again["told"] == []
    assert {**again, "told": first["told"]} == first
    # Another choice of label is another copy; nothing half-written is left.
    assert all(path.name.startswith("tfds-") for path in (place / "cache" / "datasets").iterdir())


def test_several_labels_a_picture(answers: dict[str, dict[str, Any]]) -> None:
    answer = answers["tfds:tiny_tags"]
    assert answer["multi_label"]
    # The bar separates labels in a table, so it cannot be in a name.
    expected = [("sea", "sun/moon"), ("sun/moon",), ("sea", "tree"), (), ("sun/moon", "tree")]
    assert pictures(answer) == {n: ("full/.png", expected[n % 5], None) for n in range(15) if expected[n % 5]}
    assert answer["notes"][0] == "Pictures of the full split that have no label are left out: 3."


def test_configurations_and_versions(answers: dict[str, dict[str, Any]]) -> None:
    one, other = answers["tfds:tiny_grey/small"], answers["tfds:tiny_grey/small:2.*.*"]
    assert one["root"] == other["root"]
    # A lone train split is split as a lone train folder is.
    assert pictures(one) == {n: ("train/.png", (str(n % 2),), None) for n in range(10)}
    assert {row[2] for row in one["files"]} == {"train", "valid", "test"}


def test_the_user_may_choose_the_label(answers: dict[str, dict[str, Any]]) -> None:
    assert answers['tfds:tiny_two{"label": "form"}']["class_names"] == ["round", "square"]
    error = answers['tfds:tiny_shapes:1.0.0{"label": "coarse"}']["error"]
    assert "only one class, '0'" in error
    assert error.startswith("tfds:tiny_shapes:1.0.0: ")


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        (
            "tfds:tiny_two",
            ["several features hold a class label: colour, form", "image (Image)", "--column label=NAME"],
        ),
        ('tfds:tiny_two{"label": "image"}', ["'image' is no feature that holds a class label"]),
        ('tfds:tiny_two{"label": "form", "group": "colour"}', ["only path and label can be named, not group"]),
        ("tfds:tiny_texts", ["no feature holds a picture", "stars (Scalar), text (Text)"]),
        ("tfds:tiny_depth", ["'image' has values of uint16, not uint8"]),
        ("tfds:tiny_shapes:9.0.0", ["no such data set, version or configuration", "TFDS_DATA_DIR"]),
        ("tfds:tiny_tag", ["no such data set, version or configuration"]),
        ("tfds:mnits", ["no such data set", "Did you mean", "mnist"]),
        ("tfds:mnist/gone", ["BuilderConfig gone not found"]),
        ("tfds:", ["Parsing builder name string"]),
        ("tfds:../tiny_shapes", ["Parsing builder name string"]),
    ],
)
def test_what_cannot_be_used_is_explained(answers: dict[str, dict[str, Any]], asked: str, parts: list[str]) -> None:
    error = answers[asked]["error"]
    assert error.startswith(asked.split("{")[0])
    assert "\n" not in error
    for part in parts:
        assert part in error


def test_nothing_is_printed(answers: dict[str, dict[str, Any]]) -> None:
    assert "Downloading" not in answers["stderr"]
    assert "oneDNN" not in answers["stderr"]


def test_without_tensorflow_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"^tfds:mnist: tensorflow-datasets cannot be imported .*'tltool\[tfds\]'"):
        load_dataset("tfds:mnist")


def builder(*urls: str) -> Any:
    return SimpleNamespace(url_infos=dict.fromkeys(urls), data_path=Path("/sets/mnist"))


def test_without_a_network_it_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError("Name or service not known")

    asked = builder("https://one.invalid/a.zip", "https://one.invalid/b.zip", "https://two.invalid/c.zip")
    monkeypatch.setattr("tltool.data.tfds.getproxies", dict)
    monkeypatch.setattr("socket.getaddrinfo", unknown)
    with pytest.raises(
        DataError, match=r"not on this machine \(/sets/mnist\), and one\.invalid, two\.invalid cannot be"
    ):
        _check_network(asked, "tfds:mnist")
    _check_network(builder(), "tfds:mnist")
    monkeypatch.setattr("socket.getaddrinfo", lambda host, _: unknown() if host.startswith("one") else [])
    _check_network(asked, "tfds:mnist")
    # A proxy may know hosts that this machine does not.
    monkeypatch.setattr("socket.getaddrinfo", unknown)
    monkeypatch.setattr("tltool.data.tfds.getproxies", lambda: {"https": "proxy"})
    _check_network(asked, "tfds:mnist")


@pytest.mark.parametrize(
    ("splits", "parts", "notes"),
    [
        (["train", "test"], {"train": "train", "test": "test"}, []),
        (["Validation", "train", "unsupervised"], {"Validation": "valid", "train": "train"}, ["unsupervised"]),
        (["all"], {"all": ""}, []),
    ],
)
def test_which_splits_are_which_parts(splits: list[str], parts: dict[str, str], notes: list[str]) -> None:
    found, told = _parts_of(splits, "tfds:x")
    assert found == parts
    assert told == [f"Splits that are left out: {note}." for note in notes]


def test_splits_that_are_no_parts() -> None:
    with pytest.raises(DataError, match=r"^tfds:x: its splits are a, b; train, validation or test are needed"):
        _parts_of(["a", "b"], "tfds:x")
