"""Runs side by side: scored on the same pictures, and compared in words."""

import pytest

import tltool as tl
from tests.page import Page
from tests.report.reported import copied_run, evil_run, several_run
from tests.trained import TINY, finished_run
from tltool.errors import RunError, TltoolError
from tltool.evaluation.comparison import compare
from tltool.files import write_json
from tltool.report.answers import answers_of
from tltool.report.side_by_side import put_side_by_side
from tltool.report.side_page import write_side_page
from tltool.run import open_run


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> tl.Run:
    """Another recipe on the same pictures and split."""
    settings = (*TINY, "head.strengths=[30.0]")
    return tl.fit(
        finished_run().data.root, "linear-probe", out=tmp_path_factory.mktemp("other") / "run two", settings=settings
    )


def test_two_runs(other):
    first = finished_run()
    found = put_side_by_side([first, other])
    assert [side.recipe for side in found.sides] == ["stage-probe", "linear-probe"]
    assert [side.name for side in found.sides] == ["run", "run two"]
    assert found.pictures == found.held_out == first.metrics.pictures
    for side, run in zip(found.sides, (first, other), strict=True):
        assert side.metrics.top1 == run.metrics.top1
        assert side.metrics.log_loss == pytest.approx(run.metrics.log_loss, abs=1e-3)
    assert found.differences["name"] == ("stage-probe", "linear-probe")
    assert found.differences["head.taps"] == ("all", "last")
    assert "backbone" not in found.differences
    assert "summary" not in found.differences
    (comparison,) = found.comparisons
    one, two = answers_of(other), answers_of(first)
    best = ("run two", "run") if found.best == 0 else ("run", "run two")
    assert comparison.names == best
    expected = compare(one.prob, two.prob, one.labels, ("run two", "run"))
    assert comparison.pictures == expected.pictures
    assert {comparison.only_first, comparison.only_second} == {expected.only_first, expected.only_second}
    assert comparison.p_value == pytest.approx(expected.p_value)
    assert found.notes == ()
    assert found.verdicts == (str(comparison),)


def test_a_page_of_three(other, tmp_path):
    third = copied_run(tmp_path / "run")  # called as the first one is
    found = put_side_by_side([finished_run(), other, third])
    assert found.sides[0].name == str(finished_run().path)
    assert len(found.comparisons) == 2
    assert "2 comparisons" in found.notes[0]
    out = tmp_path / "page.html"
    write_side_page(found, out)
    page = Page(out.read_text("utf-8"))
    assert all(side.name in page.text for side in found.sides)
    assert all(words in page.text for words in found.verdicts)
    best = found.sides[found.best].name
    assert all(words.startswith(f"{best} and ") for words in found.verdicts)
    assert "No evidence of a difference" in page.text  # of a run and its copy
    assert not {"script", "img", "link"} & {tag for tag, _ in page.tags}
    with pytest.raises(TltoolError, match="exists already"):
        write_side_page(found, out)


def test_pictures_that_another_run_has_learned_from_do_not_count(other, tmp_path):
    run = copied_run(tmp_path / "copy")
    found = answers_of(run)
    write_json(run.folder.seen, [*found.keys[:3]])
    both = put_side_by_side([finished_run(), open_run(run.path)])
    assert both.pictures == both.held_out - 3
    assert "3 pictures are left out" in both.notes[0]


def test_runs_that_cannot_be_compared(tmp_path):
    run = finished_run()
    with pytest.raises(RunError, match="One run alone"):
        put_side_by_side([run])
    with pytest.raises(RunError, match="more than once"):
        put_side_by_side([run, run])
    with pytest.raises(RunError, match="differ in their classes"):
        put_side_by_side([run, evil_run()])
    with pytest.raises(RunError, match="differ in their classes"):
        put_side_by_side([run, several_run()])
    unfinished = copied_run(tmp_path / "unfinished")
    unfinished.folder.write_state(state="stopped")
    unfinished.folder.metrics.unlink()
    with pytest.raises(RunError):
        put_side_by_side([run, unfinished])
    learned = copied_run(tmp_path / "learned")
    write_json(learned.folder.seen, list(answers_of(run).keys))
    with pytest.raises(RunError, match="another one has learned from"):
        put_side_by_side([run, learned])


def test_stages_that_only_one_run_has(tmp_path, other):
    run = copied_run(tmp_path / "copy")
    text = run.folder.recipe.read_text("utf-8").replace("stages = []", "")
    run.folder.recipe.write_text(text + '\n[[stages]]\nname = "top"\nepochs = 3\n', "utf-8")
    differences = put_side_by_side([other, open_run(run.path)]).differences
    assert differences["stages.top.name"] == ("-", "top")
    assert "stages.top.epochs" not in differences


def test_a_run_without_a_recipe_differs_in_none_of_its_keys(tmp_path, other):
    made = copied_run(tmp_path / "made")
    made.folder.recipe.unlink()
    assert put_side_by_side([other, open_run(made.path)]).differences == {}
    three = put_side_by_side([other, open_run(made.path), finished_run()]).differences
    assert three["head.taps"] == ("last", "-", "all")
    assert "backbone" not in three
