import json

import pytest
from typer.testing import CliRunner

from tests.report.reported import copied_run
from tests.trained import finished_run
from tltool.cli import app
from tltool.errors import RunError, TltoolError


def run(*arguments: str):
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    if isinstance(result.exception, TltoolError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_a_run_and_its_copy(tmp_path):
    copy = copied_run(tmp_path / "copy")
    page = tmp_path / "page.html"
    shown = run(finished_run().path, copy.path, "--html", page)
    assert "No evidence of a difference in accuracy: copy and run" in shown.stdout.replace("\n", " ")
    assert "stage-probe" in shown.stdout
    assert str(page) in shown.stderr.replace("\n", "")
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_json_prints_one_object(tmp_path):
    copy = copied_run(tmp_path / "copy")
    found = json.loads(run(finished_run().path, copy.path, "--json").stdout)
    assert [each["name"] for each in found["runs"]] == ["run", "copy"]
    assert found["best"] == "run"  # of equals the first
    assert found["pictures"] == finished_run().metrics.pictures
    assert found["differences"] == {}
    assert found["comparisons"][0]["p_value"] == 1
    assert "No evidence" in found["comparisons"][0]["in_words"]


def test_what_cannot_be_done(tmp_path):
    with pytest.raises(RunError, match="One run alone"):
        run(finished_run().path)
    with pytest.raises(RunError, match="not a run folder"):
        run(finished_run().path, tmp_path)
    taken = tmp_path / "mine.html"
    taken.write_text("mine", "utf-8")
    with pytest.raises(TltoolError, match="another --html"):
        run(finished_run().path, finished_run().path, "--html", taken)
    assert taken.read_text("utf-8") == "mine"
