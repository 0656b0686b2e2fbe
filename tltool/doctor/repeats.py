"""Pictures that are there more than once: copies, copies under two labels, and copies on both sides of a split."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tltool.data.copies import Copies
from tltool.data.dataset import PARTS, Dataset
from tltool.data.leaks import leaked
from tltool.data.scan import Scan
from tltool.doctor.findings import Finding, counted

LEAK = "leak"  # kind of the problem by which a copied validation picture is left out before training
COPY_OF = "copy of"  # what a detail of an exact copy begins with
# Of the test part. So few near copies move the score by less than a point, and may be look-alikes, as some pairs of
# 28-pixel icons are; exact copies are an error however few.
FEW_LEAKS = 0.01

Group = tuple[int, ...]  # positions of one picture's copies


def check_repeats(data: Dataset, scan: Scan, copies: Copies) -> Iterator[Finding]:
    """Findings on pictures that are there more than once.

    Args:
        data: The data set.
        scan: Row i is picture i of it.
        copies: Found among the scan's rows.
    """
    yield from two_labels(data, copies)
    yield from leaks_of_test(data, scan, copies)
    yield from leaks_of_valid(data, scan, copies)
    yield from parted_groups(data, copies)
    yield from exact_copies(data, copies)
    yield from near_copies(data, scan, copies)


def two_labels(data: Dataset, copies: Copies) -> Iterator[Finding]:
    """One picture, labelled differently: whichever label is right, the other one teaches the opposite."""

    def contradictory(groups: Iterable[Group]) -> list[Group]:
        return [group for group in groups if len({data.labels[i] for i in group}) > 1]

    exact = contradictory(copies.exact)
    if exact:
        rows = _members(exact)
        files = _names(data, rows)
        yield Finding(
            kind="two-labels",
            severity="error",
            message=f"{counted(len(exact), 'picture has', 'pictures have')} copies under different labels.",
            fix="Decide which label is right and remove the other copies. --quarantine leaves out all of them.",
            files=files,
            drop=files,
            details=_labels(data, rows),
            groups=tuple(_names(data, group) for group in exact),
        )
    told = set(_members(exact))
    near = contradictory(tuple(i for i in group if i not in told) for group in copies.groups)
    if near:
        rows = _members(near)
        yield Finding(
            kind="near-two-labels",
            severity="warning",
            message=f"{counted(len(near), 'picture has', 'pictures have')} near copies under different labels.",
            fix="Look at them side by side: if they show the same thing, decide which label is right.",
            files=_names(data, rows),
            details=_labels(data, rows),
            groups=tuple(_names(data, group) for group in near),
        )


def leaks_of_test(data: Dataset, scan: Scan, copies: Copies) -> Iterator[Finding]:
    """Test pictures that are learned from. Only of parts that the source came with: tltool's own split has no leak."""
    rows = [int(i) for i in leaked(data, copies, ("test",), ("train", "valid")) if _is_given(data, i)]
    if rows:
        files = _names(data, rows)
        details = _originals(data, scan, copies, rows, ("train", "valid"))
        total = len(data.indices("test"))
        certain = any(detail.startswith(COPY_OF) for detail in details) or len(rows) > FEW_LEAKS * total
        yield Finding(
            kind="leak",
            severity="error" if certain else "warning",
            message=(
                f"{len(rows):,} of {counted(total, 'test picture')} {'has' if len(rows) == 1 else 'have'} a copy among "
                "what is learned from: the score on them says nothing about new pictures."
            ),
            fix=(
                "Take them out of one of the parts. Until then the score is given with and without them; --quarantine "
                "leaves them out of the test part."
            ),
            files=files,
            drop=files,
            details=details,
            groups=_groups_of(data, copies, rows),
        )


def leaks_of_valid(data: Dataset, scan: Scan, copies: Copies) -> Iterator[Finding]:
    """Validation pictures that are learned from, of parts that the source came with."""
    rows = [int(i) for i in leaked(data, copies, ("valid",), ("train",)) if _is_given(data, i)]
    out = {problem.path: problem.reason for problem in data.problems if problem.kind == LEAK}
    if rows or out:
        files = (*_names(data, rows), *out)
        yield Finding(
            kind="leak-valid",
            severity="warning",
            message=(
                f"{counted(len(files), 'validation picture is a copy', 'validation pictures are copies')} of training "
                "pictures: training would be stopped by what it has learned by heart."
            ),
            fix="Take them out of one of the parts. Training leaves them out by itself, and so does --quarantine.",
            files=files,
            drop=files,
            details=(*_originals(data, scan, copies, rows, ("train",)), *out.values()),
            groups=_groups_of(data, copies, rows),
        )


