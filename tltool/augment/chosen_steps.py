"""RandAugment, TrivialAugment and AugMix as steps of a policy: each draws operations for a picture."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from tltool.augment.chosen_operations import apply_chosen, apply_mixture
from tltool.augment.rand_augment import OPERATIONS, draw_aug_mix, draw_rand_augment, draw_trivial_augment
from tltool.augment.steps import Step

LONGEST_CHAIN = 3  # of AugMix: Hendrycks et al., 2020, section 3
IDENTITY = OPERATIONS.index("identity")


class RandAugment:
    """Some operations of one magnitude after each other."""

    def __init__(self, step: Step):
        self._step = step
        self._layers = int(step.arguments["layers"])
        self.shapes = ((self._layers,), (self._layers,))

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        done = random.random() < self._step.chance
        drawn = draw_rand_augment(random, self._layers, self._step.magnitude)
        return [_as_number(drawn.operations if done else np.full(self._layers, IDENTITY)), drawn.magnitudes]

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        return apply_chosen(pictures, *parameters, forms)


class TrivialAugment:
    """One operation of any magnitude."""

    shapes = ((1,), (1,))

    def __init__(self, step: Step):
        self._step = step

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        done = random.random() < self._step.chance
        drawn = draw_trivial_augment(random)
        return [_as_number(drawn.operations if done else np.full(1, IDENTITY)), drawn.magnitudes]

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        return apply_chosen(pictures, *parameters, forms)


class AugMix:
    """Chains of operations, mixed with the picture itself."""

    def __init__(self, step: Step):
        self._step = step
        self._chains = int(step.arguments["chains"])
        size = (self._chains, LONGEST_CHAIN)
        self.shapes = (size, size, (self._chains + 1,))

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        done = random.random() < self._step.chance
        drawn = draw_aug_mix(random, self._step.magnitude, self._chains, LONGEST_CHAIN)
        operations = drawn.operations if done else np.full(self.shapes[0], IDENTITY)
        return [_as_number(operations), drawn.magnitudes, drawn.shares]

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        return apply_mixture(pictures, *parameters, forms)


def _as_number(operations: np.ndarray) -> np.ndarray:
    return operations.astype(np.float32)  # as all parameters are: one type of input for a compiled graph
