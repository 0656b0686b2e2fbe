"""Geometric steps that follow each other as one warp: every pixel is read once, where the whole chain takes it from.

A sequence of resamplings blurs a little more with each; one warp blurs once, and takes the time of one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from tltool.augment.lens import lens_scale
from tltool.augment.resampling import compiled, coordinates, sample_as_written, transformed
from tltool.augment.steps import Step

# A step's matrix takes centred coordinates of its output, in pixels, to those of its input: (x, y, 1) as a column.
Draw = Callable[[np.random.Generator, Step, int, int], np.ndarray]


def _either_way(random: np.random.Generator, largest: float) -> float:
    return random.uniform(-largest, largest)


def _flip_horizontal(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    return np.diag([-1.0, 1.0, 1.0])


def _flip_vertical(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    return np.diag([1.0, -1.0, 1.0])


def _rotate(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    angle = math.radians(_either_way(random, step.magnitude))
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _crop(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    side = math.sqrt(random.uniform(step.magnitude, 1.0))
    x, y = _either_way(random, (1 - side) / 2), _either_way(random, (1 - side) / 2)
    return np.array([[side, 0.0, x * width], [0.0, side, y * height], [0.0, 0.0, 1.0]])


def _zoom(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    scale = 1.0 + _either_way(random, step.magnitude)
    return np.diag([scale, scale, 1.0])


def _translate(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    x, y = _either_way(random, step.magnitude), _either_way(random, step.magnitude)
    return np.array([[1.0, 0.0, x * width], [0.0, 1.0, y * height], [0.0, 0.0, 1.0]])


def _stretch(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    # Drawn evenly on the scale of logarithms, so that wider and higher are as likely; the area stays.
    side = math.exp(_either_way(random, math.log1p(step.magnitude)) / 2)
    return np.diag([side, 1 / side, 1.0])


def _shear(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    largest = math.radians(step.magnitude)
    along_x, along_y = math.tan(_either_way(random, largest)), math.tan(_either_way(random, largest))
    return np.array([[1.0, along_x, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ np.array(
        [[1.0, 0.0, 0.0], [along_y, 1.0, 0.0], [0.0, 0.0, 1.0]]
    )


def _perspective(random: np.random.Generator, step: Step, height: int, width: int) -> np.ndarray:
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    half = np.array([width / 2, height / 2])
    # Corners only move inward: nothing outside of the picture is shown.
    moved = corners * (1.0 - random.uniform(0.0, step.magnitude, (4, 2)))
    return homography(corners * half, moved * half)


MATRICES: Mapping[str, Draw] = {
    "flip_horizontal": _flip_horizontal,
    "flip_vertical": _flip_vertical,
    "rotate": _rotate,
    "crop": _crop,
    "zoom": _zoom,
    "translate": _translate,
    "stretch": _stretch,
    "shear": _shear,
    "perspective": _perspective,
}


def homography(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The projective map that takes four points to four others.

    Args:
        source, target: Shape (4, 2); no three of a set on a line.

    Returns:
        Shape (3, 3), the last number 1.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1.0).reshape(3, 3)


class Warp:
    """A run of geometric steps.

    Args:
        steps: In the order in which they would be done; each of the kind "geometry".
    """

    def __init__(self, steps: Sequence[Step]):
        # Matrices between two lenses are one matrix: parts is matrix, lens, matrix, ..., matrix.
        self._parts: list[list[Step] | Step] = [[]]
        for step in steps:
            if step.name == "lens":
                self._parts += [step, []]
            else:
                self._parts[-1].append(step)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the parameters of one picture."""
        return [(3, 3) if isinstance(part, list) else () for part in self._parts]

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        """The parameters of one picture, of `shapes`, float32."""
        drawn = []
        for part in self._parts:
            if isinstance(part, list):
                matrix = np.eye(3)
                for step in part:
                    # The last step is the first on the way from the output back to the input.
                    if random.random() < step.chance:
                        matrix = matrix @ MATRICES[step.name](random, step, height, width)
                drawn.append(matrix.astype(np.float32))
            else:
                strength = _either_way(random, part.magnitude) if random.random() < part.chance else 0.0
                drawn.append(np.float32(strength))
        return drawn

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        """Warps a batch.

        Args:
            pictures: Shape (B, H, W, C), float32.
            parameters: Of each of `shapes`, with B in front.
            forms: Has `project`.

        Returns:
            The shape of the pictures.
        """
        if len(parameters) == 1:
            return forms.project(pictures, parameters[0])
        return compiled(_through(tuple(self.shapes)), pictures, *parameters)


@cache  # compiled once for each function object
def _through(shapes: tuple[tuple[int, ...], ...]) -> Callable:
    """A warp through matrices and lenses, told apart by the shapes of their parameters."""

    def warp(pictures: Any, *parameters: Any) -> Any:
        height, width = pictures.shape[1:3]
        x, y = coordinates(height, width)
        for shape, values in reversed(list(zip(shapes, parameters, strict=True))):
            if shape:
                x, y = transformed(values, x, y)
            else:
                scale = lens_scale(x, y, values, height, width)
                x, y = x * scale, y * scale
        return sample_as_written(pictures, x + (width - 1) / 2, y + (height - 1) / 2)

    return warp