def parted_groups(data: Dataset, copies: Copies) -> Iterator[Finding]:
    """Groups of the source (patients, videos) on both sides of the split that it came with."""
    # Copies are told of as such.
    told = {*leaked(data, copies, ("test",), ("train", "valid")), *leaked(data, copies, ("valid",), ("train",))}
    members = defaultdict(list)
    for i, group in enumerate(data.groups):
        if group:
            members[group].append(i)
    for held_out, learned, severity in (("test", ("train", "valid"), "error"), ("valid", ("train",), "warning")):
        rows, names = [], []
        for name, group in sorted(members.items()):
            inside = [i for i in group if data.parts[i] == held_out and _is_given(data, i) and i not in told]
            if inside and any(data.parts[i] in learned for i in group):
                rows += inside
                names.append(name)
        if rows:
            files = _names(data, rows)
            yield Finding(
                kind="group-leak" if held_out == "test" else "group-leak-valid",
                severity=severity,
                message=(
                    f"{counted(len(names), 'group has', 'groups have')} pictures both in the {held_out} part and in "
                    f"what is learned from: {counted(len(rows), f'{held_out} picture')}."
                ),
                fix="Move each group to one side, or let tltool split. --quarantine leaves these pictures out.",
                files=files,
                drop=files,
                details=tuple(f"of group '{data.groups[i]}'" for i in rows),
            )


def exact_copies(data: Dataset, copies: Copies) -> Iterator[Finding]:
    """The same file several times."""
    if copies.exact:
        # What is learned from is kept: of a copy in the test part the score says nothing.
        kept = [min(group, key=lambda i: (PARTS.index(data.given[i] or "train"), i)) for group in copies.exact]
        rows = _members(copies.exact)
        surplus = len(rows) - len(kept)
        yield Finding(
            kind="exact-copies",
            severity="warning",
            message=(
                f"{counted(surplus, 'file is a copy', 'files are copies')} of another, byte for byte: "
                f"{counted(len(rows), 'file')} hold {counted(len(kept), 'picture')}."
            ),
            fix="They count several times in training. --quarantine keeps one of each.",
            files=_names(data, rows),
            drop=_names(data, sorted(set(rows) - set(kept))),
            groups=tuple(_names(data, group) for group in copies.exact),
        )


def near_copies(data: Dataset, scan: Scan, copies: Copies) -> Iterator[Finding]:
    """The same picture saved anew, resized or mirrored, or frames that hardly differ."""
    near = [group for group in copies.groups if len({scan.keys[i] for i in group}) > 1]
    if near:
        rows = _members(near)
        yield Finding(
            kind="near-copies",
            severity="note",
            message=(
                f"{counted(len(rows), 'picture')} are near copies of each other (saved anew, resized, mirrored, or "
                f"frames that hardly differ): they are {counted(len(near), 'picture')} in all."
            ),
            fix="tltool's split keeps them on one side. There is less variety in them than their number promises.",
            files=_names(data, rows),
            groups=tuple(_names(data, group) for group in near),
        )


def _is_given(data: Dataset, row: int) -> bool:
    """Whether the source itself holds this picture out; tltool takes validation pictures from a given train part."""
    return data.given[row] not in (None, "train")


def _originals(
    data: Dataset, scan: Scan, copies: Copies, rows: Sequence[int], learned: Sequence[str]
) -> tuple[str, ...]:
    """Of each row in words which picture of the `learned` parts it is a copy of."""
    group_of = {i: group for group in copies.groups for i in group}
    details = []
    for row in rows:
        others = [i for i in group_of[row] if data.parts[i] in learned]
        same = [i for i in others if scan.keys[i] == scan.keys[row]]
        details.append(f"{COPY_OF} {data.files[same[0]]}" if same else f"near copy of {data.files[others[0]]}")
    return tuple(details)


def _groups_of(data: Dataset, copies: Copies, rows: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    wanted = set(rows)
    return tuple(_names(data, group) for group in copies.groups if not wanted.isdisjoint(group))


def _members(groups: Iterable[Group]) -> list[int]:
    return sorted(i for group in groups for i in group)


def _names(data: Dataset, rows: Iterable[int]) -> tuple[str, ...]:
    return tuple(data.files[i] for i in rows)


def _labels(data: Dataset, rows: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"labelled {' and '.join(data.label_names(i))}" for i in rows)
