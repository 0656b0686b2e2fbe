"""What each operation on pixels must do, in either form and on either backend: references in Pillow, SciPy and NumPy.

`check_operation(forms, name)` compares one of them. Run as a module it does so for all of Keras's form, eager and
compiled, on a backend that the tests' own process does not have: KERAS_BACKEND=jax python -m tests.augment.operations
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType

import keras
import numpy as np
import scipy.ndimage
from keras import ops
from PIL import Image, ImageEnhance, ImageOps

from tltool.augment.chosen_operations import apply_chosen
from tltool.augment.rand_augment import OPERATIONS

HEIGHT, WIDTH = 37, 53


def smooth(height: int, width: int) -> np.ndarray:
    """Slow waves of colour, like sky and skin, uint8."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([100 * np.sin(x / 17 + y / 29), 90 * np.cos(y / 13), 120 * np.sin((x + y) / 23)], axis=-1)
    return np.rint(127 + waves).astype(np.uint8)


def noisy(height: int, width: int, seed: int = 0) -> np.ndarray:
    """The same with the grain of a small sensor, uint8."""
    grain = np.random.default_rng(seed).normal(0, 20, (height, width, 3))
    return np.clip(np.rint(smooth(height, width) + grain), 0, 255).astype(np.uint8)


def _pictures() -> np.ndarray:
    dull = (noisy(HEIGHT, WIDTH, 1) // 4 + 90).astype(np.uint8)
    paper = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)  # a few strokes on white, and one channel without any
    paper[5:9, 4:40, :2], paper[20:22, 10:50, :2] = 20, 90
    return np.stack([smooth(HEIGHT, WIDTH), noisy(HEIGHT, WIDTH), dull, paper])


PICTURES = _pictures()
COUNT = len(PICTURES)


def _float(*values) -> np.ndarray:
    return np.array(values, np.float32)


@dataclass(frozen=True)
class Case:
    """One operation.

    Attributes:
        given: Its parameters, one a picture.
        reference: From a picture, uint8, and its parameters to what must come out.
        tolerance: Grey levels, at most.
    """

    given: tuple[np.ndarray, ...]
    reference: Callable[..., np.ndarray]
    tolerance: float


def _with_pillow(change: Callable[..., Image.Image]) -> Callable[..., np.ndarray]:
    return lambda picture, *given: np.asarray(change(Image.fromarray(picture), *given), np.float64)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    # Half-sample symmetric at the edge, as tltool; SciPy's kernel ends at four sigmas of its own.
    return scipy.ndimage.gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0), mode="reflect", truncate=4.0)


def _erased(picture: np.ndarray, box: np.ndarray, fill: np.ndarray) -> np.ndarray:
    result = picture.astype(np.float64)
    for y, x in np.ndindex(picture.shape[:2]):
        if box[0] <= x + 0.5 < box[2] and box[1] <= y + 0.5 < box[3]:
            result[y, x] = fill
    return result


def _grid_masked(picture, ratio, distance, angle, offset, fill) -> np.ndarray:
    result = picture.astype(np.float64)
    middle = complex(picture.shape[1] - 1, picture.shape[0] - 1) / 2
    for y, x in np.ndindex(picture.shape[:2]):
        place = (complex(x, y) - middle) * np.exp(-1j * float(angle)) - complex(*map(float, offset))
        if place.real % distance < ratio * distance and place.imag % distance < ratio * distance:
            result[y, x] = fill
    return result


def through_pillow(picture: np.ndarray, quality: float) -> np.ndarray:
    """Saved as JPEG and opened again by Pillow; quality 0 leaves it as it is."""
    if not quality:
        return picture
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def _moved(rows: Callable[[float], list]) -> Callable[..., np.ndarray]:
    """SciPy's spline of order 1 with coordinates (y, x) about the middle, mirrored at the edge."""

    def moved(picture: np.ndarray, magnitude: float) -> np.ndarray:
        matrix, shift = (np.array(part, np.float64) for part in rows(float(magnitude)))
        middle = (np.array(picture.shape[:2]) - 1) / 2
        offset = middle + shift * picture.shape[:2] - matrix @ middle
        channels = np.moveaxis(picture.astype(np.float64), -1, 0)
        done = [scipy.ndimage.affine_transform(each, matrix, offset, order=1, mode="reflect") for each in channels]
        return np.stack(done, axis=-1)

    return moved


def _rotation(degrees: float) -> list:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [[[cos, sin], [-sin, cos]], [0, 0]]


