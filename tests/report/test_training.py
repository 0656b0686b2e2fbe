import json
import shutil

from tests.page import Page
from tests.report.reported import several_run
from tests.trained import finished_run
from tltool.report.evidence import gather
from tltool.report.training import training_section
from tltool.run import open_run
from tltool.training.events import read_events


def test_the_curves_are_those_of_the_events():
    run = several_run()
    epochs = [event for event in read_events(run.folder.events) if event["event"] == "epoch"]
    page = Page(training_section(gather(run)))
    lines = page.named("polyline")
    assert len(lines) >= 3  # the probe's level, training, validation
    assert len(lines[1]["points"].split()) == len(lines[2]["points"].split()) == len(epochs)
    (ring,) = page.of_class("ring")
    best = min(range(len(epochs)), key=lambda place: epochs[place]["score"])
    assert f"{ring['cx']},{ring['cy']}" == lines[2]["points"].split()[best]
    lowest = max(float(point.split(",")[1]) for point in lines[2]["points"].split())
    assert float(ring["cy"]) == lowest or run.tuning.choose_by != "log_loss"


def test_epochs_that_were_done_twice_and_losses_that_are_no_number(tmp_path):
    shutil.copytree(several_run().path, tmp_path / "run")
    run = open_run(tmp_path / "run")
    before = gather(run).epochs
    again = {**before[0], "valid_log_loss": None}
    with run.folder.events.open("a", encoding="utf-8") as file:
        file.write(json.dumps(again) + "\n" + json.dumps({"event": "epoch"}) + "\n{torn")
    after = gather(run).epochs
    assert len(after) == len(before)
    assert after[0]["valid_log_loss"] is None
    points = Page(training_section(gather(run))).named("polyline")[1]["points"].split()
    assert len(points) == len(before) - 1


def test_a_probe_shows_its_ridge():
    run = finished_run()
    page = Page(training_section(gather(run)))
    assert "How strong a ridge" in page.text
    path = next(b["path"] for b in gather(run).inspection["baselines"] if b["recipe"] == "stage-probe")
    (line,) = page.named("polyline")
    assert len(line["points"].split()) == len(path)
