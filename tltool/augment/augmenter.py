"""A policy at work: draws numbers on the host, and hands them to operations that know no chance.

One generator a picture, seeded by what the picture is and not by when its turn comes: the same seed gives the same
pictures on any backend, with any number of threads, in batches of any size.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from keras import ops

from tltool.augment.chosen_steps import AugMix, RandAugment, TrivialAugment
from tltool.augment.colour import Recolouring
from tltool.augment.forms import operations
from tltool.augment.geometry import Warp
from tltool.augment.mixing_steps import Mix, Mixing
from tltool.augment.pixel_steps import Blur, Cutout, Erase, GridMask, Jpeg
from tltool.augment.policies import Policy, read_policy
from tltool.augment.steps import Step


class Pass(Protocol):
    """What is done to a batch at once: a run of steps, or one."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the parameters of one picture."""

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        """The parameters of one picture, float32."""

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        """The pictures, shape (B, H, W, 3), float32, in [0, 255], after it."""


JOINED: Mapping[str, type] = {"geometry": Warp, "colour": Recolouring}
SINGLE: Mapping[str, type] = {
    "blur": Blur,
    "jpeg": Jpeg,
    "cutout": Cutout,
    "erase": Erase,
    "grid_mask": GridMask,
    "rand_augment": RandAugment,
    "trivial_augment": TrivialAugment,
    "aug_mix": AugMix,
}


def passes_of(steps: Sequence[Step]) -> list[Pass]:
    """The fewest passes that do these steps in their order; mixing is not among them."""
    passes: list[Pass] = []
    for kind, run in groupby(steps, key=lambda step: step.kind):
        if kind in JOINED:
            passes.append(JOINED[kind](list(run)))
        elif kind != "mixing":
            passes += [SINGLE[step.name](step) for step in run]
    return passes


class Augmenter:
    """Changes batches of pictures, and their labels where pictures are mixed.

    Args:
        policy: A name, a table of steps, or a `Policy`.
        seed: Of all draws, >= 0.

    Raises:
        AugmentError: if there is no such policy or step, or a number is out of range.
    """

    def __init__(self, policy: str | Mapping[str, Any] | Policy, seed: int = 0):
        self.policy = read_policy(policy)
        self.passes = passes_of(self.policy.steps)
        self.mixing = Mixing([step for step in self.policy.steps if step.kind == "mixing"])
        self.seed = seed

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the parameters of one picture, pass after pass."""
        return [tuple(shape) for each in self.passes for shape in each.shapes]

    def draw(self, pictures: Sequence[int], epoch: int, height: int, width: int) -> list[np.ndarray]:
        """The parameters of a batch: for each of `shapes` an array with the pictures in front, float32.

        Args:
            pictures: What each picture is: a whole number >= 0, such as its position in the data set.
            epoch: Another one gives other draws, >= 0.
            height, width: Of the pictures, pixels.
        """
        rows = []
        for picture in pictures:
            random = np.random.default_rng((self.seed, epoch, int(picture)))
            rows.append([value for each in self.passes for value in each.draw(random, height, width)])
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def apply(self, pictures: Any, parameters: Sequence, forms: ModuleType) -> Any:
        """Passes with given parameters, inside a compiled graph or out of it.

        Args:
            pictures: Shape (B, H, W, 3), float32, in [0, 255].
            parameters: As `draw` gives them.
            forms: `tltool.augment.with_keras`, or `with_keras_cv` outside of compiled graphs.
        """
        start = 0
        for each in self.passes:
            count = len(each.shapes)
            pictures = each.apply(pictures, parameters[start : start + count], forms)
            start += count
        return pictures

    def __call__(
        self,
        pixels: np.ndarray,
        targets: np.ndarray | None = None,
        pictures: Sequence[int] | None = None,
        epoch: int = 0,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Augments a batch, from any thread.

        Args:
            pixels: Shape (B, H, W, 3), uint8, or float in [0, 255].
            targets: Shape (B, C): what each picture is of each class, in [0, 1]; needed where the policy mixes.
            pictures: What each picture is, as for `draw`; their positions in the batch where None.
            epoch: Another one gives other draws, >= 0.

        Returns:
            Pixels of the given shape and type; and the targets, soft where pictures were mixed.

        Raises:
            AugmentError: if pictures are to be mixed and there are no targets, or all show the same.
        """
        if not self.policy or len(pixels) == 0:
            return pixels, targets
        pictures = range(len(pixels)) if pictures is None else pictures
        changed = pixels
        if self.passes:
            parameters = [ops.convert_to_tensor(values) for values in self.draw(pictures, epoch, *pixels.shape[1:3])]
            changed = self.apply(ops.convert_to_tensor(pixels, "float32"), parameters, operations())
            changed = ops.convert_to_numpy(changed)
        if self.mixing:
            mix = self._draw_mix(pictures, epoch, *pixels.shape[:3])
            changed, targets = self.mixing.mix(changed.astype(np.float32), targets, mix)
        if pixels.dtype == np.uint8:
            changed = np.clip(np.rint(changed), 0, 255)
        return changed.astype(pixels.dtype, copy=False), targets

    def inputs(
        self, pixels: np.ndarray, targets: np.ndarray, pictures: Sequence[int], epoch: int
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The same for a model that augments by itself: what `in_model.augmenting` takes, and the targets.

        Arguments are those of a call; a batch that shows a single class is left unmixed.
        """
        given = [pixels, *self.draw(pictures, epoch, *pixels.shape[1:3])]
        if self.mixing:
            mix = self._draw_mix(pictures, epoch, *pixels.shape[:3])
            if of_one_kind(targets):
                mix = Mix(mix.partners, np.ones_like(mix.shares), np.zeros_like(mix.boxes))
            else:
                targets = self.mixing.mix(np.zeros((*pixels.shape[:3], 1), np.float32), targets, mix)[1]
            given += [mix.partners.astype(np.float32), mix.shares, mix.boxes]
        return given, targets

    def _draw_mix(self, pictures: Sequence[int], epoch: int, batch: int, height: int, width: int) -> Mix:
        return self.mixing.draw(np.random.default_rng((self.seed, epoch, int(pictures[0]), 1)), batch, height, width)


def of_one_kind(targets: np.ndarray) -> bool:
    """Whether all rows are the same: then there is nothing to mix."""
    return bool((targets == targets[:1]).all())
