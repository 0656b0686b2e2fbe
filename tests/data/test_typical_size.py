"""The size of a data set's pictures, by their headers."""

import numpy as np
import pytest
from PIL import Image

from tltool.data import load_dataset, typical_size
from tltool.data.decoding import decode
from tltool.data.typical_size import typical_side
from tltool.errors import PictureError


def save(path, width, height, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng((seed, width, height)).integers(0, 256, (height, width, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def side_of(path):
    with Image.open(path) as image:
        return min(image.size)


@pytest.fixture
def photos(tmp_path):
    """Shorter sides 20, 20, 30, 50 and 50 of every class among those to learn from, 300 elsewhere."""
    for seed, name in enumerate(("cat", "dog")):
        for number, size in enumerate([(20, 90), (90, 20), (30, 40), (60, 50), (200, 50)]):
            save(tmp_path / "train" / name / f"{number}.png", *size, seed)
        for number in range(4):
            save(tmp_path / "valid" / name / f"{number}.png", 300 + number, 300, seed)
            save(tmp_path / "test" / name / f"{number}.png", 400 + number, 300, seed)
    return tmp_path


def test_the_median_of_the_shorter_side_of_what_is_learned_from(photos):
    assert typical_side(load_dataset(photos)) == 30


def test_unreadable_pictures_are_passed_over(photos):
    data = load_dataset(photos)
    paths = [data.root / data.files[row] for row in data.indices("train")]
    small = [path for path in paths if side_of(path) == 20]
    for path in set(paths) - set(small):
        path.write_bytes(b"not a picture")
    small[0].unlink()
    assert typical_side(data) == 20
    for path in small[1:]:
        path.write_bytes(b"")
    assert typical_side(data) is None


def test_no_pixels_are_decoded(photos):
    data = load_dataset(photos)
    for row in data.indices("train"):
        path = data.root / data.files[row]
        save(path, 77, 99, seed=int(row))
        damaged = bytearray(path.read_bytes())
        damaged[200:2000] = bytes(1800)
        path.write_bytes(damaged)
        with pytest.raises(PictureError):
            decode(path)
    assert typical_side(data) == 77


def test_a_large_set_is_sampled_by_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(typical_size, "LOOKED_AT", 3)
    for name in ("cat", "dog"):
        for number in range(30):
            save(tmp_path / name / f"{number}.png", 10 + number, 64)
    data = load_dataset(tmp_path)
    found = [typical_side(data, seed) for seed in range(6)]
    assert found == [typical_side(data, seed) for seed in range(6)]
    assert len(set(found)) > 1
