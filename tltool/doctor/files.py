"""What is wrong with files as files: unreadable, misnamed, more than one picture, or something else besides."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

import numpy as np

from tltool.data.dataset import Problem
from tltool.data.formats import FORMATS
from tltool.data.scan import Scan
from tltool.doctor.extent import is_most
from tltool.doctor.findings import Finding, counted

LEFT_OUT = "tltool leaves them out by itself"
MOST_DO = "; so do most of this set"  # then their names are not listed
AGAIN = f"Copy or download them again; {LEFT_OUT}."

# Kind of a problem -> what one and what several of this kind are, and what to do. Kinds that are missing here, which
# sources may give, are told of in the words of their problems.
PROBLEMS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "empty": ("file is empty (0 bytes)", "files are empty (0 bytes)", AGAIN),
        "truncated": (
            "file is cut short: the end of the picture is missing",
            "files are cut short: the end of the picture is missing",
            AGAIN,
        ),
        "damaged": ("picture is damaged", "pictures are damaged", AGAIN),
        "not-a-picture": (
            "file among the pictures is none",
            "files among the pictures are none",
            f"Take them out, or save them as JPEG or PNG; {LEFT_OUT}.",
        ),
        "too-large": (
            "file has more pixels than are decoded: such files can be made to fill a computer's memory",
            "files have more pixels than are decoded: such files can be made to fill a computer's memory",
            f"If they are pictures of yours, shrink them; {LEFT_OUT}.",
        ),
        "unreadable": ("file cannot be read", "files cannot be read", f"The reasons say what to do; {LEFT_OUT}."),
        "missing-file": (
            "file is named and not there",
            "files are named and not there",
            f"Add them, or correct their names; {LEFT_OUT}.",
        ),
        "outside": (
            "row of the table leads out of its folder",
            "rows of the table lead out of its folder",
            f"Put the pictures below the table; {LEFT_OUT}.",
        ),
        "empty-label": ("row has no label", "rows have no label", f"Add the labels; {LEFT_OUT}."),
        "conflicting-row": (
            "row gives a picture another label than another row",
            "rows give pictures other labels than other rows",
            f"Decide which label is right; {LEFT_OUT}.",
        ),
        "duplicate-row": (
            "row gives a picture another part or group than an earlier row",
            "rows give pictures other parts or groups than earlier rows",
            "Decide which is right; the first one counts.",
        ),
        "bad-row": ("row cannot be read", "rows cannot be read", f"Correct them; {LEFT_OUT}."),
    }
)

# Pillow's names of kinds that share their endings with another one.
SAME_ENDINGS: Mapping[str, str] = MappingProxyType({"MPO": "JPEG", "DIB": "BMP"})
FORMAT_OF_ENDING: Mapping[str, str] = MappingProxyType(
    {ending: SAME_ENDINGS.get(name, name) for name, endings in FORMATS.items() for ending in endings}
)
# Its further pictures are depth maps, or the same moment in another size: nobody takes it for an animation.
STILL = frozenset(("MPO",))


def check_files(problems: Iterable[Problem], scan: Scan) -> Iterator[Finding]:
    """Findings on files.

    Args:
        problems: What could not be read.
        scan: Of the data set; its unreadable files are passed over.
    """
    yield from unreadable_files(problems)
    yield from wrong_extensions(scan)
    yield from animations(scan)
    yield from hidden_contents(scan)


def unreadable_files(problems: Iterable[Problem]) -> Iterator[Finding]:
    """One finding a kind of problem."""
    by_kind: dict[str, dict[str, str]] = defaultdict(dict)
    for problem in problems:
        by_kind[problem.kind].setdefault(problem.path, problem.reason)
    # Known kinds first, in the order of the table.
    for kind in sorted(by_kind, key=lambda kind: ([*PROBLEMS, kind].index(kind), kind)):
        reasons = dict(sorted(by_kind[kind].items()))
        other = (f"file is of no use ({kind})", f"files are of no use ({kind})", f"The reasons say why; {LEFT_OUT}.")
        one, many, fix = PROBLEMS.get(kind, other)
        yield Finding(
            kind=kind,
            severity="warning",
            message=f"{counted(len(reasons), one, many)}.",
            fix=fix,
            files=tuple(reasons),
            drop=tuple(reasons),
            details=tuple(reasons.values()),
        )


def wrong_extensions(scan: Scan) -> Iterator[Finding]:
    """Files whose name promises another format than they hold."""
    wrong = {}
    for file, name in zip(scan.files, scan.formats, strict=True):
        ending = PurePosixPath(file).suffix.lower()
        promised = FORMAT_OF_ENDING.get(ending)
        held = SAME_ENDINGS.get(name, name)
        if name and promised and promised != held:
            wrong[file] = f"holds {held}"
    if wrong:
        named = {} if is_most(len(wrong), sum(map(bool, scan.formats))) else wrong
        number = counted(len(wrong), "file holds", "files hold")
        yield Finding(
            kind="wrong-extension",
            severity="note",
            message=f"{number} another format than the ending of the name says{'' if named else MOST_DO}.",
            fix="tltool goes by the content, so nothing has to be done; other programs may refuse them until renamed.",
            files=tuple(named),
            details=tuple(named.values()),
        )


def animations(scan: Scan) -> Iterator[Finding]:
    """Files of several frames or pages."""
    rows = [i for i in np.flatnonzero(scan.frames > 1) if scan.formats[i] not in STILL]
    if rows:
        named = [] if is_most(len(rows), sum(map(bool, scan.formats))) else rows
        number = counted(len(rows), "file holds", "files hold")
        yield Finding(
            kind="animated",
            severity="note",
            message=f"{number} several frames or pages, of which the first is used{'' if named else MOST_DO}.",
            fix="If the others matter, save each as a picture of its own.",
            files=tuple(scan.files[i] for i in named),
            details=tuple(scan.formats[i] for i in named),
        )


def hidden_contents(scan: Scan) -> Iterator[Finding]:
    """Pictures that another program would take for something else."""
    rows = [i for i, what in enumerate(scan.hidden) if what]
    if rows:
        yield Finding(
            kind="hidden-content",
            severity="warning",
            message=(
                f"{counted(len(rows), 'picture is', 'pictures are')} something else at the same time. Pixels are all "
                "that tltool takes from them, but who passes them on passes on the rest as well."
            ),
            fix="Save them anew as pictures, which drops what is hidden; --quarantine leaves them out.",
            files=tuple(scan.files[i] for i in rows),
            drop=tuple(scan.files[i] for i in rows),
            details=tuple(f"also {scan.hidden[i]}" for i in rows),
        )
