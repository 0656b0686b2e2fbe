"""The demonstration: real digits, and all steps end to end."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from tltool.cli_demo import run_demo
from tltool.data import load_dataset
from tltool.demo import A_CLASS, PIXELS, pixel_baseline, write_digits
from tltool.errors import TltoolError


def test_digits_are_scikit_learns(tmp_path):
    assert write_digits(tmp_path / "digits", 5) == tmp_path / "digits"
    digits = load_digits()
    for label in range(10):
        files = sorted((tmp_path / "digits" / str(label)).iterdir())
        assert [file.name for file in files] == [f"{number:03}.png" for number in range(5)]
        for file, original in zip(files, digits.images[digits.target == label], strict=False):
            with Image.open(file) as image:
                assert image.format == "PNG"
                pixels = np.asarray(image)
            assert pixels.shape == (PIXELS, PIXELS)
            block = PIXELS // 8
            # Every original pixel is one flat block, and its 17 grey values can be told back.
            np.testing.assert_array_equal(pixels, pixels[::block, ::block].repeat(block, 0).repeat(block, 1))
            np.testing.assert_array_equal(np.rint(pixels[::block, ::block] * (16 / 255)), original)


def test_there_are_enough_of_each_digit():
    assert np.bincount(load_digits().target).min() >= max(A_CLASS, 174)


def test_baseline_is_a_support_vector_machine_on_the_original_pixels(tmp_path):
    data = load_dataset(write_digits(tmp_path / "digits", 20))
    digits = load_digits()
    first = [np.flatnonzero(digits.target == label)[:20] for label in range(10)]
    original = digits.images[np.concatenate(first)].reshape(200, 64) / 16  # in the order of the data set's files
    learned, held_out = data.indices("train", "valid"), data.indices("test")
    model = SVC().fit(original[learned], data.labels_of(learned))
    assert pixel_baseline(data) == model.score(original[held_out], data.labels_of(held_out))


def test_a_full_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TltoolError, match=r"exists and is not empty. Give another --out"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_demonstration_from_start_to_finish(tmp_path):
    """With the real weights, as a user runs it: about half a minute on two cores."""
    command = [sys.executable, "-m", "tltool", "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "demo-1"
    assert [path.name for path in tmp_path.iterdir()] == ["demo-1"]

    steps = ("1. Data", "2. Inspect", "3. Fit", "4. Evaluate", "5. Export", "6. Predict")
    assert [done.stderr.index(step) for step in steps] == sorted(done.stderr.index(step) for step in steps)
    assert done.stderr.splitlines()[-1] == f"Everything lies in {Path('demo-1')}; delete it when you like."
    assert "> stage-probe <" in done.stdout  # little data, unlike ImageNet
    assert "Recipe: stage-probe" in done.stdout
    assert "support vector machine on the raw pixels" in done.stdout

    metrics = json.loads((folder / "run" / "metrics.json").read_text("utf-8"))
    assert metrics["pictures"] == 80
    assert metrics["top1"] >= 0.85
    assert f"Held out: top-1 {metrics['top1']:.1%}" in done.stdout

    bundle = ["calibration.json", "labels.json", "model.keras", "novelty.npz"]
    assert sorted(path.name for path in (folder / "bundle").iterdir()) == bundle
    assert (folder / "bundle" / "model.keras").read_bytes() == (folder / "run" / "model.keras").read_bytes()
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert list(rows[0])[3:] == [f"prob:{digit}" for digit in range(10)]
    shown = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 4]
    assert [[row["path"], row["label"]] for row in rows] == [line[:2] for line in shown]
    index = json.loads((folder / "run" / "data.json").read_text("utf-8"))["files"]
    held_out = {file for file, _, part, *_ in index if part == "test"}
    assert all(Path(row["path"]).relative_to(folder / "digits").as_posix() in held_out for row in rows)
