"""Plans of the runs whose probabilities are to be averaged: one recipe with several seeds, or on several folds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tltool.data import Dataset
from tltool.data.dataset import check
from tltool.errors import DataError
from tltool.evaluation.inference import classify
from tltool.heads.cross_validation import splits_of
from tltool.progress import Report, silent
from tltool.run import Run


@dataclass(frozen=True, eq=False)
class Member:
    """What to fit.

    Attributes:
        data: For `fit`.
        seed: For `fit`.
        fold: Positions, in the whole data set, of the pictures that this member never sees and is scored on, shape
            (n,); empty for members that differ in their seed alone.
    """

    data: Dataset
    seed: int
    fold: np.ndarray


def members_by_seed(data: Dataset, count: int, seed: int = 0) -> tuple[Member, ...]:
    """Members with the seeds seed, seed + 1 and so on, all on one split.

    The seed draws the order of the pictures, augmentation and what is dropped: members of a recipe that fine-tunes
    differ. Probes have one solution, and hardly do; folds are for them.

    Args:
        data: Split already; all members hold out the same pictures.
        count: Members, >= 2.
        seed: Of the first.

    Raises:
        DataError: if there are fewer than two.

    Reference: Lakshminarayanan et al., 2017, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", section 2.4.
    """
    _check_count(count)
    return tuple(Member(data, seed + number, np.empty(0, np.int64)) for number in range(count))


def members_by_fold(data: Dataset, count: int, seed: int = 0) -> tuple[Member, ...]:
    """Members that each leave out another part of the pictures to learn from; all hold out the same test part.

    The training and validation pictures are dealt out into folds, by class, copies and groups together. A picture that
    is alone in its class, or whose group is, stays with all members.

    Args:
        data: Split already, and best looked at already (`tltool.doctor.checkup.check_up`): what is known to belong
            together stays together.
        count: Folds and members, >= 2.
        seed: Of the folds; members get seed, seed + 1 and so on.

    Raises:
        DataError: if there are fewer than two, or a fold leaves too little to learn from.
    """
    _check_count(count)
    rows = data.indices("train", "valid")
    labels, groups = data.labels_of(rows), data.together_of(rows)
    splits = list(splits_of(labels, count, 1, seed, groups, enough=math.inf))
    if len(splits) < count:
        raise DataError(
            f"{data.source}: {len(rows)} pictures to learn from cannot be dealt out into {count} folds. Take fewer "
            "folds, or seeds."
        )
    return tuple(
        Member(_left(data, rows[held_out]), seed + number, rows[held_out])
        for number, (_, held_out) in enumerate(splits)
    )


def out_of_fold_probabilities(
    data: Dataset, members: Sequence[Member], runs: Sequence[Run], report: Report = silent
) -> np.ndarray:
    """What the members say of the pictures that they have never seen.

    Args:
        data: The whole data set that the members were planned for.
        members: From `members_by_fold`.
        runs: Theirs, done, in the same order.
        report: Told how many pictures of a fold are done.

    Returns:
        Shape (len(data), C), float32; NaN for held-out pictures, for what stayed with all members, and for what cannot
        be read.
    """
    prob = np.full((len(data), len(data.class_names)), np.nan, np.float32)
    for member, run in zip(members, runs, strict=True):
        result = classify(run.model, [data.root / data.files[row] for row in member.fold], report)
        prob[member.fold[result.indices]] = result.values
    return prob


def _left(data: Dataset, fold: np.ndarray) -> Dataset:
    """The data set without a fold; its held-out part is given, so that no new one is drawn, and validation is not."""
    away = set(fold.tolist())
    kept = [row for row in range(len(data)) if row not in away]
    given = tuple("test" if data.parts[row] == "test" else "train" for row in kept)
    return check(
        replace(
            data,
            files=tuple(data.files[row] for row in kept),
            labels=tuple(data.labels[row] for row in kept),
            parts=tuple(data.parts[row] for row in kept),
            given=given,
            groups=tuple(data.groups[row] for row in kept),
            together=tuple(data.together[row] for row in kept),
        )
    )


def _check_count(count: int) -> None:
    if count < 2:
        raise DataError(f"{count} member asked for; an ensemble has 2 or more.")
