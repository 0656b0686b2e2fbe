"""The index of a data set: what it counts, what it refuses, and that it survives a file."""

import json
from pathlib import Path

import numpy as np
import pytest

from tltool.data.dataset import Dataset, Problem, Row, build, check, load_index
from tltool.errors import DataError


def rows(part: str | None = None, **counts: int) -> list[tuple[str, str, str | None]]:
    return [(f"{part or 'all'}/{name}/{i}.png", name, part) for name in counts for i in range(counts[name])]


def dataset(tmp_path: Path, **counts: int) -> Dataset:
    return build("photos.zip", tmp_path, rows(**counts), seed=0)


def test_classes_and_files_are_sorted_and_labels_fit(tmp_path: Path) -> None:
    data = build("photos", tmp_path, reversed(rows(dog=5, cat=4)), seed=0)
    assert data.class_names == ("cat", "dog")
    assert list(data.files) == sorted(data.files)
    assert all(data.label_names(i)[0] in file for i, file in enumerate(data.files))
    assert data.paths[0] == tmp_path / "all/cat/0.png"


def test_counts_and_indices_agree(tmp_path: Path) -> None:
    data = dataset(tmp_path, cat=10, dog=20)
    assert data.counts() == {"cat": 10, "dog": 20}
    assert sum(data.counts("train").values()) == len(data.indices("train"))
    together = np.concatenate([data.indices("train", "valid"), data.indices("test")])
    assert sorted(together) == list(range(30))
    assert data.labels_of(data.indices("test")).tolist() == [0] * 2 + [1] * 4
    assert str(data) == "photos.zip: 30 pictures, 2 classes (21 train, 3 valid, 6 test)"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/photos.tar.gz", "photos"),
        ("s3://bucket/photos.CSV", "photos"),
        ("tfds:beans", "beans"),
        ("a/photos.zip", "photos"),
        ("a/photos.v2", "photos.v2"),
        ("a/photos/", "photos"),
        (".", "root"),
        ("..", "root"),
    ],
)
def test_name_is_short(tmp_path: Path, source: str, name: str) -> None:
    assert build(source, tmp_path / "root", rows(cat=2, dog=2), seed=0).name == name


@pytest.mark.parametrize("multi_label", [False, True])
def test_survives_a_file(tmp_path: Path, multi_label: bool) -> None:
    many = [Row(f"{i}.png", ("кот", "犬")[: 1 + i % 2], None, f"p{i // 2}") for i in range(12)]
    chosen = many if multi_label else rows(кот=4, 犬=5)
    problems = [Problem("a.txt", "not a picture", "not-a-picture")]
    data = build("s", tmp_path, chosen, 3, problems, ["A note."], multi_label=multi_label)
    index = tmp_path / "data.json"
    index.write_text(json.dumps(data.to_json()), "utf-8")
    assert load_index(index) == data


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense", '{"files": 3}'])
def test_a_broken_index_is_named(tmp_path: Path, content: str) -> None:
    index = tmp_path / "data.json"
    index.write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"data\.json: not a readable data index"):
        load_index(index)


def test_all_small_classes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"class 'ant' has 1 image, class 'bee' has 1 image; at least 2"):
        dataset(tmp_path, ant=1, bee=1, cat=2)


def test_two_pictures_a_class_are_enough(tmp_path: Path) -> None:
    data = dataset(tmp_path, ant=2, bee=2)
    assert data.counts("train") == data.counts("test") == {"ant": 1, "bee": 1}


def test_given_test_pictures_do_not_count_for_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train part: class 'bee' has 1 image"):
        build("s", tmp_path, rows("train", ant=5, bee=1) + rows("test", ant=5, bee=5), seed=0)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only one class, 'ant'"):
        dataset(tmp_path, ant=9)


