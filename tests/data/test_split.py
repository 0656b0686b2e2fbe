"""The split: stratified, seeded, and dependent on nothing but the names of the pictures."""

import random
from collections import Counter

import pytest

from tltool.data.split import TEST_SHARE, VALID_SHARE, assign_parts, repair_parts


def rows(**counts: int) -> tuple[list[str], list[int]]:
    files = [f"{name}/{name}{i}.png" for name in counts for i in range(counts[name])]
    return files, [label for label, name in enumerate(counts) for _ in range(counts[name])]


def split(files: list[str], labels: list[int], seed: int = 0) -> dict[str, str]:
    parts, _ = assign_parts(files, labels, [None] * len(files), seed)
    return dict(zip(files, parts, strict=True))


def test_each_class_is_split_in_the_same_shares() -> None:
    files, labels = rows(cat=100, dog=40)
    parts = split(files, labels)
    for name, count in (("cat", 100), ("dog", 40)):
        tally = Counter(part for file, part in parts.items() if file.startswith(name))
        assert tally["test"] == round(count * TEST_SHARE)
        assert tally["valid"] == round(count * (1 - TEST_SHARE) * VALID_SHARE)
        assert sum(tally.values()) == count


def test_same_seed_same_split_other_seed_other_split() -> None:
    files, labels = rows(cat=50, dog=50)
    assert split(files, labels, 3) == split(files, labels, 3)
    assert split(files, labels, 3) != split(files, labels, 4)


def test_order_of_the_files_does_not_matter() -> None:
    files, labels = rows(cat=50, dog=50)
    # Pictures of one name in two folders of a class: only the folder tells them apart.
    files += [f"cat/{folder}/001.png" for folder in range(20)]
    labels += [0] * 20
    shuffled = list(zip(files, labels, strict=True))
    random.Random(1).shuffle(shuffled)
    assert split(*map(list, zip(*shuffled, strict=True))) == split(files, labels)


def test_folders_around_the_pictures_do_not_matter() -> None:
    files, labels = rows(cat=50, dog=50)
    moved = split([f"deep/er/{file}" for file in files], labels)
    assert {file.removeprefix("deep/er/"): part for file, part in moved.items()} == split(files, labels)


@pytest.mark.parametrize("new", [f"cat/new{i}.png" for i in range(12)])
def test_a_new_picture_moves_only_the_pictures_at_a_boundary(new: str) -> None:
    files, labels = rows(cat=53, dog=31)
    before, after = split(files, labels), split([*files, new], [*labels, 0])
    moved = [file for file in files if before[file] != after[file]]
    assert len(moved) <= 2  # one at the boundary of test, one at that of valid
    assert all(file.startswith("cat/") for file in moved)


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1))])
def test_tiny_classes_keep_a_training_picture(count: int, expected: tuple[int, int, int]) -> None:
    files, labels = rows(cat=40, dog=count)
    tally = Counter(part for file, part in split(files, labels).items() if file.startswith("dog"))
    assert (tally["train"], tally["valid"], tally["test"]) == expected


def test_given_parts_are_kept() -> None:
    files, labels = rows(cat=30)
    given = ["train"] * 10 + ["valid"] * 10 + ["test"] * 10
    parts, notes = assign_parts(files, labels, given, 0)
    assert parts == given
    assert notes == []


def test_valid_without_test_becomes_test() -> None:
    files, labels = rows(cat=30)
    parts, notes = assign_parts(files, labels, ["train"] * 20 + ["valid"] * 10, 0)
    assert parts[20:] == ["test"] * 10
    assert Counter(parts[:20]) == {"train": 17, "valid": 3}
    assert "valid part is held out" in notes[0]


def test_test_without_valid_leaves_test_alone() -> None:
    files, labels = rows(cat=30)
    parts, _ = assign_parts(files, labels, ["train"] * 20 + ["test"] * 10, 0)
    assert parts[20:] == ["test"] * 10
    assert Counter(parts[:20]) == {"train": 17, "valid": 3}


def test_repair_splits_only_the_classes_that_lost_a_part() -> None:
    files, labels = rows(cat=4, dog=4)
    parts = ["train", "train", "valid", "test", "valid", "valid", "test", "test"]
    repaired = repair_parts(files, labels, parts, given_parts=False, seed=0)
    assert repaired[:4] == parts[:4]
    assert Counter(repaired[4:]) == {"train": 2, "valid": 1, "test": 1}


@pytest.mark.parametrize("given_parts", [False, True])
def test_repair_holds_out_a_valid_part_where_none_is_left(given_parts: bool) -> None:
    files, labels = rows(cat=20, dog=20)
    parts = (["train"] * 16 + ["test"] * 4) * 2
    repaired = repair_parts(files, labels, parts, given_parts, seed=0)
    for start in (0, 20):
        assert Counter(repaired[start : start + 20]) == {"train": 14, "valid": 2, "test": 4}
    assert [part == "test" for part in repaired] == [part == "test" for part in parts]


def test_repair_never_trains_on_a_given_test_part() -> None:
    files, labels = rows(cat=4, dog=6)
    parts = ["train", "train", "valid", "test", "valid", "valid", "valid", "valid", "test", "test"]
    repaired = repair_parts(files, labels, parts, given_parts=True, seed=0)
    assert repaired[:4] == parts[:4]
    assert repaired[8:] == ["test", "test"]
    assert Counter(repaired[4:8]) == {"train": 3, "valid": 1}
