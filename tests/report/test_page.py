"""A run's report: complete in itself, honest about what it lacks, and deaf to what files are called."""

import json
import shutil

import pytest

from tests.page import Page
from tests.report.reported import QUOTED, copied_run, evil_run, several_run
from tests.trained import finished_run
from tltool.data.dataset import load_index
from tltool.errors import RunError, TltoolError
from tltool.files import write_json
from tltool.report.page import CHAPTERS, write_report
from tltool.run import open_run

LARGEST = 3_000_000  # bytes


def written(run, folder) -> Page:
    return Page(write_report(run, out=folder / "report.html").read_text("utf-8"))


def test_a_report_says_what_the_run_says(tmp_path):
    run = finished_run()
    page = written(run, tmp_path)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert ids == set(CHAPTERS)
    assert {link["href"] for link in page.named("a")} == {f"#{name}" for name in CHAPTERS}
    metrics = run.metrics
    assert f"{100 * metrics.top1:.1f} %" in page.text
    assert f"{metrics.log_loss:.3f}" in page.text
    for reason in run.decision["reasons"]:
        assert reason in page.text
    for name in run.class_names:
        assert name in page.text
    assert "tltool fit" in page.text
    assert "Do it again" in page.text
    shown = [picture["alt"] for picture in page.named("img")]
    assert len(set(run.data.files) & set(shown)) >= 3 * 6  # six of each class
    assert (tmp_path / "report.html").stat().st_size < LARGEST


def test_a_report_needs_nothing_else(tmp_path):
    page = written(several_run(), tmp_path)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith(("data:", "#"))
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_names_cannot_break_out(tmp_path):
    run = evil_run()
    page = written(run, tmp_path)
    assert "script" not in {tag for tag, _ in page.tags}
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(picture["src"].startswith("data:") for picture in page.named("img"))
    assert QUOTED in page.text
    assert "<script" not in (tmp_path / "report.html").read_text("utf-8")


def test_several_labels_and_fine_tuning(tmp_path):
    run = several_run()
    page = written(run, tmp_path)
    assert "mean average precision" in page.text
    assert str(run.tuning) in page.text
    assert "the probe it started from" in page.text
    assert "best epoch" in page.text
    assert "confusion" not in {attributes.get("id") for _, attributes in page.tags}


def test_pictures_that_have_been_moved_away(tmp_path):
    run = copied_run(tmp_path / "run")
    index = json.loads(run.folder.data.read_text("utf-8"))
    write_json(run.folder.data, index | {"root": str(tmp_path / "gone")})
    page = written(open_run(run.path), tmp_path)
    assert "can be read at" in page.text
    assert str(tmp_path / "gone") in page.text
    assert page.named("img") == []
    assert f"{100 * run.metrics.top1:.1f} %" in page.text  # what is written down is told all the same


def test_some_pictures_are_missing(tmp_path):
    run = copied_run(tmp_path / "run")
    pictures = tmp_path / "pictures"
    shutil.copytree(run.data.root, pictures)
    index = json.loads(run.folder.data.read_text("utf-8"))
    write_json(run.folder.data, index | {"root": str(pictures)})
    (pictures / run.data.files[run.data.indices("test")[0]]).unlink()
    page = written(open_run(run.path), tmp_path)
    assert "1 held-out picture can no longer be read" in page.text
    assert page.named("img")


@pytest.mark.parametrize("gone", ["decision", "recipe", "data", "all"])
def test_runs_that_lack_files(tmp_path, gone):
    run = copied_run(tmp_path / "run")
    names = ["inspection", "decision", "events", "request", "versions", "recipe"] if gone == "all" else [gone]
    for name in names:
        getattr(run.folder, name).unlink()
    page = written(run, tmp_path)
    assert f"{100 * run.metrics.top1:.1f} %" in page.text


def test_scores_of_the_first_version(tmp_path):
    """They hold nothing after the confusion matrix."""
    run = copied_run(tmp_path / "run")
    scores = json.loads(run.folder.metrics.read_text("utf-8"))
    old = ("pictures", "top1", "top1_interval", "balanced_accuracy", "log_loss", "expected_calibration_error")
    kept = {key: scores[key] for key in (*old, "class_names", "confusion", "recipe", "seconds", "l2")}
    write_json(run.folder.metrics, kept)
    page = written(open_run(run.path), tmp_path)
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert "confusion" in ids
    assert "classes" not in ids


def test_where_it_goes(tmp_path):
    run = copied_run(tmp_path / "run")
    first = write_report(run)
    assert first == run.path / "report.html"
    first.write_text("old", "utf-8")
    assert write_report(run) == first  # tltool's own, made anew
    assert first.read_text("utf-8").startswith("<!doctype html>")
    mine = tmp_path / "mine.html"
    mine.write_text("mine", "utf-8")
    with pytest.raises(TltoolError, match="exists already"):
        write_report(run, out=mine)
    assert mine.read_text("utf-8") == "mine"


def test_a_run_that_is_not_done(tmp_path):
    run = copied_run(tmp_path / "run")
    run.folder.write_state(state="stopped")
    run.folder.metrics.unlink()
    run.folder.report.unlink()
    with pytest.raises(RunError):
        write_report(run)
    assert not (run.path / "report.html").exists()


def test_the_report_leaves_the_index_alone(tmp_path):
    run = copied_run(tmp_path / "run")
    run.folder.report.unlink()
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    write_report(run)
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {run.path / "report.html"}
    assert {path: after[path] for path in before} == before
    assert load_index(run.folder.data).files == run.data.files
