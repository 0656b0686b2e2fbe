"""`tltool ensemble` and `tl.ensemble`: which stream, which numbers, what is refused, and in which words."""

import json

import pytest
from typer.testing import CliRunner

import tltool as tl
from tests.trained import TINY, finished_run
from tltool.cli import app
from tltool.errors import RunError, TltoolError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, pictures = tmp_path_factory.mktemp("members"), finished_run().data.root
    settings = (*TINY, "head.strengths=[1.0]")
    return [finished_run().path, tl.fit(pictures, "linear-probe", out=folder / "last", settings=settings).path]


def call(*arguments):
    return CliRunner().invoke(app, ["ensemble", *map(str, arguments)])


def test_the_table_goes_to_standard_output(runs, tmp_path):
    result = call(*runs, "--out", tmp_path / "both")
    assert result.exit_code == 0, result.output
    made = tl.open_run(tmp_path / "both")
    for text in (f"Run: {tmp_path / 'both'}", "ensemble of 2", "last", f"{made.metrics.top1:.1%}", "most uncertain"):
        assert text in result.stdout
    assert "No temperature: 33 pictures to calibrate on, and it takes 50." in result.stdout
    assert "Starting Keras" in result.stderr


def test_json_is_one_object_and_nothing_else(runs, tmp_path):
    result = call(*runs, "--out", tmp_path / "both", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    made = tl.open_run(answer["run"])
    assert [price["name"] for price in answer["members"]] == ["run", "last"]
    assert answer["whole"]["accuracy"] == made.metrics.top1
    most = answer["diversity"]["most_uncertain"]
    assert [one["entropy"] for one in most] == sorted((one["entropy"] for one in most), reverse=True)
    held_out = {made.data.files[row] for row in made.data.indices("test")}
    assert {one["file"] for one in most} <= held_out


def test_python_takes_folders_and_runs(runs, tmp_path):
    made = tl.ensemble([runs[0], tl.open_run(runs[1])], out=tmp_path / "both")
    assert made.run.metrics.top1 == made.whole.accuracy
    with pytest.raises(TltoolError, match="put together as 'average' or 'soup'"):
        tl.ensemble(runs, kind="stew", out=tmp_path / "stew")
    with pytest.raises(RunError, match="nowhere: not a run folder"):
        tl.ensemble([runs[0], tmp_path / "nowhere"])


def test_mistakes_are_told(runs, tmp_path):
    for arguments, message in (
        ((runs[0],), "two or more"),
        ((runs[0], runs[0]), "given more than once"),
        ((*runs, "--kind", "soup"), "is a probe"),
    ):
        result = call(*arguments, "--out", tmp_path / "out")
        assert isinstance(result.exception, TltoolError)
        assert message in str(result.exception)
        assert not (tmp_path / "out").exists()
    assert call(*runs, "--kind", "stew").exit_code == 2
