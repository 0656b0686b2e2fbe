"""What is odd about pictures as pictures: too small, too large, too long, blank or dark."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tltool.data.dataset import Dataset
from tltool.data.listing import shortened
from tltool.data.scan import Scan
from tltool.doctor.extent import reach
from tltool.doctor.findings import Finding, Severity, counted

TINY_SIDE = 32  # pixels of the shorter side; a network that looks at 224 sees each of them sevenfold
HUGE_PIXELS = 50_000_000  # width x height; 150 MB once decoded, of which a network sees a thousandth
# Longer over shorter side. Squeezed to a square, what is in such a picture is four times too thin; the longest among
# the sets of benchmarks/doctor.py has 3.4, banners and strips begin at 5.
LONG_SIDES = 4.0
# Standard deviation of grey levels, of 255. A scanned white page has 1 to 2; the flattest picture of the sets of
# benchmarks/doctor.py, a meadow from above, has 4.5.
BLANK_CONTRAST = 3.0
# Grey level, of 255, that hardly anything in a dark picture exceeds: its mean and two standard deviations. The darkest
# of the sets of benchmarks/doctor.py, a sunrise, has 47; white strokes on black, whose mean is 6, have 58.
DARK_LEVEL = 32.0
DARK_DEVIATIONS = 2


@dataclass(frozen=True)
class Check:
    """One question to every picture.

    Attributes:
        kind: Of the finding.
        severity: Where it is true of a few pictures; of whole classes or sets it is a note.
        found: From a scan to the pictures of which it is true, shape (N,), bool.
        what: "3 pictures are ..."
        fix: What to do about a few.
        nature: What it means where the whole set or a whole class is so.
        detail: What to say of one picture, by its row in the scan.
        drops: Whether `--quarantine` leaves those few out.
    """

    kind: str
    severity: Severity
    found: Callable[[Scan], np.ndarray]
    what: str
    fix: str
    nature: str
    detail: Callable[[Scan, int], str]
    drops: bool = False


def is_tiny(scan: Scan) -> np.ndarray:
    return np.minimum(scan.width, scan.height) < TINY_SIDE


def is_huge(scan: Scan) -> np.ndarray:
    return scan.width.astype(np.int64) * scan.height > HUGE_PIXELS


def is_long(scan: Scan) -> np.ndarray:
    sides = np.maximum(scan.width, scan.height), np.minimum(scan.width, scan.height)
    return sides[0] > LONG_SIDES * sides[1]


def is_blank(scan: Scan) -> np.ndarray:
    return scan.contrast < BLANK_CONTRAST


def is_dark(scan: Scan) -> np.ndarray:
    """Those too dark to show anything, and not blank as well."""
    return (scan.brightness + DARK_DEVIATIONS * scan.contrast < DARK_LEVEL) & ~is_blank(scan)


def _size(scan: Scan, row: int) -> str:
    return f"{scan.width[row]} x {scan.height[row]}"


def _levels(scan: Scan, row: int) -> str:
    return f"mean grey level {scan.brightness[row]:.0f} of 255, standard deviation {scan.contrast[row]:.1f}"


LEAVES_OUT = "--quarantine leaves them out."
CHECKS = (
    Check(
        kind="blank",
        severity="warning",
        found=is_blank,
        what="nearly blank: one colour all over",
        fix=f"Look at them: nothing can be learned from an empty picture. {LEAVES_OUT}",
        nature="Look whether they were read as they should be.",
        detail=_levels,
        drops=True,
    ),
    Check(
        kind="dark",
        severity="warning",
        found=is_dark,
        what="nearly black",
        fix=f"Look at them: hardly anything can be seen. {LEAVES_OUT}",
        nature="If it is not how pictures will look in use, expose them anew or brighten them.",
        detail=_levels,
        drops=True,
    ),
    Check(
        kind="tiny",
        severity="note",
        found=is_tiny,
        what=f"smaller than {TINY_SIDE} pixels on a side",
        fix="If these are thumbnails, take the originals: they are magnified to the size that the network takes.",
        nature="They are magnified to the size that the network takes: a smaller image_size is faster.",
        detail=_size,
    ),
    Check(
        kind="huge",
        severity="note",
        found=is_huge,
        what=f"larger than {HUGE_PIXELS // 1_000_000} megapixels",
        fix="Shrink them if reading is slow: a network sees a thousandth of their pixels.",
        nature="Shrink them if reading is slow: a network sees a thousandth of their pixels.",
        detail=_size,
    ),
    Check(
        kind="long",
        severity="note",
        found=is_long,
        what=f"more than {LONG_SIDES:.0f} times as long as wide, or as wide as long",
        fix="Crop them to what matters: a network takes squares.",
        nature="A network takes squares: choose in the recipe whether to squeeze, crop or pad them.",
        detail=_size,
    ),
)


def check_pictures(data: Dataset, scan: Scan, readable: np.ndarray) -> Iterator[Finding]:
    """Findings on what pictures look like.

    Args:
        data: The data set.
        scan: Row i is picture i of it.
        readable: Positions of the pictures that can be read, shape (n,).
    """
    for check in CHECKS:
        found = readable[check.found(scan)[readable]]
        if len(found):
            yield from _findings(check, data, scan, readable, found)


def _findings(check: Check, data: Dataset, scan: Scan, readable: np.ndarray, found: np.ndarray) -> Iterator[Finding]:
    extent = reach(data, readable, found)
    if extent.whole_set:
        number = f"{extent.concerned:,} of {counted(extent.total, 'picture')}"
        message = f"{number} are {check.what}; that is how this set is."
        yield Finding(check.kind, "note", message, check.nature)
    if extent.classes:
        message = f"In these classes most pictures are {check.what}: {shortened(extent.classes)}."
        yield Finding(check.kind, "note", message, check.nature)
    if len(extent.rows):
        files = tuple(data.files[i] for i in extent.rows)
        yield Finding(
            kind=check.kind,
            severity=check.severity,
            message=f"{counted(len(files), 'picture is', 'pictures are')} {check.what}.",
            fix=check.fix,
            files=files,
            drop=files if check.drops else (),
            details=tuple(check.detail(scan, i) for i in extent.rows),
        )
