"""The README's commands and snippets, run as they stand, in order, in one folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import make_class_folders

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
MARK = "<!-- executed by tests/test_readme.py -->"
BLOCKS = re.findall(re.escape(MARK) + r"\n```(bash|python)\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    make_class_folders(folder / "photos", {"cat": 12, "dog": 12, "owl": 12})
    make_class_folders(folder / "more-photos", {"cat": 3, "dog": 2}, seed=1)
    shutil.make_archive(str(folder / "photos"), "zip", folder, "photos")
    shutil.copyfile(next((folder / "photos" / "cat").iterdir()), folder / "new.jpg")
    return folder


def run(command: list[str], folder: Path) -> str:
    # The console script of this very environment, whether or not its folder is on the path.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_block_is_found() -> None:
    assert [kind for kind, _ in BLOCKS] == ["bash", "bash", "python", "python"]


def test_blocks_run_in_order(folder: Path) -> None:
    outputs = []
    for kind, text in BLOCKS:
        if kind == "bash":
            for line in text.splitlines():
                outputs.append(run(["bash", "-c", line], folder))
        else:
            outputs.append(run([sys.executable, "-c", text], folder))
    assert (folder / "new.csv").read_text("utf-8").startswith("path,label,confidence,prob:cat,prob:dog,prob:owl\n")
    table, plain_keras = outputs[-2:]
    assert "little, " in table
    # tltool and plain Keras name the same class for the same picture, and it is the right one.
    assert table.splitlines()[-1] == plain_keras.strip() == "cat"


def test_no_figure_is_still_to_be_filled_in() -> None:
    assert re.findall(r"^(?:.*: )?[A-Z]{5,}$", README, flags=re.MULTILINE) == []


def test_the_test_command_is_what_ci_runs() -> None:
    ci = (Path(__file__).parents[1] / ".ci" / "run").read_text("utf-8")
    assert "make test " in README
    assert "make test" in ci
