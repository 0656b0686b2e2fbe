import itertools
import math

import keras
import numpy as np
import pytest

from tltool.augment import with_keras
from tltool.augment.geometry import MATRICES, Warp, homography
from tltool.augment.steps import STEPS, read_step

HEIGHT, WIDTH = 60, 80
MAGNITUDES = {
    "flip_horizontal": 1.0,
    "flip_vertical": 1.0,
    "rotate": 20,
    "crop": 0.6,
    "zoom": 0.2,
    "translate": 0.1,
    "stretch": 0.2,
    "shear": 10,
    "perspective": 0.2,
    "lens": 0.2,
}
STEPS_OF_ALL = [read_step(name, magnitude) for name, magnitude in MAGNITUDES.items()]


def smooth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A picture as a function of centred coordinates, shape (..., 3), that has no detail finer than 20 pixels."""
    waves = [(0.11, 0.04, 0.3), (-0.06, 0.13, 1.1), (0.09, 0.09, 2.0)]
    return np.stack([127 + 90 * np.sin(a * x + b * y + c) for a, b, c in waves], axis=-1)


def grid() -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.arange(WIDTH) - (WIDTH - 1) / 2, np.arange(HEIGHT) - (HEIGHT - 1) / 2)


def through(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in matrix.astype(np.float64))
    return u / w, v / w


def bent(strength: float, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = (x**2 + y**2) / ((WIDTH / 2) ** 2 + (HEIGHT / 2) ** 2)
    scale = (1 + strength * radius) / (1 + max(strength, 0.0))
    return x * scale, y * scale


def apply(warp: Warp, pictures: np.ndarray, drawn: list) -> np.ndarray:
    parameters = [keras.ops.convert_to_tensor(np.asarray(value)[None]) for value in drawn]
    return keras.ops.convert_to_numpy(warp.apply(keras.ops.convert_to_tensor(pictures), parameters, with_keras))


def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.abs(x) < WIDTH / 2 - 1) & (np.abs(y) < HEIGHT / 2 - 1)


@pytest.fixture
def picture() -> np.ndarray:
    return smooth(*grid()).astype(np.float32)[None]


@pytest.mark.parametrize("step", STEPS_OF_ALL, ids=list(MAGNITUDES))
def test_each_step_reads_where_the_textbook_says(step, picture):
    warp = Warp([step])
    for seed in range(3):
        drawn = warp.draw(np.random.default_rng(seed), HEIGHT, WIDTH)
        x, y = grid()
        for value in reversed(drawn):
            x, y = through(value, x, y) if np.ndim(value) else bent(float(value), x, y)
        seen = inside(x, y)
        assert seen.mean() > 0.5
        assert np.abs(apply(warp, picture, drawn)[0] - smooth(x, y))[seen].max() < 1.0


def test_one_warp_is_the_sequence_up_to_interpolation_and_nearer_to_the_truth(picture):
    worse = []
    for seed in range(5):
        whole = Warp(STEPS_OF_ALL)
        once = apply(whole, picture, whole.draw(np.random.default_rng(seed), HEIGHT, WIDTH))[0]
        random, sequence = np.random.default_rng(seed), picture
        singles = []
        for step in STEPS_OF_ALL:
            single = Warp([step])
            singles.append(single.draw(random, HEIGHT, WIDTH))
            sequence = apply(single, sequence, singles[-1])
        # Back from the output through each step, the last first; what left the picture on the way is mirrored there.
        x, y = grid()
        seen = np.ones_like(x, dtype=bool)
        for drawn in reversed(singles):
            for value in reversed(drawn):
                x, y = through(value, x, y) if np.ndim(value) else bent(float(value), x, y)
            seen &= inside(x, y)
        assert seen.mean() > 0.25
        truth = smooth(x, y)[seen]
        error_once, error_sequence = np.abs(once[seen] - truth), np.abs(sequence[0][seen] - truth)
        assert error_once.max() < 1.0
        assert error_sequence.max() < 6.0  # ten resamplings blur ten times
        worse.append(error_sequence.mean() / error_once.mean())
    assert min(worse) > 2.0


def test_a_run_without_a_lens_is_one_matrix_and_each_lens_parts_it():
    assert Warp(STEPS_OF_ALL[:-1]).shapes == [(3, 3)]
    rotate, lens = read_step("rotate", 5), read_step("lens", 0.1)
    assert Warp([rotate, lens, rotate]).shapes == [(3, 3), (), (3, 3)]
    assert Warp([lens]).shapes == [(3, 3), (), (3, 3)]


def test_flips_are_exact_and_happen_as_often_as_asked():
    random = np.random.default_rng(0)
    pictures = random.uniform(0, 255, (1, 5, 4, 3)).astype(np.float32)
    for name, axis in (("flip_horizontal", 2), ("flip_vertical", 1)):
        warp = Warp([read_step(name, 1.0)])
        np.testing.assert_allclose(
            apply(warp, pictures, warp.draw(random, 5, 4)), np.flip(pictures, axis), rtol=0, atol=1e-3
        )
    half = Warp([read_step("flip_horizontal", 0.5)])
    flipped = np.mean([half.draw(random, 5, 4)[0][0, 0] < 0 for _ in range(2000)])
    assert flipped == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 2000))  # four standard errors


def test_draws_stay_in_their_ranges_and_reach_both_ends():
    random = np.random.default_rng(0)

    def drawn(name: str, magnitude: float) -> np.ndarray:
        return np.array([MATRICES[name](random, read_step(name, magnitude), 100, 200) for _ in range(2000)])

    angles = np.degrees(np.arctan2(rotated := drawn("rotate", 30)[:, 1, 0], 1.0)), rotated
    assert np.degrees(np.arcsin(np.abs(angles[1]).max())) == pytest.approx(30, abs=0.2)
    crops = drawn("crop", 0.25)
    assert crops[:, 0, 0].min() == pytest.approx(0.5, abs=0.01)
    assert crops[:, 0, 0].max() == pytest.approx(1.0, abs=0.01)
    for row, side in ((0, 200), (1, 100)):  # no crop leaves the picture
        assert (np.abs(crops[:, row, 2]) + crops[:, row, row] * side / 2).max() <= side / 2 + 1e-9
    shifts = drawn("translate", 0.1)
    assert np.abs(shifts[:, 0, 2]).max() == pytest.approx(20, abs=0.2)
    assert np.abs(shifts[:, 1, 2]).max() == pytest.approx(10, abs=0.1)
    ratios = drawn("stretch", 0.5)
    aspect = ratios[:, 0, 0] / ratios[:, 1, 1]
    assert (aspect.min(), aspect.max()) == (pytest.approx(1 / 1.5, abs=0.01), pytest.approx(1.5, abs=0.01))
    np.testing.assert_allclose(np.linalg.det(ratios), 1.0)
    zooms = drawn("zoom", 0.3)[:, 0, 0]
    assert (zooms.min(), zooms.max()) == (pytest.approx(0.7, abs=0.01), pytest.approx(1.3, abs=0.01))
    assert np.abs(drawn("shear", 20)[:, 0, 1]).max() == pytest.approx(math.tan(math.radians(20)), abs=0.01)


def test_a_perspective_takes_the_corners_to_where_they_were_drawn_and_never_out():
    random = np.random.default_rng(0)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [100, 50]
    for _ in range(200):
        matrix = MATRICES["perspective"](random, read_step("perspective", 0.4), 100, 200)
        x, y = through(matrix, *corners.T)
        assert ((np.abs(x) <= 100 + 1e-9) & (np.abs(x) >= 60 - 1e-9)).all()
        assert ((np.abs(y) <= 50 + 1e-9) & (np.abs(y) >= 30 - 1e-9)).all()
    target = np.array([[0, 0], [2, 0.5], [3, 3], [-1, 2.0]])
    x, y = through(homography(corners, target), *corners.T)
    np.testing.assert_allclose(np.stack([x, y], axis=1), target, atol=1e-9)


def test_a_chance_of_zero_changes_nothing():
    for name, magnitude in MAGNITUDES.items():
        if STEPS[name].main.name == "chance":
            continue
        step = read_step(name, {STEPS[name].main.name: magnitude, "chance": 0.0})
        for value in Warp([step]).draw(np.random.default_rng(0), 10, 10):
            np.testing.assert_array_equal(value, np.eye(3) if np.ndim(value) else 0.0)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (10, 2000)])
def test_odd_pictures_pass_through(height, width):
    pictures = np.full((2, height, width, 3), 200.0, np.float32)
    warp = Warp(STEPS_OF_ALL)
    rows = [warp.draw(np.random.default_rng(seed), height, width) for seed in range(2)]
    parameters = [keras.ops.convert_to_tensor(np.stack(column)) for column in zip(*rows, strict=True)]
    got = keras.ops.convert_to_numpy(warp.apply(keras.ops.convert_to_tensor(pictures), parameters, with_keras))
    np.testing.assert_allclose(got, pictures, atol=0.05)


def test_every_geometric_step_is_drawn():
    geometric = {name for name, rule in STEPS.items() if rule.kind == "geometry"}
    assert geometric == set(MAGNITUDES) == {*MATRICES, "lens"}
    assert len(list(itertools.chain(MATRICES))) == 9
