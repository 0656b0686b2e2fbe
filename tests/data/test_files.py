"""Which pictures a list of paths stands for, and what is told of the others."""

from pathlib import Path

from tests.pictures import make_picture
from tltool.data.dataset import Problem
from tltool.data.files import picture_files


def test_files_as_named_and_folders_sorted(tmp_path: Path) -> None:
    names = ("z.png", "in/b.png", "in/a/c.png")
    single, b, c = (make_picture(tmp_path / name) for name in names)
    assert picture_files([single, str(tmp_path / "in")]) == ([single, c, b], [])


def test_what_cannot_be_looked_at_is_a_problem_and_the_rest_goes_on(tmp_path: Path) -> None:
    single, long, gone = make_picture(tmp_path / "a.png"), tmp_path / ("a" * 300), tmp_path / "gone.png"
    (tmp_path / "empty").mkdir()
    files, problems = picture_files([long, gone, tmp_path / "empty", single])
    assert files == [single]
    assert problems == [
        Problem(str(long), "cannot be read (File name too long)"),
        Problem(str(gone), "no such file"),
        Problem(str(tmp_path / "empty"), "no pictures in this folder"),
    ]
