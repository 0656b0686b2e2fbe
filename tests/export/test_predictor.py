"""Runs, bundles and model files give the same probabilities; what is no model of ours is refused."""

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.pictures import make_class_folders, make_picture
from tests.trained import CLASSES, finished_run
from tltool.cli import app
from tltool.errors import DataError, ExportError, RunError
from tltool.export.predictor import load_model
from tltool.training.run_folder import create_run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return finished_run().export(tmp_path_factory.mktemp("bundle") / "out").folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Wide, tall and small pictures, grey ones and one with a palette: all that resizing and decoding do shows."""
    folder = make_class_folders(tmp_path_factory.mktemp("new"), {"ant": 2, "bee": 2}, size=90, seed=3)
    make_picture(folder / "large.jpg", (10, 200, 90), size=300)
    from PIL import Image

    first = folder / "ant" / "ant_0000.png"
    with Image.open(first) as image:
        image.crop((0, 0, 90, 40)).save(folder / "wide.png")
        image.convert("L").crop((0, 0, 20, 33)).save(folder / "grey.png")
        image.convert("P").save(folder / "palette.png")
    return folder


def predict_csv(model: Path, pictures: Path, file: Path) -> list[list[str]]:
    app(["predict", str(model), str(pictures), "--csv", str(file)], standalone_mode=False)
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def numbers(rows: list[list[str]]) -> np.ndarray:
    return np.array([[float(value) for value in row[2:]] for row in rows[1:]])


def test_run_bundle_and_file_agree_through_the_csv(bundle, pictures, tmp_path):
    sources = {"run": finished_run().path, "bundle": bundle, "file": bundle / "model.keras"}
    tables = {name: predict_csv(source, pictures, tmp_path / f"{name}.csv") for name, source in sources.items()}
    head, *rows = tables["run"]
    assert head == ["path", "label", "confidence", "prob:ant", "prob:bee", "prob:cat"]
    assert [row[0] for row in rows] == [str(path) for path in sorted(pictures.rglob("*.*"))]
    for table in tables.values():
        np.testing.assert_allclose(numbers(table), numbers(tables["run"]), atol=1e-5)
        assert [row[:2] for row in table] == [row[:2] for row in tables["run"]]
    probabilities = numbers(tables["run"])[:, 1:]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(numbers(tables["run"])[:, 0], probabilities.max(axis=1))
    assert [row[1] for row in rows] == [CLASSES[index] for index in probabilities.argmax(axis=1)]
    # Nine digits give every float32 back.
    direct = [
        prediction.probabilities[name] for prediction in load_model(bundle).predict([pictures]) for name in CLASSES
    ]
    np.testing.assert_array_equal(probabilities.ravel().astype(np.float32), np.float32(direct))


PLAIN_KERAS = """
import json, sys
import keras, numpy as np
from PIL import Image
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
values = []
for path in sys.argv[2:]:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.dtype == np.uint8
    values.append(model.predict(pixels[None], verbose=0)[0].tolist())
