"""Newton-CG on functions whose minima are known, convex and not."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess_prod

from tltool.errors import DivergedError, OptimizerError
from tltool.optimizers.newton_cg import NewtonCG

MATRIX = np.diag([1.0, 10.0, 100.0]) + 0.5
TARGET = np.array([1.0, -2.0, 3.0])


def quadratic(point):
    product = MATRIX @ point
    return point @ product / 2 - TARGET @ point, product - TARGET


def rosenbrock(point):
    return rosen(point), rosen_der(point)


def test_one_newton_step_solves_a_bowl():
    """All curvatures equal: conjugate gradients need one product, and SciPy one to foretell the loss."""
    minimum = NewtonCG().solve(lambda p: (2 * p @ p - p.sum(), 4 * p - 1), np.full(3, 0.5), lambda p, v: 4 * v)
    np.testing.assert_allclose(minimum.point, 0.25, atol=1e-15)
    assert (minimum.iterations, minimum.evaluations, minimum.hessian_products) == (1, 2, 2)
    assert minimum.converged


def test_a_quadratic_ends_at_its_closed_form():
    minimum = NewtonCG(tolerance=1e-10).solve(quadratic, np.full(3, 5.0), lambda point, vector: MATRIX @ vector)
    solution = np.linalg.solve(MATRIX, TARGET)
    np.testing.assert_allclose(minimum.point, solution, atol=1e-10)
    assert minimum.loss == pytest.approx(-TARGET @ solution / 2, abs=1e-12)
    assert minimum.gradient_norm == np.abs(MATRIX @ minimum.point - TARGET).max() <= 1e-10
    assert minimum.iterations <= 10
    assert minimum.reason == "the gradient is at most 1e-10"


def test_a_minimum_far_away_is_reached_in_few_steps():
    minimum = NewtonCG().solve(lambda p: ((p - 1e6) @ (p - 1e6), 2 * (p - 1e6)), np.zeros(2), lambda p, v: 2 * v)
    np.testing.assert_allclose(minimum.point, 1e6, rtol=1e-9)
    assert minimum.iterations < 30


def test_rosenbrock_and_its_iterates():
    iterates = []
    start = np.array([-1.2, 1.0])
    minimum = NewtonCG().solve(rosenbrock, start, rosen_hess_prod, iterates.append)
    np.testing.assert_allclose(minimum.point, [1, 1], atol=1e-6)
    assert minimum.iterations == len(iterates) - 1
    np.testing.assert_array_equal(iterates[0], start)
    np.testing.assert_array_equal(iterates[-1], minimum.point)
    assert (np.diff([rosen(point) for point in iterates]) <= 0).all()


@pytest.mark.parametrize("start", [(1e-4, 0.5), (0.3, 0.3), (-2.0, 1.0)], ids=str)
def test_a_saddle_is_left_for_a_minimum(start):
    """x**4 / 4 - x**2 / 2 + y**2 / 2 curves downwards around x = 0; its minima are (1, 0) and (-1, 0), of loss -1/4."""

    def function(point):
        x, y = point
        return x**4 / 4 - x**2 / 2 + y**2 / 2, np.array([x**3 - x, y])

    minimum = NewtonCG().solve(
        function, np.array(start), lambda point, vector: np.array([3 * point[0] ** 2 - 1, 1]) * vector
    )
    assert minimum.converged
    np.testing.assert_allclose(np.abs(minimum.point), [1, 0], atol=1e-6)
    assert minimum.loss == pytest.approx(-1 / 4, abs=1e-12)


def test_a_step_out_of_the_numbers_is_shortened():
    """10 x - log(x) is a number only right of 0; its minimum is 0.1, and the first step from 0.5 leads to -0.5."""

    def function(point):
        return (10 * point[0] - np.log(point[0]), 10 - 1 / point) if point[0] > 0 else (np.nan, point)

    tried = []
    minimum = NewtonCG().solve(
        lambda point: tried.append(point[0]) or function(point),
        np.array([0.5]),
        lambda point, vector: vector / point**2,
    )
    assert min(tried) < 0
    assert minimum.converged
    assert minimum.point == pytest.approx(0.1, abs=1e-6)


def test_a_loss_with_few_digits_ends_where_they_do():
    def rounded(point):
        loss, gradient = quadratic(point)
        return float(np.float32(loss)), gradient

    # Products that are wrong by a thousandth: the last steps are never quite right.
    minimum = NewtonCG(tolerance=1e-14).solve(
        rounded, np.full(3, 5.0), lambda point, vector: 1.001 * MATRIX @ vector, precision="float32"
    )
    np.testing.assert_allclose(minimum.point, np.linalg.solve(MATRIX, TARGET), atol=1e-3)
    assert not minimum.converged
    assert minimum.iterations < 40
    assert "as exact as float32 allows" in minimum.reason


def test_iterations_that_are_used_up():
    minimum = NewtonCG(max_iterations=3).solve(rosenbrock, np.array([-1.2, 1.0]), rosen_hess_prod)
    assert minimum.iterations == 3
    assert not minimum.converged
    assert minimum.reason == "all 3 iterations were used up"


def test_a_start_at_the_minimum_is_the_answer():
    minimum = NewtonCG().solve(rosenbrock, np.ones(3), rosen_hess_prod)
    assert (minimum.iterations, minimum.evaluations, minimum.hessian_products) == (0, 1, 0)
    assert minimum.converged


def test_conjugate_gradients_that_come_to_no_end_are_stopped():
    """A Hessian, which no function has, that turns vectors by half a right angle: the residual never falls."""
    turn = 1e9 * np.array([[1.0, -1.0], [1.0, 1.0]])
    minimum = NewtonCG().solve(lambda p: (p @ p * 1e-12, p + 1.0), np.zeros(2), lambda point, vector: turn @ vector)
    assert minimum.reason == "conjugate gradients found no step: the Hessian is too uneven for float64"
    assert minimum.hessian_products <= 40


def test_a_hessian_that_is_no_number_is_an_error():
    with pytest.raises(DivergedError, match="Hessian is not finite after 0 iterations, where the loss is"):
        NewtonCG().solve(quadratic, np.ones(3), lambda point, vector: vector * np.nan)


def test_a_start_without_a_loss_is_an_error():
    with pytest.raises(DivergedError, match="loss is not a number at the start"):
        NewtonCG().solve(lambda point: (np.inf, point), np.ones(3), lambda point, vector: vector)


def test_wrong_arguments_are_all_told():
    with pytest.raises(OptimizerError) as caught:
        NewtonCG(max_iterations=0, tolerance=-1.0)
    message = str(caught.value)
    assert "newton-cg: `max_iterations` = 0: must be a whole number, 1 or above." in message
    assert "newton-cg: `tolerance` = -1.0: must be a number above 0." in message
