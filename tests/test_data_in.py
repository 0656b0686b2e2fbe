"""Data as people have it, through the whole chain: several labels, copies, leaks, groups, and a set that is refused."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tltool as tl
from tests.pictures import make_class_folders
from tests.trained import TINY
from tltool.cli import app
from tltool.data import load_dataset
from tltool.doctor.checkup import check_up
from tltool.errors import DataError, RunError
from tltool.evaluation.multi_label import MultiLabelMetrics
from tltool.run import evaluate_run
from tltool.training import train
from tltool.training.fine_tuning import FineTuning

# A probe that is too weak and a high rate: what fine-tuning gives is kept.
FINE = (
    *TINY,
    "head.taps=all",
    "head.strengths=[30.0]",
    "stages.top.epochs=10",
    "stages.top.batch_size=16",
    "stages.top.learning_rate=0.01",
    "stages.top.augmentation=none",
)


def make_several(folder: Path, count: int, seed: int = 0) -> Path:
    """Pictures with any of a red, a green and a blue patch, and a manifest that names them; returns the manifest."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        present = random.random(3) < 0.5
        present[random.integers(3)] = True
        pixels = random.integers(90, 160, (36, 36, 3)).astype(np.uint8)
        for color in np.flatnonzero(present):
            pixels[:, 12 * color : 12 * color + 12] = 40
            pixels[:, 12 * color : 12 * color + 12, color] = 220
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
        rows.append((f"{number:03}.png", "|".join(np.array(["red", "green", "blue"])[present])))
    return write_manifest(folder / "labels.csv", ("file", "labels"), rows)