def test_no_pictures_names_the_first_problem(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no readable pictures.*a\.txt: not a picture"):
        build("s", tmp_path, [], 0, [Problem("a.txt", "not a picture")])


def test_without_is_as_if_the_file_had_never_been_there(tmp_path: Path) -> None:
    data = dataset(tmp_path, cat=20, dog=20)
    bad = data.files[7]
    rest = data.without([Problem(bad, "damaged")])
    clean = build("photos.zip", tmp_path, [row for row in rows(cat=20, dog=20) if row[0] != bad], seed=0)
    assert rest.problems == (Problem(bad, "damaged"),)
    assert rest.without([]) == rest
    assert (rest.files, rest.labels, rest.parts) == (clean.files, clean.labels, clean.parts)
    moved = [
        file for file, part in zip(rest.files, rest.parts, strict=True) if part != data.parts[data.files.index(file)]
    ]
    assert len(moved) <= 2  # one at the boundary of test, one at that of valid


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_without_a_whole_part_every_class_still_learns_and_is_scored(tmp_path: Path, part: str) -> None:
    data = dataset(tmp_path, cat=6, dog=6)
    rest = data.without(Problem(data.files[i], "damaged") for i in data.indices(part))
    assert min(rest.counts("train").values()) >= 1
    assert min(rest.counts("test").values()) >= 1


@pytest.mark.parametrize("given", [False, True])
def test_without_a_whole_valid_part_another_is_held_out(tmp_path: Path, given: bool) -> None:
    parts = ("train", "valid", "test") if given else (None,)
    data = build("s", tmp_path, [row for part in parts for row in rows(part, cat=10, dog=10)], seed=0)
    lost = [data.files[i] for i in data.indices("valid")]
    rest = data.without(Problem(file, "damaged") for file in lost)
    assert min(rest.counts("valid").values()) >= 1
    assert {rest.files[i] for i in rest.indices("test")} == {data.files[i] for i in data.indices("test")}


def test_without_a_given_test_part_is_an_error(tmp_path: Path) -> None:
    data = build("s", tmp_path, rows("train", cat=6, dog=6) + rows("test", cat=1, dog=1), seed=0)
    with pytest.raises(DataError, match="no readable pictures in the test part"):
        data.without(Problem(data.files[i], "damaged") for i in data.indices("test"))


def test_without_most_of_a_class_is_an_error(tmp_path: Path) -> None:
    data = dataset(tmp_path, cat=6, dog=6)
    with pytest.raises(DataError, match=r"class 'cat' has 1 image; .*Files left out: 5; the first: all/cat/0.png: bad"):
        data.without(Problem(f"all/cat/{i}.png", "bad") for i in range(5))


def test_several_labels_are_a_matrix(tmp_path: Path) -> None:
    labels = [("sea", "sky"), ("sky",), ("sea",), ("sea", "sky")] * 3
    data = build("s", tmp_path, [Row(f"{i:02}.png", names) for i, names in enumerate(labels)], seed=0, multi_label=True)
    assert data.class_names == ("sea", "sky")
    assert data.labels_of([0, 1, 2]).tolist() == [[1, 1], [0, 1], [1, 0]]
    assert data.label_names(0) == ("sea", "sky")
    assert data.counts() == {"sea": 9, "sky": 9}
    assert {*data.parts} == {"train", "valid", "test"}


def test_copies_end_up_on_one_side(tmp_path: Path) -> None:
    data = dataset(tmp_path, cat=30, dog=30)
    pairs = [[i, i + 1] for i in range(0, 60, 2)]
    assert any(data.parts[a] != data.parts[b] for a, b in pairs)
    joined = data.keeping_together(pairs)
    assert all(joined.parts[a] == joined.parts[b] for a, b in pairs)
    assert min(joined.counts("test").values()) >= 4
    assert joined.without([]).parts == joined.parts


def test_copies_join_the_groups_that_they_touch(tmp_path: Path) -> None:
    given = [Row(f"{name}/{i}.png", name, None, f"{name}{i // 4}") for name in ("cat", "dog") for i in range(24)]
    data = build("s", tmp_path, given, seed=0)
    position = {file: i for i, file in enumerate(data.files)}
    joined = data.keeping_together([[position["cat/0.png"], position["dog/23.png"]]])
    whole = [*(f"cat/{i}.png" for i in range(4)), *(f"dog/{i}.png" for i in range(20, 24))]
    assert len({joined.together[position[file]] for file in whole}) == 1
    assert len({joined.parts[position[file]] for file in whole}) == 1
    assert len(set(joined.together)) == 11
    assert joined.groups == data.groups  # the source's own stay what they are


def test_copies_across_given_parts_stay_where_they_are(tmp_path: Path) -> None:
    data = build("s", tmp_path, rows("train", cat=8, dog=8) + rows("test", cat=4, dog=4), seed=0)
    joined = data.keeping_together([[data.files.index("train/cat/0.png"), data.files.index("test/cat/0.png")]])
    assert [p == "test" for p in joined.parts] == [p == "test" for p in data.parts]


def test_copies_of_one_picture_alone_cannot_be_held_out(tmp_path: Path) -> None:
    data = dataset(tmp_path, cat=4, dog=4)
    with pytest.raises(DataError, match="nothing can be held out"):
        check(data.keeping_together([range(4), range(4, 8)]))
