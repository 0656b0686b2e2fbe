import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.pictures import make_class_folders
from tltool.augment.policies import POLICIES, read_policy
from tltool.augment.steps import STEPS
from tltool.cli import app
from tltool.errors import TltoolError

TINY = ["--set", "backbone=tiny_random"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(make_class_folders(tmp_path / "photos", {"ant": 8, "bee": 8}))


def run(*arguments: str):
    result = CliRunner().invoke(app, ["augment", *arguments])
    if isinstance(result.exception, TltoolError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_all_policies_and_steps_are_listed():
    output = run().stdout
    assert all(name in output for name in (*POLICIES, *STEPS))
    listed = json.loads(run("--json").stdout)
    assert listed["policies"].keys() == POLICIES.keys()
    assert listed["steps"]["rotate"]["degrees"][:2] == [0, 180]


def test_a_policy_is_shown_as_a_table_for_a_recipe():
    import tomllib

    table = tomllib.loads(run("show", "photographs").stdout)["augmentation"]
    assert read_policy(table).digest == read_policy("photographs").digest


def test_a_preview_by_policy_has_the_original_first(photos, tmp_path):
    result = run("preview", photos, "--policy", "aerial-and-microscopy", "--rows", "3", "--draws", "4", *TINY)
    assert result.stdout.strip() == "augmentation.png"
    page = np.asarray(Image.open(tmp_path / "augmentation.png"))
    size, gap, heading = 32, 4, 16
    assert page.shape == (heading + 3 * (size + gap) - gap, 5 * (size + gap) - gap, 3)
    # Two classes in turn, and the first column as the model would be given them.
    from tltool.data.decoding import Framing, decode, prepare

    first = prepare(decode(sorted((tmp_path / "photos" / "ant").iterdir())[0]), Framing(size))
    columns = [page[heading : heading + size, c * (size + gap) : c * (size + gap) + size] for c in range(5)]
    candidates = [prepare(decode(path), Framing(size)) for path in (tmp_path / "photos" / "ant").iterdir()]
    assert first.shape == columns[0].shape
    assert any(np.array_equal(columns[0], each) for each in candidates)
    assert len({column.tobytes() for column in columns}) == 5


def test_a_preview_of_a_recipe_and_of_what_is_decided(photos):
    result = run("preview", photos, "--recipe", "finetune-top", "--out", "mine.png", *TINY)
    assert "Augmentation " in result.stderr
    result = run("preview", photos, "--out", "decided.png", "--rows", "2", "--draws", "1", *TINY)
    assert "Policy: " in result.stderr
    result = run(
        *("preview", photos, "--recipe", "finetune-top", "--out", "own.png", *TINY),
        *("--set", "stages.top.augmentation={rotate=5}"),
    )
    assert "Policy: custom" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "photograph"], "no policy 'photograph'. Did you mean `photographs`"),
        (["--out", "grid.gif"], r"--out grid.gif: a picture ends in .png"),
        (["--out", "nowhere/grid.png"], "there is no folder nowhere"),
        (["--out", "photos/ant/x.png", "--recipe", "finetune-tip"], "No recipe is called 'finetune-tip'"),
    ],
)
def test_mistakes_are_told(photos, arguments, message):
    with pytest.raises(TltoolError, match=message):
        run("preview", photos, *arguments)


def test_nothing_is_overwritten(photos, tmp_path):
    (tmp_path / "augmentation.png").write_text("mine")
    with pytest.raises(TltoolError, match="exists already"):
        run("preview", photos)
    assert (tmp_path / "augmentation.png").read_text() == "mine"
