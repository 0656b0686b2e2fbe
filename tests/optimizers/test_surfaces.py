"""The closed forms of the surfaces against differences of the loss, SciPy's Rosenbrock, and known minima."""

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der, rosen_hess

from tltool.errors import OptimizerError
from tltool.optimizers.surfaces import SURFACES, Surface, find_surface

EVERY = pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)


def points_inside(surface: Surface, count: int = 20) -> np.ndarray:
    left, right, bottom, top = surface.limits
    return np.random.default_rng(0).uniform((left, bottom), (right, top), (count, 2))


def differences(function, point: np.ndarray, width: float = 1e-5) -> np.ndarray:
    """Central differences along both weights; the first axis says which."""
    return np.array([(function(point + step) - function(point - step)) / (2 * width) for step in width * np.eye(2)])


@EVERY
def test_slopes_and_curvatures_are_those_of_the_loss(surface):
    for point in points_inside(surface):
        assert surface.gradient(point) == pytest.approx(differences(surface.loss, point), rel=1e-5, abs=1e-5)
        assert surface.hessian(point) == pytest.approx(differences(surface.gradient, point), rel=1e-5, abs=1e-5)


@EVERY
def test_the_lowest_point_has_loss_zero_and_no_slope(surface):
    lowest = np.array(surface.minimum)
    assert surface.loss(lowest) == pytest.approx(0, abs=1e-14)
    assert surface.gradient(lowest) == pytest.approx([0, 0], abs=1e-12)
    assert np.linalg.eigvalsh(surface.hessian(lowest)).min() > 0
    found = [minimize(surface.loss, point, jac=surface.gradient).fun for point in points_inside(surface, 10)]
    assert min(found) >= -1e-12


@EVERY
def test_a_picture_shows_start_and_minimum(surface):
    left, right, bottom, top = surface.limits
    for x, y in (surface.start, surface.minimum):
        assert left < x < right
        assert bottom < y < top


@EVERY
def test_losses_of_many_points_are_those_of_each(surface):
    grid = points_inside(surface, 6).reshape(2, 3, 2)
    together = surface.loss(grid)
    assert together.shape == (2, 3)
    assert together == pytest.approx(np.array([[surface.loss(point) for point in row] for row in grid]), rel=1e-13)


def test_rosenbrock_is_scipys():
    surface = SURFACES["rosenbrock"]
    for point in points_inside(surface):
        assert surface.loss(point) == pytest.approx(rosen(point))
        assert surface.gradient(point) == pytest.approx(rosen_der(point))
        assert surface.hessian(point) == pytest.approx(rosen_hess(point))


def test_beale_at_points_from_the_books():
    loss = SURFACES["beale"].loss
    assert loss(np.array([0.0, 0.0])) == pytest.approx(14.203125)  # 1.5^2 + 2.25^2 + 2.625^2
    assert loss(np.array([0.0, 1.0])) == pytest.approx(14.203125)


def test_the_saddle_has_one_and_is_bounded_below():
    surface = SURFACES["saddle"]
    assert surface.gradient(np.zeros(2)) == pytest.approx([0, 0])
    assert np.sign(np.linalg.eigvalsh(surface.hessian(np.zeros(2)))) == pytest.approx([-1, 1])
    assert surface.loss(np.array([0.0, 1.0])) == surface.loss(np.array([0.0, -1.0])) == 0


def test_the_shallow_well_lies_between_start_and_minimum():
    surface = SURFACES["local-minimum"]
    downhill = minimize(surface.loss, (1.2, 0.3), jac=surface.gradient)
    assert surface.minimum[0] < downhill.x[0] < surface.start[0]
    assert downhill.fun > 0.1
    assert np.linalg.eigvalsh(surface.hessian(downhill.x)).min() > 0


def test_the_ravines_floor_is_steep_across_and_turned():
    values, directions = np.linalg.eigh(SURFACES["ravine"].hessian(np.zeros(2)))
    assert values == pytest.approx([1, 50])
    assert np.abs(directions) == pytest.approx(np.full((2, 2), 0.5**0.5))


def test_a_surface_is_found_by_name():
    assert find_surface("bowl") is SURFACES["bowl"]
    assert find_surface(SURFACES["beale"]) is SURFACES["beale"]
    with pytest.raises(OptimizerError, match=r"'rosenbrok'.* Did you mean `rosenbrock`\? There are bowl, saddle"):
        find_surface("rosenbrok")
