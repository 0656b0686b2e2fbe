"""JPEG in keras.ops against Pillow's codec."""

import numpy as np
import pytest

from tests.augment.operations import check_jpeg, compiled, noisy, run, smooth, through_pillow
from tltool.augment import jpeg as module
from tltool.augment.jpeg import jpeg

# Mean difference in grey levels, and share of the values that are off by more than 2: two libraries in whole numbers
# and in floating point differ where a cosine lies half-way between two steps.
TOLERANCE = (0.75, 0.05)


def test_opens_as_pillow_does():
    check_jpeg(jpeg, *TOLERANCE)


def test_opens_as_pillow_does_when_compiled():
    qualities = np.array([5, 30, 50, 95])
    pictures = np.stack([noisy(37, 53), smooth(37, 53), noisy(37, 53, 1), noisy(37, 53, 2)])
    results = run(compiled(jpeg), pictures, qualities)
    for result, picture, quality in zip(results, pictures, qualities, strict=True):
        assert np.abs(result - through_pillow(picture, quality)).mean() <= TOLERANCE[0]


def test_the_lower_the_quality_the_more_is_lost():
    qualities = np.array([100, 90, 70, 40, 10, 1])
    picture = smooth(48, 64)
    results = run(jpeg, np.repeat(picture[None], 6, axis=0), qualities)
    lost = np.abs(results - picture).mean(axis=(1, 2, 3))
    assert (np.diff(lost) > 0).all()
    np.testing.assert_array_equal(results, np.rint(results))


def test_tables_are_those_that_pillow_writes():
    import io

    from PIL import Image

    for quality in (1, 10, 25, 49, 50, 75, 99, 100):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        tables = Image.open(file).quantization
        for place, steps in enumerate((module.LUMA_STEPS, module.CHROMA_STEPS)):
            ours = run(lambda q, steps=steps: module._steps(steps, q), [quality])
            np.testing.assert_array_equal(ours.ravel(), tables[place])


def test_cosines_are_an_orthonormal_transform():
    from scipy.fft import dctn

    block = np.random.default_rng(0).uniform(-128, 127, (8, 8))
    np.testing.assert_allclose(module.COSINES @ block.ravel(), dctn(block, norm="ortho").ravel(), atol=1e-3)
    np.testing.assert_allclose(module.COSINES @ module.COSINES.T, np.eye(64), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (10_000, 10), (5, 17)])
def test_takes_pictures_of_any_shape(size: tuple[int, int]):
    assert run(jpeg, noisy(*size)[None], [50]).shape == (1, *size, 3)
