import numpy as np
import pytest
import scipy.optimize

from tltool.augment.lens import LARGEST_STRENGTH, SMALLEST_STRENGTH, inverse_lens_scale, lens_scale
from tltool.augment.resampling import coordinates

STRENGTHS = [SMALLEST_STRENGTH, -0.2, -0.01, 0.0, 0.01, 0.3, LARGEST_STRENGTH]
HEIGHT, WIDTH = 60, 80  # the half diagonal is 50


def read_at(radius: float, strength: float) -> float:
    """Brown's model with one coefficient, in half diagonals; what it reaches outside is scaled into the picture."""
    return radius * (1 + strength * radius**2) / (1 + strength if strength > 0 else 1)


def mapped(x, y, strength: float, scale=lens_scale) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(each, np.float64)[None, None] for each in (x, y))
    factor = scale(x, y, np.array([strength]), HEIGHT, WIDTH)
    return (x * factor)[0, 0], (y * factor)[0, 0]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_follows_the_formula(strength: float):
    radii = np.linspace(0, 1, 101)
    x, y = mapped(30 * radii, -40 * radii, strength)
    expected = np.array([read_at(radius, strength) for radius in radii])
    np.testing.assert_allclose(x, 30 * expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(y, -40 * expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_never_reads_outside_and_never_folds(strength: float):
    x, y = coordinates(HEIGHT, WIDTH)
    factor = lens_scale(x, y, np.array([strength], np.float32), HEIGHT, WIDTH)
    assert factor.min() > 0
    assert np.abs(x * factor).max() <= (WIDTH - 1) / 2
    assert np.abs(y * factor).max() <= (HEIGHT - 1) / 2
    radii = np.linspace(0, 1, 1001)
    assert (np.diff(mapped(40 * radii, 30 * radii, strength)[0]) > 0).all()


def test_a_little_below_the_range_it_would_fold():
    radii = np.linspace(0, 1, 1001)
    assert (np.diff(mapped(40 * radii, 30 * radii, -0.34)[0]) < 0).any()


def test_no_strength_is_the_identity():
    x, y = coordinates(7, 5)
    np.testing.assert_array_equal(lens_scale(x, y, np.zeros(2, np.float32), 7, 5), np.ones((2, 7, 5)))


def test_barrel_keeps_corners_and_pincushion_the_middle():
    corner = mapped([40.0], [-30.0], 0.4)
    np.testing.assert_allclose(corner, [[40.0], [-30.0]], rtol=1e-12)
    assert mapped([40.0], [-30.0], -0.2)[0] < 40
    near = 1e-3
    assert mapped([near], [0.0], -0.2)[0] == pytest.approx(near, rel=1e-6)
    assert mapped([near], [0.0], 0.4)[0] == pytest.approx(near / 1.4, rel=1e-6)  # magnified


@pytest.mark.parametrize(("strength", "outward"), [(0.4, True), (-0.25, False)])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_straight_line_bulges_outward_in_a_barrel_and_inward_in_a_pincushion(strength, outward, side):
    # Where the output shows the points of a vertical line of the input, upper end, middle and lower end.
    x, _ = mapped(np.full(3, side * 20.0), [-15.0, 0.0, 15.0], strength, inverse_lens_scale)
    assert x[0] == pytest.approx(x[2])
    assert (abs(x[1]) > abs(x[0])) == outward


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_inverse_is_where_the_root_is(strength: float):
    radii = np.linspace(0, read_at(1.0, strength), 40)
    x, y = mapped(40 * radii, 30 * radii, strength, inverse_lens_scale)
    roots = [scipy.optimize.brentq(lambda r, at=at: read_at(r, strength) - at, 0, 1, xtol=1e-14) for at in radii]
    np.testing.assert_allclose(x, 40 * np.array(roots), rtol=0, atol=1e-7)
    np.testing.assert_allclose(y, 30 * np.array(roots), rtol=0, atol=1e-7)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_inverse_keeps_outside_what_is_taken_outside(strength: float):
    radii = np.linspace(0, 1.5, 301)
    x, _ = mapped(40 * radii, 30 * radii, strength, inverse_lens_scale)
    assert np.isfinite(x).all()
    assert (np.diff(x) > 0).all()
    outside = radii > read_at(1.0, strength) * (1 + 1e-9)
    assert (x[outside] > 40).all()
    assert (x[~outside] <= 40 + 1e-6).all()


def test_each_picture_has_its_own_strength_in_float32():
    x, y = coordinates(HEIGHT, WIDTH)
    strengths = np.array(STRENGTHS, np.float32)
    together = lens_scale(x, y, strengths, HEIGHT, WIDTH)
    assert together.shape == (len(STRENGTHS), HEIGHT, WIDTH)
    assert together.dtype == np.float32
    for place, strength in enumerate(strengths):
        np.testing.assert_array_equal(together[place], lens_scale(x, y, strength[None], HEIGHT, WIDTH)[0])
    # Back and forth, in float32, to a thousandth of a pixel.
    back = inverse_lens_scale(x * together, y * together, strengths, HEIGHT, WIDTH)
    np.testing.assert_allclose(together * back * x, np.broadcast_to(x, back.shape), rtol=0, atol=1e-3)


def test_the_smallest_picture_has_a_middle():
    x, y = coordinates(1, 1)
    for scale in (lens_scale, inverse_lens_scale):
        assert np.isfinite(scale(x, y, np.float32([0.5, -0.3]), 1, 1)).all()