COLOURS = _float([0, 0, 0], [200, 10, 90], [255, 255, 255], [128, 128, 128])
CASES = {
    # Four sigmas of 5 reach further than four of 2: what lies between is what SciPy leaves out.
    "blur": Case((_float(0, 0.7, 2, 5),), _blurred, 0.05),
    "erase": Case(
        (_float([3, 4, 20, 9], [-9, -9, 7.3, 5.6], [5, 5, 5, 30], [40.5, 30.4, 90, 90]), COLOURS), _erased, 0.0
    ),
    "grid_mask": Case(
        (
            _float(0.5, 0, 0.31, 1),
            _float(9, 10, 13.7, 20),
            _float(0, 1, 0.61, -2),
            _float([0.3, 0.4], [1, 1], [3.1, -7.2], [0, 0]),
            COLOURS,
        ),
        _grid_masked,
        0.0,
    ),
    "autocontrast": Case((), _with_pillow(ImageOps.autocontrast), 1.0),  # Pillow cuts parts of a grey level off
    "equalize": Case((), _with_pillow(ImageOps.equalize), 0.0),
    "posterize": Case((_float(1, 4, 7, 8),), _with_pillow(lambda image, b: ImageOps.posterize(image, int(b))), 0.0),
    "solarize": Case((_float(0, 128, 77, 256),), _with_pillow(ImageOps.solarize), 0.0),
    # Pillow rounds the smoothed picture, which the factor 1.9 multiplies by 0.9, and cuts parts of the result off.
    "sharpness": Case((_float(0, 1, 1.9, 0.5),), _with_pillow(lambda p, f: ImageEnhance.Sharpness(p).enhance(f)), 1.5),
}
# Those of RandAugment by their names, with what they are there called.
CHOSEN = {
    "identity": Case((_float(0, 0, 0, 0),), lambda picture, _: picture, 0.0),
    **{name: CASES[name] for name in ("posterize", "solarize", "sharpness")},
    **{
        name: Case((_float(0, 0, 0, 0),), lambda picture, _, name=name: CASES[name].reference(picture), tolerance)
        for name, tolerance in (("autocontrast", 1.0), ("equalize", 0.0))
    },
    # Pillow rounds grey and its mean, and cuts parts of the result off.
    **{
        name.lower(): Case(
            (_float(0.1, 1, 1.9, 0.4),),
            _with_pillow(lambda image, factor, name=name: getattr(ImageEnhance, name)(image).enhance(factor)),
            1.5,
        )
        for name in ("Color", "Contrast", "Brightness")
    },
    "rotate": Case((_float(0, 30, -135, 7),), _moved(_rotation), 0.05),
    "shear_x": Case((_float(0, 0.3, -0.99, 0.1),), _moved(lambda m: [[[1, 0], [m, 1]], [0, 0]]), 0.05),
    "shear_y": Case((_float(0, 0.3, -0.99, 0.1),), _moved(lambda m: [[[1, m], [0, 1]], [0, 0]]), 0.05),
    "translate_x": Case((_float(0, 0.45, -0.33, 0.1),), _moved(lambda m: [np.eye(2), [0, m]]), 0.05),
    "translate_y": Case((_float(0, 0.45, -0.33, 0.1),), _moved(lambda m: [np.eye(2), [m, 0]]), 0.05),
}


def compiled(function: Callable) -> Callable:
    """By XLA, on either backend."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


def run(function: Callable, *given: np.ndarray) -> np.ndarray:
    """With tensors of the backend, back to NumPy."""
    return ops.convert_to_numpy(function(*(ops.convert_to_tensor(np.asarray(each, np.float32)) for each in given)))


def _compare(case: Case, result: np.ndarray) -> None:
    assert result.dtype == np.float32
    for place, picture in enumerate(PICTURES):
        expected = case.reference(picture, *(values[place] for values in case.given))
        np.testing.assert_allclose(result[place], expected, rtol=0, atol=case.tolerance + 1e-3)


def check_operation(forms: ModuleType, name: str, compile: bool = False) -> None:
    """Compares one of `CASES` with its reference.

    Raises:
        AssertionError: if they are further apart than the tolerance.
    """
    function = getattr(forms, name)
    _compare(CASES[name], run(compiled(function) if compile else function, PICTURES, *CASES[name].given))


def check_chosen(forms: ModuleType, name: str, compile: bool = False) -> None:
    """Compares `apply_chosen` with the reference of one of `CHOSEN`, drawn for every picture.

    Raises:
        AssertionError: if they are further apart than the tolerance.
    """
    chosen = np.full((COUNT, 1), OPERATIONS.index(name))
    _compare(CHOSEN[name], run(_chosen(forms, compile), PICTURES, chosen, CHOSEN[name].given[0][:, None]))


@cache
def _chosen(forms: ModuleType, compile: bool) -> Callable:
    function = partial(apply_chosen, forms=forms)
    return compiled(function) if compile else function


def check_jpeg(jpeg: Callable, difference: float, share: float) -> None:
    """Compares with Pillow's codec, at all kinds of sizes and qualities.

    Args:
        jpeg: The operation.
        difference: Largest mean difference, grey levels.
        share: Of the values of a picture larger than some blocks, how many may be off by more than 2 grey levels. A
            cosine half-way between two steps may go either way, and takes the 64 values of its block with it.

    Raises:
        AssertionError: if they are further apart.
    """
    qualities = np.array([0, 1, 5, 30, 50, 75, 95, 100])
    for height, width in ((64, 64), (HEIGHT, WIDTH), (1, 1), (3, 4), (18, 5), (2, 9)):
        for make in (smooth, noisy):
            picture = make(height, width)
            results = run(jpeg, np.repeat(picture[None], len(qualities), axis=0), qualities)
            for result, quality in zip(results, qualities, strict=True):
                off = np.abs(result - through_pillow(picture, quality))
                where = (height, width, make.__name__, quality)
                assert off.mean() <= difference, where
                assert height * width < 1000 or (off > 2).mean() <= share, where


if __name__ == "__main__":
    from tltool.augment import with_keras

    for compile in (False, True):
        for name in CASES:
            check_operation(with_keras, name, compile)
        for name in CHOSEN:
            check_chosen(with_keras, name, compile)
    check_jpeg(compiled(with_keras.jpeg), 0.75, 0.05)
    print(f"{keras.backend.backend()}: {len(CASES) + 1} operations and {len(CHOSEN)} of RandAugment")
