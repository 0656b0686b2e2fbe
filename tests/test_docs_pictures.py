"""The pictures of the docs are those that their script draws, and the table of steps is that of the code."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_table_of_steps_is_the_code_s(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    table = list(runpy.run_path(str(DOCS / "draw_pictures.py"))["step_table"]())
    assert "\n".join(table) in (DOCS / "augmentation.md").read_text("utf-8")


def test_every_picture_that_is_shown_is_there_and_drawn(tmp_path):
    subprocess.run([sys.executable, str(DOCS / "draw_pictures.py"), str(tmp_path)], check=True, capture_output=True)
    drawn = {path.name for path in tmp_path.iterdir()}
    shown = set()
    for name in ("augmentation.md", "regularization.md"):
        shown |= set(re.findall(r"\]\(images/([\w.-]+)\)", (DOCS / name).read_text("utf-8")))
    assert shown <= drawn
    assert all((DOCS / "images" / name).is_file() for name in drawn)
