"""L-BFGS on functions whose minima are known."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from tltool.errors import DivergedError, OptimizerError
from tltool.optimizers.lbfgs import LBFGS

MATRIX = np.diag([1.0, 10.0, 100.0]) + 0.5
TARGET = np.array([1.0, -2.0, 3.0])


def quadratic(point):
    product = MATRIX @ point
    return point @ product / 2 - TARGET @ point, product - TARGET


def test_a_quadratic_ends_at_its_closed_form():
    minimum = LBFGS(tolerance=1e-9).solve(quadratic, np.full(3, 5.0))
    solution = np.linalg.solve(MATRIX, TARGET)
    np.testing.assert_allclose(minimum.point, solution, atol=1e-9)
    assert minimum.loss == pytest.approx(-TARGET @ solution / 2, abs=1e-12)
    assert minimum.gradient_norm == np.abs(MATRIX @ minimum.point - TARGET).max() <= 1e-9
    assert minimum.converged
    assert minimum.reason == "the gradient is at most 1e-09"
    assert minimum.iterations < minimum.evaluations < 40


def test_rosenbrock_and_its_iterates():
    iterates, evaluated = [], []

    def function(point):
        evaluated.append(point.copy())
        return rosen(point), rosen_der(point)

    start = np.array([-1.2, 1.0])
    minimum = LBFGS().solve(function, start, iterates.append)
    np.testing.assert_allclose(minimum.point, [1, 1], atol=1e-5)
    assert minimum.evaluations == len(evaluated)
    assert minimum.iterations == len(iterates) - 1
    np.testing.assert_array_equal(iterates[0], [-1.2, 1.0])
    np.testing.assert_array_equal(iterates[-1], minimum.point)
    losses = [rosen(point) for point in iterates]
    assert (np.diff(losses) < 0).all()
    np.testing.assert_array_equal(start, [-1.2, 1.0])


def test_more_memory_takes_fewer_iterations():
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.normal(size=(40, 40)))
    matrix = rotation * np.logspace(0, 2, 40) @ rotation.T

    def iterations(memory):
        minimum = LBFGS(memory).solve(lambda point: (point @ matrix @ point / 2, matrix @ point), np.ones(40))
        assert minimum.converged
        return minimum.iterations

    assert iterations(40) < 0.7 * iterations(2)


def test_a_start_at_the_minimum_is_the_answer():
    minimum = LBFGS().solve(quadratic, np.linalg.solve(MATRIX, TARGET))
    assert (minimum.iterations, minimum.evaluations, minimum.converged) == (0, 1, True)


def test_iterations_that_are_used_up():
    minimum = LBFGS(max_iterations=3).solve(lambda point: (rosen(point), rosen_der(point)), np.array([-1.2, 1.0]))
    assert minimum.iterations == 3
    assert not minimum.converged
    assert minimum.reason == "all 3 iterations were used up"


def test_a_loss_with_few_digits_ends_where_they_do():
    def rounded(point):
        loss, gradient = quadratic(point)
        return float(np.float32(loss)), gradient

    minimum = LBFGS(tolerance=1e-12).solve(rounded, np.full(3, 5.0), precision="float32")
    np.testing.assert_allclose(minimum.point, np.linalg.solve(MATRIX, TARGET), atol=1e-3)
    assert not minimum.converged
    assert "no step found a lower point: the loss is as exact as float32 allows" in minimum.reason


def test_a_loss_that_is_lost_on_the_way_is_an_error():
    """The first step has length 1, and leads from 0.5 to where there is no loss."""
    with pytest.raises(DivergedError, match=r"at evaluation 2; the loss before was 3\.5\. .*take NewtonCG"):
        LBFGS().solve(lambda point: (4 - point[0] if point[0] < 1 else np.nan, -np.ones(1)), np.array([0.5]))


def test_wrong_arguments_are_all_told():
    with pytest.raises(OptimizerError) as caught:
        LBFGS(memory=0, max_iterations=2.5, tolerance=0)
    message = str(caught.value)
    assert "lbfgs: `memory` = 0: must be a whole number, 1 or above." in message
    assert "lbfgs: `max_iterations` = 2.5: must be a whole number, 1 or above." in message
    assert "lbfgs: `tolerance` = 0: must be a number above 0." in message
    with pytest.raises(OptimizerError, match=r"start has shape \(0,\)"):
        LBFGS().solve(quadratic, [])
