"""Surfaces of two weights on which optimizers show how they move: losses, slopes and curvatures in closed form."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tltool.errors import OptimizerError
from tltool.optimizers.arguments import suggestion

STEEP = (
    50.0  # the bowl's curvatures are 1 and this: at 20 SGD beats momentum, at 100 a picture shows only the steep one
)
NARROW = 50.0  # curvature across the ravine
TILT = 0.3  # of the two wells; from 2 / (3 sqrt 3) = 0.385 on, the shallow one is gone
WALL = 4.0  # curvature across the saddle's ridge


@dataclass(frozen=True)
class Surface:
    """A loss of two weights; 0 at its lowest point, so that a logarithmic axis shows how near a path comes.

    Attributes:
        name: Its name in `SURFACES`.
        summary: What it teaches.
        loss: Losses of points, from shape (..., 2) to shape (...).
        gradient: The slope at a point, from shape (2,) to shape (2,).
        hessian: The curvature at a point, from shape (2,) to shape (2, 2).
        start: Where paths start.
        minimum: The lowest point; where there are two, the one on the start's side. None if there is none.
        limits: What a picture shows: left, right, bottom, top.
    """

    name: str
    summary: str
    loss: Callable[[np.ndarray], np.ndarray]
    gradient: Callable[[np.ndarray], np.ndarray]
    hessian: Callable[[np.ndarray], np.ndarray]
    start: tuple[float, float]
    minimum: tuple[float, float] | None
    limits: tuple[float, float, float, float]


def _bowl() -> Surface:
    curvature = np.array([1.0, STEEP])
    return Surface(
        name="bowl",
        summary="50 times steeper across than along: SGD zig-zags, momentum overshoots, steps per weight go straight.",
        loss=lambda points: 0.5 * (np.asarray(points) ** 2 @ curvature),
        gradient=lambda point: curvature * point,
        hessian=lambda point: np.diag(curvature),
        start=(-4.0, 1.6),
        minimum=(0.0, 0.0),
        limits=(-4.6, 2.4, -1.9, 1.9),
    )


def _saddle() -> Surface:
    def loss(points: np.ndarray) -> np.ndarray:
        x, y = np.moveaxis(np.asarray(points), -1, 0)
        return 0.5 * WALL * x**2 + 0.25 * (y**2 - 1) ** 2

    return Surface(
        name="saddle",
        summary="A pass between two minima, reached almost on its ridge: SGD lingers where the slope is near 0.",
        loss=loss,
        gradient=lambda point: np.array([WALL * point[0], point[1] * (point[1] ** 2 - 1)]),
        hessian=lambda point: np.diag([WALL, 3 * point[1] ** 2 - 1]),
        start=(-1.4, 0.001),
        minimum=(0.0, 1.0),
        limits=(-1.6, 1.0, -1.4, 1.4),
    )


def _ravine() -> Surface:
    # Rows: along the floor and across it; turned, so that no weight has a direction of its own.
    turn = np.array([[1.0, 1.0], [-1.0, 1.0]]) / math.sqrt(2)

    def loss(points: np.ndarray) -> np.ndarray:
        along, across = np.moveaxis(np.asarray(points) @ turn.T, -1, 0)
        return np.sqrt(1 + along**2) - 1 + 0.5 * NARROW * across**2

    def gradient(point: np.ndarray) -> np.ndarray:
        along, across = turn @ point
        return turn.T @ np.array([along / np.sqrt(1 + along**2), NARROW * across])

    def hessian(point: np.ndarray) -> np.ndarray:
        along = turn[0] @ point
        return turn.T @ np.diag([(1 + along**2) ** -1.5, NARROW]) @ turn

    return Surface(
        name="ravine",
        summary="A narrow valley at 45 degrees to the weights: steps per weight gain nothing, only curvature knows it.",
        loss=loss,
        gradient=gradient,
        hessian=hessian,
        start=(-3.2, -2.4),
        minimum=(0.0, 0.0),
        limits=(-3.8, 1.8, -3.2, 1.6),
    )


def _local_minimum() -> Surface:
    # Where x^3 - x + TILT = 0: the deep well, and the height that makes its loss 0.
    deep = float(np.min(np.roots([1.0, 0.0, -1.0, TILT]).real))
    depth = 0.25 * (deep**2 - 1) ** 2 + TILT * deep

    def loss(points: np.ndarray) -> np.ndarray:
        x, y = np.moveaxis(np.asarray(points), -1, 0)
        return 0.25 * (x**2 - 1) ** 2 + TILT * x - depth + 0.5 * y**2

    return Surface(
        name="local-minimum",
        summary="A shallow well before a deep one: SGD stays in the first, momentum has the speed to leave it.",
        loss=loss,
        gradient=lambda point: np.array([point[0] ** 3 - point[0] + TILT, point[1]]),
        hessian=lambda point: np.diag([3 * point[0] ** 2 - 1, 1.0]),
        start=(2.0, 1.2),
        minimum=(deep, 0.0),
        limits=(-2.2, 2.4, -1.6, 1.6),
    )


def _rosenbrock() -> Surface:
    def loss(points: np.ndarray) -> np.ndarray:
        x, y = np.moveaxis(np.asarray(points), -1, 0)
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2

    def gradient(point: np.ndarray) -> np.ndarray:
        x, y = point
        return np.array([-2 * (1 - x) - 400 * x * (y - x**2), 200 * (y - x**2)])

    def hessian(point: np.ndarray) -> np.ndarray:
        x, y = point
        return np.array([[2 - 400 * (y - 3 * x**2), -400 * x], [-400 * x, 200.0]])

    return Surface(
        name="rosenbrock",
        summary="A curved valley with a flat floor (Rosenbrock 1960): slopes alone crawl, curvature knows the bend.",
        loss=loss,
        gradient=gradient,
        hessian=hessian,
        start=(-1.2, 1.0),
        minimum=(1.0, 1.0),
        limits=(-1.7, 1.7, -0.6, 2.0),
    )


# f(x, y) = sum over k of (c_k - x + x y^k)^2, k = 1, 2, 3.
BEALE = ((1.5, 1), (2.25, 2), (2.625, 3))


def _beale() -> Surface:
    def loss(points: np.ndarray) -> np.ndarray:
        x, y = np.moveaxis(np.asarray(points), -1, 0)
        return sum((c - x + x * y**k) ** 2 for c, k in BEALE)

    def gradient(point: np.ndarray) -> np.ndarray:
        x, y = point
        return sum(2 * (c - x + x * y**k) * np.array([y**k - 1, k * x * y ** (k - 1)]) for c, k in BEALE)

    def hessian(point: np.ndarray) -> np.ndarray:
        x, y = point
        total = np.zeros((2, 2))
        for c, k in BEALE:
            rest, slope = c - x + x * y**k, np.array([y**k - 1, k * x * y ** (k - 1)])
            bend = k * (k - 1) * x * y ** (k - 2) if k > 1 else 0.0
            total += 2 * (np.outer(slope, slope) + rest * np.array([[0.0, k * y ** (k - 1)], [k * y ** (k - 1), bend]]))
        return total

    return Surface(
        name="beale",
        summary="Flat in the middle, steep at the corners (Beale 1958): one rate is too small here, too large there.",
        loss=loss,
        gradient=gradient,
        hessian=hessian,
        start=(0.6, 1.6),
        minimum=(3.0, 0.5),
        limits=(-0.6, 4.4, -1.0, 2.2),
    )


SURFACES = {
    surface.name: surface for surface in (_bowl(), _saddle(), _ravine(), _local_minimum(), _rosenbrock(), _beale())
}


def find_surface(surface: str | Surface) -> Surface:
    """A surface by name; a surface is returned as it is.

    Raises:
        OptimizerError: if there is none of that name.
    """
    if isinstance(surface, Surface):
        return surface
    if not isinstance(surface, str) or surface not in SURFACES:
        raise OptimizerError(
            f"Unknown surface {surface!r}.{suggestion(str(surface), SURFACES)} There are {', '.join(SURFACES)}."
        )
    return SURFACES[surface]
