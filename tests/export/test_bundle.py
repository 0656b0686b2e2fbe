"""Bundles: complete, never over something else, and labels that are read back or refused."""

import json

import pytest

from tests.trained import CLASSES, finished_run
from tltool.errors import ExportError, RunError
from tltool.export.bundle import Labels, check_formats, read_labels, write_bundle, write_labels
from tltool.training.run_folder import create_run


def test_bundle_holds_the_model_and_its_labels(tmp_path):
    run = finished_run()
    bundle = run.export(tmp_path / "deep" / "out", ["keras", "keras"])
    assert bundle.formats == ("keras",)
    found = sorted(path.name for path in bundle.folder.iterdir())
    assert found == ["calibration.json", "labels.json", "model.keras", "novelty.npz"]
    for name in ("calibration.json", "model.keras", "novelty.npz"):
        assert (bundle.folder / name).read_bytes() == (run.path / name).read_bytes()
    assert tuple(json.loads((bundle.folder / "labels.json").read_text("utf-8"))) == CLASSES


def test_an_empty_folder_is_taken_and_a_full_one_refused(tmp_path):
    run = finished_run()
    run.export(tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ExportError, match=r"exists and is not empty. Give another --out; nothing is overwritten"):
        run.export(tmp_path / "out")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="exists and is not empty"):
        run.export(tmp_path / "file")
    with pytest.raises(ExportError, match="cannot be written"):
        run.export(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "empty").mkdir()
    run.export(tmp_path / "empty")


@pytest.mark.parametrize("formats", [["onnx"], ["keras", "tflite"], []])
def test_formats_that_are_not_offered(tmp_path, formats):
    with pytest.raises(ExportError, match="offered: keras"):
        check_formats(formats)
    with pytest.raises(ExportError, match="offered: keras"):
        finished_run().export(tmp_path / "out", formats)
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_is_not_exported(tmp_path):
    from tltool import open_run

    create_run(tmp_path / "run", "run", "linear-probe", 0)
    with pytest.raises(RunError, match="this run is queued, so it has no model to use"):
        open_run(tmp_path / "run").export(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_whose_model_is_gone(tmp_path):
    with pytest.raises(ExportError, match=r"model\.keras: missing"):
        write_bundle(tmp_path / "model.keras", Labels(CLASSES), tmp_path / "out", ["keras"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("threshold", [None, 0.375])
def test_labels_are_read_back(tmp_path, threshold):
    labels = Labels(("größer", "日本", 'quo"te'), threshold)
    write_labels(tmp_path / "labels.json", labels)
    assert read_labels(tmp_path / "labels.json") == labels


@pytest.mark.parametrize("threshold", ["null", "0.0", "1.0", "NaN", '"0.5"', "[]"])
def test_a_threshold_that_is_none(tmp_path, threshold):
    (tmp_path / "labels.json").write_text(f'{{"classes": ["a", "b"], "threshold": {threshold}}}', "utf-8")
    with pytest.raises(ExportError, match=r"`threshold` = .* not a number between 0 and 1"):
        read_labels(tmp_path / "labels.json")


@pytest.mark.parametrize("content", [None, "", "{", '{"classes": 3, "threshold": 0.5}', '["a", 1]', '"abc"', "\xff"])
def test_labels_that_are_missing_or_something_else(tmp_path, content):
    path = tmp_path / "labels.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ExportError, match=r"labels\.json: (the class names cannot be read|not a list of class names)"):
        read_labels(path)
