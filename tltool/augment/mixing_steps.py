"""MixUp and CutMix as the last steps of a policy: one of them, drawn for each batch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tltool.augment.mixing import cut_mix, draw_mixing, inside, mix_up
from tltool.augment.steps import Step
from tltool.errors import AugmentError


class Mix(NamedTuple):
    """How a batch is mixed.

    Attributes:
        partners: Whom each picture is mixed with, shape (B,), int32.
        shares: What it keeps of itself outside of its box, shape (B,), float32.
        boxes: Where its partner shows alone: left, top, right and bottom edge, pixels, shape (B, 4), float32.
    """

    partners: np.ndarray
    shares: np.ndarray
    boxes: np.ndarray


class Mixing:
    """The mixing steps of a policy.

    Args:
        steps: Of the kind "mixing"; of several one is drawn for each batch, each as likely.
    """

    def __init__(self, steps: Sequence[Step]):
        self._steps = tuple(steps)

    def __bool__(self) -> bool:
        return bool(self._steps)

    def draw(self, random: np.random.Generator, batch: int, height: int, width: int) -> Mix:
        step = self._steps[random.integers(len(self._steps))]
        partners, amounts = draw_mixing(random, batch, step.magnitude, step.name, (height, width))
        if step.name == "mix_up":
            return Mix(partners, amounts, np.zeros((batch, 4), np.float32))
        return Mix(partners, np.ones(batch, np.float32), amounts)

    def mix(self, pixels: np.ndarray, targets: np.ndarray | None, mix: Mix) -> tuple[np.ndarray, np.ndarray]:
        """The batch and its targets, mixed.

        Args:
            pixels: Shape (B, H, W, 3), float32.
            targets: Shape (B, C), in [0, 1].
            mix: What `draw` gave.

        Raises:
            AugmentError: if there are no targets, or all pictures show the same.
        """
        if targets is None:
            raise AugmentError("mix_up and cut_mix mix labels as well; give the targets, shape (pictures, classes).")
        if (mix.shares < 1).any():
            return mix_up(pixels, targets, mix.partners, mix.shares)
        return cut_mix(pixels, targets, mix.partners, mix.boxes)


def mix_pictures(pictures: Any, partners: Any, shares: Any, boxes: Any) -> Any:
    """The same for tensors inside of a compiled graph, without targets."""
    kept = ops.reshape(shares, (-1, 1, 1, 1)) * (1.0 - inside(boxes, *pictures.shape[1:3]))
    return kept * pictures + (1.0 - kept) * ops.take(pictures, ops.cast(partners, "int32"), axis=0)
