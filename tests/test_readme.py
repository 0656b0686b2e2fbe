"""The commands and snippets of the README and of docs, run as they stand, in order, in one folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pictures import make_class_folders

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
MARK = "<!-- executed by tests/test_readme.py -->"


def blocks(text: str) -> list[tuple[str, str]]:
    """Kind and content of the snippets that are to be run."""
    return re.findall(re.escape(MARK) + r"\n```(bash|python)\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    make_class_folders(folder / "photos", {"cat": 12, "dog": 12, "owl": 12})
    make_class_folders(folder / "more-photos", {"cat": 3, "dog": 2}, seed=1)
    shutil.make_archive(str(folder / "photos"), "zip", folder, "photos")
    make_class_folders(folder / "scans", {"a": 1, "b": 1, "c": 1, "d": 1})
    for name in "abcd":
        shutil.move(folder / "scans" / name / f"{name}_0000.png", folder / "scans" / f"{name}.png")
        (folder / "scans" / name).rmdir()
    shutil.copyfile(next((folder / "photos" / "cat").iterdir()), folder / "new.jpg")
    return folder


def run(command: list[str], folder: Path) -> str:
    # The console script of this very environment, whether or not its folder is on the path.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_all(text: str, folder: Path) -> list[str]:
    """What each command and snippet prints."""
    outputs = []
    for kind, block in blocks(text):
        if kind == "bash":
            outputs += [run(["bash", "-c", line], folder) for line in block.splitlines()]
        else:
            outputs.append(run([sys.executable, "-c", block], folder))
    return outputs


def test_every_block_is_found() -> None:
    assert [kind for kind, _ in blocks(README)] == ["bash", "bash", "python", "python", "bash"]
    assert DOCS
    assert all(blocks(path.read_text("utf-8")) for path in DOCS)


def test_blocks_run_in_order(folder: Path) -> None:
    outputs = run_all(README, folder)
    assert (folder / "new.csv").read_text("utf-8").startswith("path,label,confidence,prob:cat,prob:dog,prob:owl\n")
    table, plain_keras = outputs[-3:-1]
    assert (folder / "augmented.png").is_file()
    assert "little, " in table
    # tltool and plain Keras name the same class for the same picture, and it is the right one.
    assert table.splitlines()[-1] == plain_keras.strip() == "cat"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.stem)
def test_blocks_of_the_docs_run_in_order(folder: Path, path: Path) -> None:
    assert run_all(path.read_text("utf-8"), folder)


def test_no_figure_is_still_to_be_filled_in() -> None:
    assert re.findall(r"^(?:.*: )?[A-Z]{5,}$", README, flags=re.MULTILINE) == []


def test_the_test_command_is_what_ci_runs() -> None:
    ci = (Path(__file__).parents[1] / ".ci" / "run").read_text("utf-8")
    assert "make test " in README
    assert "make test" in ci
