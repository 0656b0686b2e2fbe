"""Pictures in memory, in the shapes and with the labels that other libraries give them."""

import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tltool.data import Dataset
from tltool.data.dataset import load_index
from tltool.errors import DataError, ShapeError
from tltool.files import write_json

COUNT = 12


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def numbers() -> np.ndarray:
    return np.arange(COUNT) % 2


def pixels(data: Dataset) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in data.paths]


def named(data: Dataset) -> list[tuple[str, ...]]:
    return [data.label_names(index) for index in range(len(data))]


@pytest.mark.parametrize("shape", [(COUNT, 7, 5, 3), (COUNT, 7, 5, 1), (COUNT, 7, 5)])
def test_the_files_are_the_pictures(shape: tuple[int, ...], cache: Path) -> None:
    images = noise(*shape)
    data = Dataset.from_arrays(images, numbers(), ["dog", "cat"])
    assert len(data) == COUNT
    assert data.counts() == {"cat": COUNT // 2, "dog": COUNT // 2}
    assert named(data)[:2] == [("dog",), ("cat",)]
    for picture, image in zip(pixels(data), images, strict=True):
        np.testing.assert_array_equal(picture, image.reshape(picture.shape))
    assert data.root.is_relative_to(cache)
    assert (data.source, data.name, data.multi_label, data.given_parts) == ("arrays", "arrays", False, False)
    assert set(data.parts) == {"train", "valid", "test"}


def test_pictures_of_different_sizes() -> None:
    images = [noise(4 + n, 9, *((3,) if n % 2 else (1,) if n % 3 else ()), seed=n) for n in range(COUNT)]
    data = Dataset.from_arrays(images, numbers().tolist(), name="mine", seed=5)
    for picture, image in zip(pixels(data), images, strict=True):
        np.testing.assert_array_equal(picture, image.reshape(picture.shape))
    assert (data.name, data.seed, data.class_names) == ("mine", 5, ("0", "1"))


def test_arrays_that_are_views_or_of_another_library() -> None:
    class Tensor:
        """What TensorFlow, PyTorch and JAX have in common."""

        def __init__(self, values: np.ndarray) -> None:
            self.values = values

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return self.values

    images = noise(2 * COUNT, 8, 10, 3)[::2, ::2, ::-1]
    plain = Dataset.from_arrays(images.copy(), numbers())
    assert Dataset.from_arrays(images, numbers()).root == plain.root
    assert Dataset.from_arrays(Tensor(images), Tensor(numbers())).root == plain.root
    assert Dataset.from_arrays([Tensor(image) for image in images], numbers()).root == plain.root
    np.testing.assert_array_equal(pixels(plain)[3], images[3])


def test_the_same_pictures_are_written_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(COUNT, 6, 6, 3)
    first = Dataset.from_arrays(images, numbers())
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", lambda *_, **__: pytest.fail("written again"))
        again = Dataset.from_arrays(images.copy(), ["cat"] * 6 + ["dog"] * 6, name="other", seed=9)
    assert again.root == first.root
    images[5, 0, 0, 0] ^= 1
    assert Dataset.from_arrays(images, numbers()).root != first.root
    # The same bytes in another shape are other pictures.
    assert Dataset.from_arrays(images.reshape(COUNT, 4, 9, 3), numbers()).root != first.root
    assert len(list(cache.iterdir())) == 3


def test_nothing_is_left_of_a_write_that_fails(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(self: Image.Image, path: Path, **_: object) -> None:
        if path.name == "0000007.png":
            raise OSError(28, "No space left on device")
        path.write_bytes(b"x")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(DataError, match=r"^mine: cannot be written to .*\(No space left on device\)"):
        Dataset.from_arrays(noise(COUNT, 6, 6, 3), numbers(), name="mine")
    assert list(cache.iterdir()) == []


def test_a_run_reads_it_back(tmp_path: Path) -> None:
    data = Dataset.from_arrays(noise(COUNT, 6, 6, 3), numbers())
    write_json(tmp_path / "data.json", data.to_json())
    assert load_index(tmp_path / "data.json") == data


@pytest.mark.parametrize(
    ("labels", "class_names", "names"),
    [
        (["cat", "dog"], None, ["cat", "dog"]),
        ([" cat ", "dog"], ["dog", "cat"], ["cat", "dog"]),
        ([0, 1], None, ["0", "1"]),
        ([10, 9], None, ["10", "9"]),
        ([1, 0], ["a/b", "犬"], ["犬", "a/b"]),
        (np.array([[0], [1]], np.uint8), ["a", "b"], ["a", "b"]),
        (np.array([1.0, 0.0]), None, ["1", "0"]),
        ([np.int64(1), np.float32(0)], ["a", "b"], ["b", "a"]),
        (np.array(["x", "y"]), None, ["x", "y"]),
        (np.array(["x", "y"], object), None, ["x", "y"]),
        (np.array([True, False]), ["no", "yes"], ["yes", "no"]),
        ([unicodedata.normalize("NFD", "é"), "e"], [unicodedata.normalize("NFC", "é"), "e"], ["é", "e"]),
    ],
)
def test_labels_by_number_or_name(labels: Any, class_names: list[str] | None, names: list[str]) -> None:
    repeated = np.concatenate([labels] * 6) if isinstance(labels, np.ndarray) else labels * 6
    data = Dataset.from_arrays(noise(COUNT, 4, 4), repeated, class_names)
    assert named(data) == [(name,) for name in names * 6]
    assert not data.multi_label


@pytest.mark.parametrize(
    ("labels", "class_names", "expected"),
    [
        (np.array([[1, 1, 0], [0, 0, 1]]), ["x", "b", "a"], [("b", "x"), ("a",)]),
        (np.array([[True, True], [False, True]]), None, [("0", "1"), ("1",)]),
        (np.array([[1.0, 1.0], [0.0, 1.0]]), None, [("0", "1"), ("1",)]),
        ([["x", "a", "x"], ("a",)], None, [("a", "x"), ("a",)]),
        ([[0, 2], {1}], ["p", "q", "r"], [("p", "r"), ("q",)]),
        ([np.array([0, 2]), np.array([1])], None, [("0", "2"), ("1",)]),
        ([["x"], ["a"]], None, [("x",), ("a",)]),
    ],
)
def test_several_labels(labels: Any, class_names: list[str] | None, expected: list[tuple[str, ...]]) -> None:
    repeated = np.concatenate([labels] * 6) if isinstance(labels, np.ndarray) else labels * 6
    data = Dataset.from_arrays(noise(COUNT, 4, 4), repeated, class_names)
    assert data.multi_label
    assert named(data) == expected * 6


def test_one_hot_rows_are_no_multi_label_set() -> None:
    data = Dataset.from_arrays(noise(COUNT, 4, 4), np.eye(3, dtype=np.float32)[np.arange(COUNT) % 3])
    assert not data.multi_label
    assert named(data)[:3] == [("0",), ("1",), ("2",)]
    assert data.notes[0].startswith("Each row of the labels has exactly one class")


@pytest.mark.parametrize("nothing", [None, "", " ", float("nan")])
def test_a_picture_without_a_label_is_left_out_by_name(nothing: object) -> None:
    labels = ["cat", "dog"] * 6
    data = Dataset.from_arrays(noise(COUNT, 4, 4), [*labels[:5], nothing, *labels[6:]])
    assert [(problem.path, problem.kind) for problem in data.problems] == [("0000005.png", "empty-label")]
    assert len(data) == COUNT - 1


def test_a_picture_with_none_of_several_labels_is_left_out() -> None:
    labels = np.tile([[1, 1], [0, 1]], (6, 1))
    labels[3] = 0
    data = Dataset.from_arrays(noise(COUNT, 4, 4), labels)
    assert [problem.path for problem in data.problems] == ["0000003.png"]
    assert data.multi_label


def test_parts_and_groups() -> None:
    parts = ["train", "Training", "val", "valid", "test", "TEST"] * 2
    groups = ["a", 1, None, "", "a", "b"] * 2
    labels = ["cat"] * 6 + ["dog"] * 6
    data = Dataset.from_arrays(noise(COUNT, 4, 4), labels, parts=parts, groups=groups)
    assert data.given == data.parts == ("train", "train", "valid", "valid", "test", "test") * 2
    assert data.groups == ("a", "1", "", "", "a", "b") * 2
    assert not Dataset.from_arrays(noise(COUNT, 4, 4), labels, parts=[None] * COUNT).given_parts


def test_a_set_that_is_only_scored() -> None:
    assert len(Dataset.from_arrays(noise(1, 4, 4), ["cat"], trainable=False)) == 1
    with pytest.raises(DataError, match="only one class"):
        Dataset.from_arrays(noise(1, 4, 4), ["cat"])


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            noise(COUNT, 4, 4).astype(np.float32),
            DataError,
            r"images\[0\]: values of float32, not uint8 .*\* 255\)\.round",
        ),
        (noise(COUNT, 4, 4).astype(np.int64), DataError, r"values of int64, not uint8 .*images\.astype\('uint8'\)"),
        (noise(COUNT, 4, 4) > 9, DataError, "values of bool, not uint8"),
        (noise(COUNT, 4, 4, 4), ShapeError, r"images\[0\]: shape \(4, 4, 4\), where .* Leave out the alpha channel"),
        (noise(COUNT, 3, 8, 8), ShapeError, r"shape \(3, 8, 8\), where .* Channels come last: np\.moveaxis"),
        (noise(COUNT, 4), ShapeError, r"shape \(4,\), where \(H, W\), \(H, W, 1\) or \(H, W, 3\) is needed"),
        (noise(COUNT, 2, 4, 4, 3), ShapeError, r"shape \(2, 4, 4, 3\), where"),
        (noise(COUNT, 0, 4, 3), ShapeError, r"shape \(0, 4, 3\), where"),
        (noise(COUNT + 1, 4, 4), ShapeError, "^arrays: 13 images but 12 labels"),
        ([], ShapeError, "images: there are none"),
        (noise(0, 4, 4), ShapeError, "images: there are none"),
        ([noise(4, 4), noise(4, 4).astype(float)], DataError, r"images\[1\]: values of float64"),
    ],
)
def test_images_that_cannot_be_used(images: Any, error: type[Exception], message: str, cache: Path) -> None:
    with pytest.raises(error, match=message):
        Dataset.from_arrays(images, numbers())
    assert not cache.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": ["cat"] * 11}, ShapeError, "12 images but 11 labels"),
        ({"labels": np.zeros((COUNT, 2, 2))}, ShapeError, r"labels: shape \(12, 2, 2\), where \(N,\) is needed"),
        ({"labels": np.array(3)}, ShapeError, r"labels: shape \(\), where"),
        ({"labels": np.full((COUNT, 2), 2)}, DataError, r"array of shape \(12, 2\) must hold 0 and 1 only"),
        ({"labels": np.full((COUNT, 2), "x")}, DataError, "must hold 0 and 1 only"),
        ({"labels": np.eye(COUNT), "class_names": ["a", "b"]}, ShapeError, r"shape \(12, 12\), but 2 class names"),
        (
            {"labels": [0, 2] * 6, "class_names": ["a", "b"]},
            DataError,
            r"labels\[1\]: 2 is no class number from 0 to 1",
        ),
        ({"labels": [0, -1] * 6, "class_names": ["a", "b"]}, DataError, r"labels\[1\]: -1 is no class number"),
        ({"labels": ["a", "c"] * 6, "class_names": ["a", "b"]}, DataError, r"labels\[1\]: 'c' is none of .*\(a, b\)"),
        ({"labels": [0.5] * COUNT}, DataError, r"labels\[0\]: 0\.5 is neither a class name nor a class number"),
        ({"labels": [float("inf")] * COUNT}, DataError, r"labels\[0\]: inf is neither"),
        ({"labels": [b"cat"] * COUNT}, DataError, r"labels\[0\]: b'cat' is neither"),
        ({"labels": numbers(), "class_names": ["a", "a "]}, DataError, "class_names: a, a: each must be there once"),
        ({"labels": numbers(), "class_names": ["a", ""]}, DataError, "class_names: a, : each must be there once"),
        ({"labels": numbers(), "parts": ["train"] * 11}, ShapeError, "12 images but 11 parts"),
        ({"labels": numbers(), "groups": ["a"] * 11}, ShapeError, "12 images but 11 groups"),
        ({"labels": numbers(), "parts": ["train", "x"] * 6}, DataError, "^parts: x: none of train, training, valid"),
        ({"labels": numbers(), "parts": ["train", None] * 6}, DataError, "^parts: None: .* Give one for every image"),
    ],
)
def test_labels_parts_and_groups_that_cannot_be_used(
    options: dict[str, Any], error: type[Exception], message: str, cache: Path
) -> None:
    with pytest.raises(error, match=message):
        Dataset.from_arrays(noise(COUNT, 4, 4), **options)
    assert not cache.exists()


def test_two_processes_may_write_the_same(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A second call finishes while the first one writes: both end with the same folder."""
    images = noise(COUNT, 4, 4)
    save: Callable[..., None] = Image.Image.save

    def slow(self: Image.Image, path: Path, **options: object) -> None:
        save(self, path, **options)
        if path.name == "0000005.png":
            monkeypatch.setattr(Image.Image, "save", save)
            Dataset.from_arrays(images, numbers())

    monkeypatch.setattr(Image.Image, "save", slow)
    data = Dataset.from_arrays(images, numbers())
    np.testing.assert_array_equal(np.stack(pixels(data)), images)
    assert [path.name for path in cache.iterdir()] == [data.root.name]


@pytest.mark.skipif(sys.maxsize < 2**32, reason="needs an address space above 4 GB")
def test_pictures_are_not_copied_in_memory() -> None:
    # One byte of memory that looks like 30 GB.
    images = np.broadcast_to(np.uint8(0), (10, 32_000, 32_000, 3))
    with pytest.raises(ShapeError, match="10 images but 12 labels"):
        Dataset.from_arrays(images, numbers())