def write_manifest(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([tuple(header), *rows])
    return path


def read_csv(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    return make_several(tmp_path_factory.mktemp("several") / "patches", 90)


@pytest.fixture(scope="module", params=["stage-probe", "finetune-top"])
def run(request, several, tmp_path_factory) -> tl.Run:
    settings = TINY if request.param == "stage-probe" else FINE
    return tl.fit(several, request.param, out=tmp_path_factory.mktemp("several") / "run", settings=settings)


def test_several_labels_are_learned_and_scored(run):
    assert run.data.multi_label
    assert isinstance(run.metrics, MultiLabelMetrics)
    assert run.metrics.class_names == ("blue", "green", "red")
    assert run.metrics.pictures == len(run.data.indices("test")) >= 15
    assert run.tuning is None or run.tuning.kept
    assert run.metrics.mean_average_precision > 0.85  # a guess has the share of each class, about 0.65
    state = json.loads((run.path / "run.json").read_text("utf-8"))
    assert state["mean_average_precision"] == run.metrics.mean_average_precision
    assert "top1" not in state


def test_a_resumed_run_decides_from_the_same_probability(several, tmp_path, monkeypatch):
    """The probe has learned from augmented views, and is handed back: its threshold is made from them too."""

    def hand_back(model, *_, **__):
        return FineTuning("log_loss", 0.5, 0.6, 0.0, 0.5)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    settings = (*FINE, "head.views=1", 'head.augmentation="standard"')
    monkeypatch.setattr(train, "fine_tune", hand_back)
    whole = tl.fit(several, "finetune-top", out=tmp_path / "whole", settings=settings)
    with monkeypatch.context() as patch:
        patch.setattr(train, "fine_tune", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tl.fit(several, "finetune-top", out=tmp_path / "run", settings=settings)
    assert tl.resume(tmp_path / "run").labels == whole.labels


def test_several_labels_are_predicted_from_run_and_export(run, several, tmp_path):
    bundle = run.export(tmp_path / "bundle")
    new = make_several(tmp_path / "new", 12, seed=5)
    pictures = sorted(new.parent.glob("*.png"))
    threshold = run.labels.threshold
    assert 0 < threshold < 1
    found = [tl.load_model(source).predict(pictures) for source in (run.path, bundle.folder)]
    for ours, exported in zip(*found, strict=True):
        assert ours.probabilities == pytest.approx(exported.probabilities, abs=1e-6)
        assert ours.labels == tuple(name for name, value in ours.probabilities.items() if value >= threshold)
        assert ours.label == "|".join(ours.labels)
        assert 0 <= ours.confidence <= 1
    assert any(abs(sum(prediction.probabilities.values()) - 1) > 0.2 for prediction in found[0])
    truth = {name: set(labels.split("|")) for name, labels in read_csv(new)[1:]}
    right = [len(set(p.labels) ^ truth[p.path.name]) for p in found[0]]
    assert np.mean(right) < 1  # of three labels; guessing gets 1.5 wrong


def test_several_labels_through_the_command_line(run, several, tmp_path, capsys):
    new = make_several(tmp_path / "new", 12, seed=5)
    app(["predict", str(run.path), str(new.parent), "--csv", str(tmp_path / "out.csv")], standalone_mode=False)
    head, *rows = read_csv(tmp_path / "out.csv")
    assert head == ["path", "label", "confidence", "prob:blue", "prob:green", "prob:red"]
    assert len(rows) == 12
    assert any("|" in row[1] for row in rows)
    capsys.readouterr()
    app(["evaluate", str(run.path), str(new), "--json"], standalone_mode=False)
    scores = json.loads(capsys.readouterr().out)
    assert scores["pictures"] == 12
    assert scores["mean_average_precision"] > 0.8
    app(["runs", str(run.path.parent)], standalone_mode=False)
    assert "mAP" in capsys.readouterr().out


def test_one_label_a_picture_can_score_a_run_of_several_but_not_the_other_way_round(run, several, tmp_path):
    single = make_class_folders(tmp_path / "single", {"blue": 3, "red": 3}, size=36)
    assert evaluate_run(run, single).metrics.support == (3, 0, 3)
    plain = make_class_folders(tmp_path / "plain", {"blue": 12, "green": 12, "red": 12}, size=36)
    other = tl.fit(plain, "linear-probe", out=tmp_path / "run", settings=TINY)
    with pytest.raises(DataError, match="several labels, but the run has learned to tell one"):
        evaluate_run(other, several)


def test_a_group_column_is_honoured(tmp_path):
    folder = make_class_folders(tmp_path / "scans", {"sick": 30, "well": 30})
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    rows = [(file, file.split("/")[0], f"patient {i % 30 // 3}") for i, file in enumerate(files)]
    manifest = write_manifest(folder / "scans.csv", ("path", "label", "patient"), rows)
    run = tl.fit(manifest, "linear-probe", out=tmp_path / "run", settings=TINY)
    parts = {}
    for group, part in zip(run.data.groups, run.data.parts, strict=True):
        parts.setdefault(group, set()).add(part)
    assert len(parts) == 10
    assert all(len(of_group) == 1 for of_group in parts.values())
    assert {*run.data.parts} == {"train", "valid", "test"}


def copied(path: Path, target: Path, quality: int) -> None:
    """A re-encoded copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as image:
        image.convert("RGB").save(target, quality=quality)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Smooth random pictures, of which no two look alike, as photographs do; brighter ones are another class."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 90)):
        (folder / name).mkdir()
        for number in range(20):
            coarse = random.integers(low, low + 160, (6, 6, 3)).astype(np.uint8)
            Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(
                folder / name / f"{name}{number}.png"
            )
    return folder


def test_copies_are_kept_on_one_side(photos, tmp_path):
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    for name in ("dark", "light"):
        for number in range(8):
            source = folder / name / f"{name}{number}.png"
            shutil.copy(source, folder / name / f"again {number}.png")
            copied(source, folder / name / f"sent {number}.jpg", 60)
    run = tl.fit(folder, "linear-probe", out=tmp_path / "run", settings=TINY)
    part = dict(zip(run.data.files, run.data.parts, strict=True))
    before = load_dataset(folder)
    by_name = dict(zip(before.files, before.parts, strict=True))
    families = [
        [f"{name}/{name}{number}.png", f"{name}/again {number}.png", f"{name}/sent {number}.jpg"]
        for name in ("dark", "light")
        for number in range(8)
    ]
    assert any(len({by_name[file] for file in family}) > 1 for family in families)
    assert all(len({part[file] for file in family}) == 1 for family in families)
    assert run.metrics_without_leaks is None
    learned = set(json.loads((run.path / "seen.json").read_text("utf-8")))
    assert len(learned) < len(run.data.indices("train", "valid"))  # exact copies have one key


def test_a_leaking_test_part_is_scored_twice(photos, tmp_path, capsys):
    folder = tmp_path / "parts"
    for path in sorted(photos.rglob("*.png")):
        part = "test" if path.stem.endswith(("0", "5")) else "train"
        (folder / part / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / part / path.parent.name)
    for name in ("dark", "light"):
        shutil.copy(photos / name / f"{name}1.png", folder / "test" / name / "exact.png")
        copied(photos / name / f"{name}2.png", folder / "test" / name / "near.jpg", 60)
    app(
        ["fit", str(folder), "--recipe", "linear-probe", "--out", str(tmp_path / "run")]
        + [word for setting in TINY for word in ("--set", setting)],
        standalone_mode=False,
    )
    assert "Without the 4 of them that leaked: top-1" in capsys.readouterr().out
    run = tl.open_run(tmp_path / "run")
    assert run.metrics.pictures == 12
    assert run.metrics_without_leaks.pictures == 8
    assert json.loads((run.path / "metrics.json").read_text("utf-8"))["leaked"] == 4
    events = (run.path / "events.jsonl").read_text("utf-8")
    assert "4 of 12 test pictures have a copy among what is learned from" in events


def test_a_leaking_validation_part_is_cleaned(photos, tmp_path):
    folder = tmp_path / "parts"
    for path in sorted(photos.rglob("*.png")):
        last = path.stem[-1]
        part = "test" if last in "05" else "val" if last in "16" else "train"
        (folder / part / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / part / path.parent.name)
    shutil.copy(photos / "dark" / "dark2.png", folder / "val" / "dark" / "copy.png")
    run = tl.fit(folder, "linear-probe", out=tmp_path / "run", settings=TINY)
    assert "val/dark/copy.png" not in run.data.files
    (problem,) = run.data.problems
    assert str(problem) == "val/dark/copy.png: a copy of a training picture, so it validates nothing"


def test_copies_in_a_set_of_train_and_valid_are_all_learned_from(photos, tmp_path):
    for path in sorted(photos.rglob("*.png")):
        part = "valid" if path.stem.endswith(("0", "5")) else "train"
        (tmp_path / "parts" / part / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "parts" / part / path.parent.name)
        if part == "train":
            shutil.copy(path, tmp_path / "parts" / part / path.parent.name / f"again {path.name}")
    checkup = check_up(load_dataset(tmp_path / "parts"))
    assert checkup.data.problems == ()
    assert len(checkup.data.indices("train", "valid")) == 64
    assert len(checkup.leaks) == 0


def test_a_group_on_both_sides_is_a_leak(photos, tmp_path):
    rows = []
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        part = "test" if i % 5 == 0 else "train"
        group = "both" if i in (0, 1) else f"only {i}"
        rows.append((path.relative_to(photos).as_posix(), path.parent.name, part, group))
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    manifest = write_manifest(folder / "all.csv", ("path", "label", "split", "patient"), rows)
    checkup = check_up(load_dataset(manifest))
    assert [checkup.data.files[i] for i in checkup.leaks] == [rows[0][0]]


def test_a_run_may_lie_beside_a_manifest(photos, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    rows = [(path.relative_to(folder).as_posix(), path.parent.name) for path in sorted(folder.rglob("*.png"))]
    write_manifest(folder / "labels.csv", ("path", "label"), rows)
    monkeypatch.chdir(folder)
    run = tl.fit("labels.csv", "linear-probe", settings=TINY)
    assert run.path == Path("runs/labels-1")
    assert load_dataset("labels.csv").files == run.data.files


def test_a_test_part_of_copies_alone_has_no_honest_score(photos, tmp_path, capsys):
    for part in ("train", "test"):
        shutil.copytree(photos, tmp_path / "parts" / part)
    app(
        ["fit", str(tmp_path / "parts"), "--recipe", "linear-probe", "--out", str(tmp_path / "run")]
        + [word for setting in TINY for word in ("--set", setting)],
        standalone_mode=False,
    )
    assert "All 40 of them leaked" in capsys.readouterr().out
    assert tl.open_run(tmp_path / "run").metrics_without_leaks is None


NO_KERAS = """
import sys
from tltool.cli import main
try:
    main()
finally:
    found = {name.split(".")[0] for name in sys.modules} & {"keras", "tensorflow", "openvino", "torch", "jax"}
    print("IMPORTED", sorted(found), file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["inspect", "doctor"])
def test_looking_at_files_alone_needs_no_keras(photos, command):
    arguments = [sys.executable, "-c", NO_KERAS, command, str(photos), "--no-features", "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "IMPORTED []" in done.stderr
    answer = json.loads(done.stdout)
    if command == "inspect":
        assert (answer["decision"], answer["similarity"], answer["baselines"]) == (None, None, [])
        assert answer["size"]["images"] + answer["size"]["held_out"] == 40
    else:
        assert answer["pictures"] == 40


def test_nothing_is_decided_without_features(photos):
    facts = tl.inspect(photos, features=False)
    with pytest.raises(DataError, match="inspected without features"):
        tl.recommend(facts)


def test_a_run_refused_inside_the_data_leaves_no_folder(photos, monkeypatch):
    monkeypatch.chdir(photos)
    for out in (None, "new/run"):
        with pytest.raises(RunError, match="lies inside the data set"):
            tl.fit(photos, "linear-probe", out=out, settings=TINY)
    assert sorted(path.name for path in photos.iterdir()) == ["dark", "light"]
