import pytest
from typer.testing import CliRunner

from tests.report.reported import copied_run
from tests.trained import finished_run
from tltool.cli import app
from tltool.errors import RunError, TltoolError


def run(*arguments: str):
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    if isinstance(result.exception, TltoolError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_a_report_by_command(tmp_path):
    copy = copied_run(tmp_path / "run")
    assert run(copy.path).stdout == f"{copy.path / 'report.html'}\n"
    assert (copy.path / "report.html").read_text("utf-8").startswith("<!doctype html>")
    out = tmp_path / "other.html"
    assert run(copy.path, "--out", out).stdout == f"{out}\n"
    assert out.exists()


def test_what_cannot_be_done(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        run(tmp_path)
    taken = tmp_path / "mine.html"
    taken.write_text("mine", "utf-8")
    with pytest.raises(TltoolError, match="another --out"):
        run(finished_run().path, "--out", taken)
    with pytest.raises(TltoolError, match="there is no folder"):
        run(finished_run().path, "--out", tmp_path / "none" / "report.html")
    assert taken.read_text("utf-8") == "mine"
