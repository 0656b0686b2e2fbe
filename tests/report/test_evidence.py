import shlex

import pytest

from tests.report.reported import copied_run
from tests.trained import finished_run
from tltool.errors import RunError
from tltool.report.evidence import gather


def test_the_command_repeats_the_run():
    run = finished_run()
    words = shlex.split(gather(run).command)
    assert words[:2] == ["tltool", "fit"]
    assert words[2] == run.data.source
    assert words[words.index("--recipe") + 1] == str(run.folder.recipe)
    assert words[words.index("--seed") + 1] == "0"


def test_what_is_not_there_is_none(tmp_path):
    run = copied_run(tmp_path / "run")
    for file in (run.folder.recipe, run.folder.request, run.folder.versions):
        file.unlink()
    run.folder.inspection.write_text("[1, 2", "utf-8")
    run.folder.decision.write_text("[]", "utf-8")
    found = gather(run)
    assert found.recipe is found.request is found.versions is found.inspection is found.decision is None
    assert found.command is None
    assert found.metrics.pictures == finished_run().metrics.pictures


def test_what_a_search_has_found_is_the_recipe(tmp_path):
    """The report is written before the one takes the place of the other."""
    run = copied_run(tmp_path / "run")
    run.folder.found_recipe.write_text('name = "found"\n', "utf-8")
    assert gather(run).recipe == 'name = "found"\n'


def test_an_ensemble_is_made_again_of_its_members(tmp_path):
    run = copied_run(tmp_path / "run")
    run.folder.recipe.unlink()
    (run.path / "made_of.json").write_text('{"what": "ensemble of 2", "members": ["/a b", "/c"]}', "utf-8")
    assert gather(run).command == "tltool ensemble '/a b' /c"
    (run.path / "made_of.json").write_text('{"what": "soup of 1 of 2", "members": ["/a", "/c"]}', "utf-8")
    assert gather(run).command == "tltool ensemble /a /c --kind soup"


def test_scores_that_cannot_be_read_are_told_of(tmp_path):
    run = copied_run(tmp_path / "run")
    run.folder.metrics.write_text("{", "utf-8")
    with pytest.raises(RunError, match=r"metrics\.json: cannot be read .* Fit again"):
        gather(run)
