"""Runs that reports are written of, made once: tests must not change them."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import tltool as tl
from tests.pictures import make_class_folders
from tests.test_data_in import FINE, make_several
from tests.trained import TINY, finished_run
from tltool.run import Run, open_run

_keep: list[tempfile.TemporaryDirectory] = []

EVIL = "<script>alert(1)<"  # a name may hold all of it but the slash
QUOTED = "\"><img src=x onerror='alert(2)'>&amp;"


def new_folder() -> Path:
    _keep.append(tempfile.TemporaryDirectory(prefix="tltool-tests-"))
    return Path(_keep[-1].name)


@cache
def evil_run() -> Run:
    """A run whose folder, data set, classes and files try to break out of a page."""
    folder = new_folder()
    pictures = make_class_folders(folder / f"photos {EVIL}", {EVIL: 12, QUOTED: 12}, size=48)
    return tl.fit(pictures, "linear-probe", out=folder / f"run {EVIL}", settings=TINY)


@cache
def several_run() -> Run:
    """A fine-tuned run whose pictures have several labels."""
    folder = new_folder()
    return tl.fit(make_several(folder / "patches", 60), "finetune-top", out=folder / "run", settings=FINE)


def copied_run(out: Path) -> Run:
    """A copy of a finished run that a test may spoil."""
    shutil.copytree(finished_run().path, out)
    return open_run(out)