assert not [name for name in sys.modules if name.split(".")[0] == "tltool"]
print(json.dumps(values))
"""


def test_the_exported_file_needs_no_tltool(bundle, pictures, tmp_path):
    rows = predict_csv(bundle, pictures, tmp_path / "out.csv")
    paths = [row[0] for row in rows[1:]]
    command = [sys.executable, "-c", PLAIN_KERAS, str(bundle / "model.keras"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), numbers(rows)[:, 1:], atol=1e-4)


def test_a_bad_picture_among_good_ones(bundle, pictures, tmp_path):
    bad = tmp_path / "note.jpg"
    bad.write_text("no picture")
    good = pictures / "wide.png"
    predictions, problems = load_model(bundle).try_predict([good, bad, tmp_path / "missing.png", good])
    assert [prediction.path for prediction in predictions] == [good, good]
    assert {problem.path for problem in problems} == {str(bad), str(tmp_path / "missing.png")}
    with pytest.raises(DataError, match=r"note\.jpg") as raised:
        load_model(bundle).predict([good, bad, tmp_path / "missing.png"])
    assert "missing.png: no such file" in str(raised.value)


def test_prediction_is_the_most_probable_class(bundle, pictures):
    for prediction in load_model(str(bundle)).predict([str(pictures)]):
        assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.get)
        assert prediction.confidence == prediction.probabilities[prediction.label]
        assert tuple(prediction.probabilities) == CLASSES
        assert math.isclose(sum(prediction.probabilities.values()), 1, abs_tol=1e-5)


def test_one_path_needs_no_list(bundle, pictures):
    (alone,) = load_model(bundle).predict(str(pictures / "wide.png"))
    assert alone.path == pictures / "wide.png"
    assert len(load_model(bundle).predict(pictures)) == len(list(pictures.rglob("*.*")))


def test_sets_and_unknown_pictures(bundle, pictures):
    """The set holds the classes from the threshold on."""
    predictor = load_model(bundle)
    lowest = predictor.certainty.sets.threshold(0.6)
    for prediction in predictor.predict(pictures, coverage=0.6):
        inside = {name for name, value in prediction.probabilities.items() if value >= lowest}
        assert set(prediction.label_set) == inside | {prediction.label}
        assert prediction.label_set[0] == prediction.label
    known = finished_run().data
    trained_on = predictor.predict([known.paths[index] for index in known.indices("train")])
    assert np.mean([prediction.known for prediction in trained_on]) >= 0.95
    with pytest.raises(DataError, match=r"Coverage 2\.0: give a share"):
        predictor.predict(pictures, coverage=2.0)


def test_a_model_of_an_earlier_version_says_nothing_of_sets(bundle, pictures, tmp_path):
    copy = copy_of(bundle, tmp_path)
    for name in ("calibration.json", "novelty.npz"):
        (copy / name).unlink()
    prediction = load_model(copy).predict(pictures)[0]
    assert (prediction.label_set, prediction.known) == (None, None)
    with pytest.raises(DataError, match=r"holds no calibration\.json"):
        load_model(copy).predict(pictures, coverage=0.9)


def copy_of(bundle: Path, folder: Path) -> Path:
    return Path(shutil.copytree(bundle, folder / "copy"))


def test_labels_that_do_not_fit(bundle, pictures, tmp_path):
    copy = copy_of(bundle, tmp_path)
    (copy / "labels.json").write_text('["ant", "bee"]')
    with pytest.raises(ExportError, match=r"has 3 classes, but labels\.json names 2"):
        load_model(copy).predict([pictures])
    (copy / "labels.json").write_text('{"classes": ["ant", "bee", "cat"], "threshold": 0.5}')
    with pytest.raises(ExportError, match=r"labels\.json is from a model of another kind"):
        load_model(copy).predict([pictures])
    (copy / "labels.json").unlink()
    with pytest.raises(ExportError, match=r"labels\.json: the class names cannot be read .* Keep it beside the model"):
        load_model(copy)


def test_files_that_are_no_models(bundle, tmp_path):
    copy = copy_of(bundle, tmp_path)
    whole = (copy / "model.keras").read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (copy / "model.keras").write_bytes(content)
        with pytest.raises(ExportError, match=r"model\.keras: not a model that can be loaded"):
            _ = load_model(copy).model
    picture = make_picture(tmp_path / "cat.png")
    with pytest.raises(ExportError, match=r"cat\.png: not a \.keras file. Give a run folder"):
        load_model(picture)
    with pytest.raises(ExportError, match=r"missing: no such model\. Give a run folder"):
        load_model(tmp_path / "missing")
    with pytest.raises(ExportError, match=r"aaa: cannot be read \(File name too long\)\. Give a run folder"):
        load_model(tmp_path / ("a" * 300))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=r"empty: holds no model\.keras"):
        load_model(tmp_path / "empty")


def test_an_unfinished_run_has_no_model(tmp_path):
    create_run(tmp_path / "run", "run", "linear-probe", 0)
    with pytest.raises(RunError, match="this run is queued"):
        load_model(tmp_path / "run")


def test_somebody_elses_keras_model(tmp_path):
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.save(tmp_path / "model.keras")
    (tmp_path / "labels.json").write_text('["a", "b"]')
    with pytest.raises(ExportError, match="not made by tltool"):
        _ = load_model(tmp_path).model


def test_code_in_a_model_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "mark"
    picture = keras.Input((None, None, 3), name="picture")
    code = compile(f"lambda x: (__import__('os').makedirs({str(mark)!r}, exist_ok=True), x)[1]", "<test>", "eval")
    x = keras.layers.Lambda(eval(code), name="clip")(picture)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(picture, keras.layers.Softmax(name="probabilities")(x))
    model.save(tmp_path / "model.keras")
    mark.rmdir()  # building the model ran it
    (tmp_path / "labels.json").write_text('["a", "b", "c"]')
    with pytest.raises(ExportError, match=r"not a model that can be loaded .*Lambda"):
        _ = load_model(tmp_path).model
    assert not mark.exists()
