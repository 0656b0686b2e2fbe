"""The split: stratified, seeded, and dependent on nothing but the names of the pictures."""

import random
from collections import Counter

import pytest

from tltool.data.split import TEST_SHARE, VALID_SHARE, assign_parts, join_groups


def rows(**counts: int) -> tuple[list[str], list[tuple[int, ...]]]:
    files = [f"{name}/{name}{i}.png" for name in counts for i in range(counts[name])]
    return files, [(label,) for label, name in enumerate(counts) for _ in range(counts[name])]


def split(
    files: list[str], labels: list[tuple[int, ...]], seed: int = 0, groups: list[str] | None = None
) -> dict[str, str]:
    parts, _ = assign_parts(files, labels, [None] * len(files), seed, groups or ())
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
    labels += [(0,)] * 20
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
    before, after = split(files, labels), split([*files, new], [*labels, (0,)])
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


def test_groups_are_never_parted_and_every_class_is_still_held_out() -> None:
    files, labels = rows(cat=60, dog=60)
    groups = [f"patient {i % 60 // 6}" for i in range(120)]  # ten of each class, and some of both classes
    parts = split(files, labels, groups=groups)
    of_group = {}
    for file, group in zip(files, groups, strict=True):
        of_group.setdefault(group, set()).add(parts[file])
    assert all(len(found) == 1 for found in of_group.values())
    for name in ("cat", "dog"):
        assert {part for file, part in parts.items() if file.startswith(name)} == {"train", "valid", "test"}


def test_groups_leave_the_shares_of_the_others_alone() -> None:
    files, labels = rows(cat=100)
    groups = ["pair"] * 2 + [""] * 98
    assert Counter(split(files, labels, groups=groups).values())["test"] == 20


def test_a_large_group_stays_in_training() -> None:
    files, labels = rows(cat=20)
    for seed in range(8):
        parts = split(files, labels, seed, groups=["video"] * 15 + [""] * 5)
        assert {parts[file] for file in files[:15]} == {"train"}
        assert 1 <= Counter(parts.values())["test"] <= 4


def test_of_large_groups_alone_the_smallest_is_held_out() -> None:
    files, labels = rows(cat=20)
    parts = split(files, labels, groups=["long"] * 12 + ["short"] * 8)
    assert [parts[file] for file in files] == ["train"] * 12 + ["test"] * 8


def test_a_class_of_one_group_is_only_learned() -> None:
    files, labels = rows(cat=20, dog=6)
    parts = split(files, labels, groups=[""] * 20 + ["one dog"] * 6)
    assert {part for file, part in parts.items() if file.startswith("dog")} == {"train"}


def test_several_labels_are_all_held_out_in_their_shares() -> None:
    random_ = random.Random(0)
    shares = (0.8, 0.5, 0.2, 0.1, 0.05)
    files, labels = [], []
    for i in range(1000):
        found = tuple(label for label, share in enumerate(shares) if random_.random() < share)
        if found:
            files.append(f"{i}.png")
            labels.append(found)
    parts = split(files, labels)
    for label in range(len(shares)):
        of_class = [parts[file] for file, found in zip(files, labels, strict=True) if label in found]
        assert Counter(of_class)["test"] / len(of_class) == pytest.approx(TEST_SHARE, abs=0.03)
        assert "valid" in of_class


@pytest.mark.parametrize(
    ("sets", "joined"),
    [([], []), ([[3]], []), ([[0, 1], [4, 3], [1, 2]], [[0, 1, 2], [3, 4]]), ([[4, 0], [4, 2], [2, 0]], [[0, 2, 4]])],
)
def test_overlapping_groups_are_joined(sets: list[list[int]], joined: list[list[int]]) -> None:
    assert join_groups(5, sets) == joined
