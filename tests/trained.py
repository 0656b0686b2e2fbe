"""A finished run that tests may read and must not change: training it once keeps the whole suite fast."""

import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import tltool as tl
from tests.pictures import make_class_folders

CLASSES = ("ant", "bee", "cat")
TINY = ("backbone=tiny_random", "head.folds=2", "head.shuffles=1")
_keep: list[tempfile.TemporaryDirectory] = []


@cache
def finished_run() -> tl.Run:
    """A stage probe on the tiny backbone; its pictures lie in `run.data.root`."""
    _keep.append(tempfile.TemporaryDirectory(prefix="tltool-tests-"))
    folder = Path(_keep[-1].name)
    pictures = make_class_folders(folder / "pictures", dict.fromkeys(CLASSES, 14), size=48)
    return tl.fit(pictures, "stage-probe", out=folder / "run", settings=TINY)


def copy_pictures(folder: Path, numbers: range, classes: Iterable[str] = CLASSES) -> Path:
    """Copies some of the run's 14 pictures a class: their features are in the cache already, which saves seconds."""
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in numbers:
            shutil.copy(finished_run().data.root / name / f"{name}_{number:04}.png", folder / name)
    return folder
