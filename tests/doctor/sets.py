"""Data sets for the doctor: scans of no files, and pictures of which no two look alike."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from tltool.data.copies import Copies
from tltool.data.dataset import Dataset, Problem, Row, build
from tltool.data.scan import Scan

NO_COPIES = Copies((), ())


def make_photos(root: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
    """Writes `counts[name]` PNGs into `root / name`, smooth and random as photographs are, and returns `root`."""
    random = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3)).astype(np.uint8))
            coarse.resize((96, 72), Image.Resampling.BICUBIC).save(root / name / f"{name}_{number:04}.png")
    return root


def data_of(*rows: Row, problems: Iterable[Problem] = (), multi_label: bool = False) -> Dataset:
    """A data set of these rows, fit for training or not."""
    return build("photos", Path("photos"), rows, 0, problems, trainable=False, multi_label=multi_label)


def classes(**counts: int) -> list[Row]:
    """Rows of so many pictures a class, "cat/00.jpg" and on, without parts."""
    return [Row(f"{name}/{number:02}.jpg", name) for name, count in counts.items() for number in range(count)]


def scan_of(data: Dataset, changed: Mapping[str, Mapping[str, object]] | None = None) -> Scan:
    """A scan in which every picture is a sound JPEG of 200 x 150, except for what `changed` says, by file and column.

    A key of None makes a file unreadable.
    """
    count = len(data)
    columns: dict[str, list] = {
        "keys": [f"{row:040x}" for row in range(count)],
        "width": [200] * count,
        "height": [150] * count,
        "formats": ["JPEG"] * count,
        "frames": [1] * count,
        "brightness": [120.0] * count,
        "contrast": [50.0] * count,
        "hidden": [""] * count,
    }
    problems = []
    for file, values in (changed or {}).items():
        row = data.files.index(file)
        for name, value in values.items():
            columns[name][row] = value
        if columns["keys"][row] is None:
            problems.append(Problem(file, "damaged picture", "damaged"))
            for name in ("width", "height", "frames", "brightness", "contrast"):
                columns[name][row] = 0
            columns["formats"][row] = ""
    return Scan(
        files=data.files,
        keys=tuple(columns["keys"]),
        problems=tuple(problems),
        width=np.array(columns["width"], np.int32),
        height=np.array(columns["height"], np.int32),
        formats=tuple(columns["formats"]),
        frames=np.array(columns["frames"], np.int32),
        brightness=np.array(columns["brightness"], np.float32),
        contrast=np.array(columns["contrast"], np.float32),
        hidden=tuple(columns["hidden"]),
        thumbnails=np.zeros((count, 32, 32), np.uint8),
    )


def readable(scan: Scan) -> np.ndarray:
    return np.flatnonzero([key is not None for key in scan.keys])


def copies_of(data: Dataset, exact: Iterable[Iterable[str]] = (), near: Iterable[Iterable[str]] = ()) -> Copies:
    """Copies by the names of files; `near` are the groups that are more than exact."""

    def positions(groups: Iterable[Iterable[str]]) -> list[tuple[int, ...]]:
        return [tuple(sorted(data.files.index(file) for file in group)) for group in groups]

    of_exact, of_near = positions(exact), positions(near)
    covered = {i for group in of_near for i in group}
    groups = of_near + [group for group in of_exact if covered.isdisjoint(group)]
    return Copies(tuple(sorted(of_exact)), tuple(sorted(groups)))
