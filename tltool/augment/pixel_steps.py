"""Steps that are done one by one: each draws the parameters of an operation on pixels."""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from tltool.augment.steps import Step
from tltool.data.decoding import PADDING

# A grid mask's holes lie this far apart, as shares of the shorter side: Chen et al., 2020, let it range over pictures
# of 224 pixels from 96 up; below a tenth a network's first stages would see little but holes.
GRID_DISTANCES = (0.2, 0.6)
LEAST_ASPECT = 0.3  # of an erased rectangle, to 1 / 0.3: Zhong et al., 2020, section 4
LEAST_AREA = 0.02  # of an erased rectangle, share of the picture, where the largest allows it: the same
UNTOUCHED = 0.0  # a quality that no codec has: the picture stays as it is


class Blur:
    """Gaussian blur of a random width."""

    shapes = ((),)

    def __init__(self, step: Step):
        self._step = step

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        done = random.random() < self._step.chance
        return [np.float32(random.uniform(0.0, self._step.magnitude) if done else 0.0)]

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        return forms.blur(pictures, parameters[0], largest=max(self._step.magnitude, 0.1))


class Jpeg:
    """What saving as JPEG at a random quality costs."""

    shapes = ((),)

    def __init__(self, step: Step):
        self._step = step

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        done = random.random() < self._step.chance
        return [np.float32(random.integers(int(self._step.magnitude), 101) if done else UNTOUCHED)]

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        return forms.jpeg(pictures, parameters[0])


class _Rectangle:
    shapes = ((4,), (3,))

    def __init__(self, step: Step):
        self._step = step

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        return forms.erase(pictures, *parameters)


class Cutout(_Rectangle):
    """A grey square anywhere, part of it perhaps outside of the picture."""

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        done = random.random() < self._step.chance
        x, y = random.uniform(0, width), random.uniform(0, height)
        half = (self._step.magnitude if done else 0.0) / 2
        box = [x - half * width, y - half * height, x + half * width, y + half * height]
        return [np.float32(np.rint(box)), np.full(3, PADDING, np.float32)]


class Erase(_Rectangle):
    """A rectangle of a random colour, size and shape, inside of the picture."""

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        done = random.random() < self._step.chance
        largest = self._step.magnitude if done else 0.0
        area = random.uniform(min(LEAST_AREA, largest), largest)
        aspect = math.exp(random.uniform(math.log(LEAST_ASPECT), -math.log(LEAST_ASPECT)))
        # A rectangle longer than the picture is cut to it.
        high = min(math.sqrt(area * aspect), 1.0) * height
        wide = min(math.sqrt(area / aspect), 1.0) * width
        left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
        return [
            np.float32(np.rint([left, top, left + wide, top + high])),
            np.float32(random.uniform(0, 255, 3)),
        ]


class GridMask:
    """A turned grid of grey squares."""

    shapes = ((), (), (), (2,))

    def __init__(self, step: Step):
        self._step = step

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        done = random.random() < self._step.chance
        distance = max(random.uniform(*GRID_DISTANCES) * min(height, width), 1.0)
        return [
            np.float32(self._step.magnitude if done else 0.0),
            np.float32(distance),
            np.float32(random.uniform(0, math.pi / 2)),
            np.float32(random.uniform(0, distance, 2)),
        ]

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        fill = np.full((1, 3), PADDING, np.float32)
        return forms.grid_mask(pictures, *parameters, fill)
