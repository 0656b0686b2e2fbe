"""Looks at every file of a data set once, and splits the set so that copies of a picture stay on one side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tltool.data.copies import Copies, find_copies
from tltool.data.dataset import Dataset, Problem, check
from tltool.data.decoding import Framing
from tltool.data.leaks import leaked, parted_from_group
from tltool.data.scan import Scan, scan
from tltool.progress import Report, silent

NAMES_SHOWN = 10  # of a list in a note


@dataclass(frozen=True, eq=False)
class Checkup:
    """A data set that has been looked at. Row i of each is picture i of `data`.

    Attributes:
        data: Without the files that cannot be read; copies of a picture are in one part, as far as the source left
            the choice.
        scan: What its files hold.
        copies: Which of its pictures are the same one.
        leaks: Positions of held-out pictures of which a copy, or another one of its group, is learned from, shape
            (n,), sorted. There are some only where the source came with parts of its own, or where a class is hardly
            more than copies of one picture.
    """

    data: Dataset
    scan: Scan
    copies: Copies
    leaks: np.ndarray


def check_up(
    data: Dataset, framing: Framing | None = None, report: Report = silent, *, trainable: bool = True
) -> Checkup:
    """Reads every file, leaves out what cannot be read, finds copies and splits anew where that parts them.

    Args:
        data: As its source was indexed.
        framing: For which the pixels are kept on the way, for those who read the pictures next; None to keep none.
        report: Told how many files are done.
        trainable: Whether what is left must be fit to train on.

    Raises:
        DataError: if too little is left.
    """
    seen = scan(data.root, data.files, framing, report)
    data, seen = _leave_out(data, seen, seen.problems, trainable)
    copies = find_copies(seen.keys, seen.thumbnails)
    if trainable and {"valid", "test"} <= set(data.given):  # without a test part, valid is what the score is from
        # They would stop fine-tuning late and favour it over its probe: it has seen them.
        learned = leaked(data, copies, ("valid",), ("train",))
        reason = "a copy of a training picture, so it validates nothing"
        if len(learned) and len(learned) < len(data.indices("valid")):
            data, seen = _leave_out(data, seen, [Problem(data.files[i], reason, "leak") for i in learned], trainable)
            copies = find_copies(seen.keys, seen.thumbnails)
    data = _keep_together(data, copies)
    if trainable:
        check(data)
    leaks = np.union1d(leaked(data, copies), parted_from_group(data))
    return Checkup(data, seen, copies, leaks)


def _leave_out(data: Dataset, seen: Scan, problems: Sequence[Problem], trainable: bool) -> tuple[Dataset, Scan]:
    if not problems:
        return data, seen
    rest = data.without(problems, trainable=trainable)
    row = {file: index for index, file in enumerate(data.files)}
    return rest, seen.take(np.array([row[file] for file in rest.files], dtype=np.int64))


def _keep_together(data: Dataset, copies: Copies) -> Dataset:
    """The set split anew; a class that near copies would leave without held-out pictures is split all the same.

    Frames of one video may all be near copies. To refuse them would help nobody; to keep silent would be worse.
    """
    together = data.keeping_together(copies.groups)
    lost = _unscored(together) - _unscored(data)
    if not lost:
        return together
    near = [group for group in copies.groups if not lost & {name for i in group for name in data.label_names(i)}]
    loosened = data.keeping_together([*near, *copies.exact])
    names = ", ".join(sorted(lost)[:NAMES_SHOWN])
    note = (
        f"Nearly all pictures are near copies of each other in {names}: those held out resemble training pictures, so "
        "the score will be better than on new pictures."
    )
    still = _unscored(loosened) - _unscored(data)
    if still:
        shown = ", ".join(sorted(still)[:NAMES_SHOWN])
        note = f"All pictures are copies of one in {shown}: nothing of it can be held out, so the score is without it."
    return replace(loosened, notes=(*loosened.notes, note))


def _unscored(data: Dataset) -> set[str]:
    return {name for name, count in data.counts("test").items() if not count}
