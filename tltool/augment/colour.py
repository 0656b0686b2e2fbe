"""Changes of colour that follow each other as one: each is affine in red, green and blue, and so is their chain.

Between separate steps values would be clipped to [0, 255]; here only the last result is, which loses less.
"""

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from tltool.augment.steps import Step

LUMA = (0.299, 0.587, 0.114)  # what red, green and blue add to grey: ITU-R BT.601
# Hue is turned in the plane of two differences of colour, at a right angle to grey, which keeps the luma: the I and Q
# of the NTSC system (Foley and van Dam, "Computer graphics", 13.3.3). Turning the hue of HSV instead takes six times as
# long and changes how bright a picture looks.
YIQ = np.array([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])


class Recolouring:
    """A run of steps of the kind "colour".

    Args:
        steps: In the order in which they would be done.
    """

    def __init__(self, steps: Sequence[Step]):
        self._steps = tuple(steps)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the parameters of one picture."""
        return [()] * len(self._steps)

    def draw(self, random: np.random.Generator, height: int, width: int) -> list[np.ndarray]:
        """One number a step: added grey levels, a factor of contrast or saturation, or a turn of the hue, radians."""
        return [np.float32(self._draw(random, step)) for step in self._steps]

    def _draw(self, random: np.random.Generator, step: Step) -> float:
        done = random.random() < step.chance
        if step.name == "grey":
            return 0.0 if done else 1.0
        change = random.uniform(-step.magnitude, step.magnitude) if done else 0.0
        if step.name == "brightness":
            return 255.0 * change
        return 2 * math.pi * change if step.name == "hue" else 1.0 + change

    def apply(self, pictures, parameters: Sequence, forms: object = None):
        """Recolours a batch.

        Args:
            pictures: Shape (B, H, W, 3), float32, in [0, 255].
            parameters: Of each step, shape (B,).
            forms: Not needed: the form is one.

        Returns:
            The shape and range of the pictures.
        """
        mean = ops.mean(pictures, axis=(1, 2))[:, :, None]  # (B, 3, 1)
        matrix = ops.broadcast_to(ops.convert_to_tensor(np.eye(3, dtype=np.float32)), (ops.shape(mean)[0], 3, 3))
        offset = ops.zeros_like(mean)
        for step, values in zip(self._steps, parameters, strict=True):
            value = ops.reshape(values, (-1, 1, 1))
            if step.name == "brightness":
                offset = offset + value
            elif step.name == "contrast":
                # About the mean of each channel, which the steps before have changed as they change any colour.
                centre = ops.matmul(matrix, mean) + offset
                matrix, offset = value * matrix, value * offset + (1 - value) * centre
            else:
                change = _turn(value) if step.name == "hue" else _fade(value)
                matrix, offset = ops.matmul(change, matrix), ops.matmul(change, offset)
        # One product for all pixels of a picture: (H W, 3) times (3, 3).
        shape = ops.shape(pictures)
        flat = ops.reshape(pictures, (-1, shape[1] * shape[2], 3))
        changed = ops.matmul(flat, ops.transpose(matrix, (0, 2, 1))) + ops.transpose(offset, (0, 2, 1))
        return ops.reshape(ops.clip(changed, 0.0, 255.0), shape)


def _fade(share):
    """Between grey (0) and the colour itself (1) and beyond, shape (B, 3, 3)."""
    grey = np.tile(np.array(LUMA, np.float32), (3, 1))
    return share * np.eye(3, dtype=np.float32) + (1 - share) * grey


def _turn(angle):
    """The hue turned by an angle, radians, shape (B, 3, 3)."""
    back = np.linalg.inv(YIQ)
    # T^-1 (e1 e1' + cos (e2 e2' + e3 e3') + sin (e3 e2' - e2 e3')) T, in three constant matrices.
    still = (back[:, :1] @ YIQ[:1]).astype(np.float32)
    turned = (back[:, 1:] @ YIQ[1:]).astype(np.float32)
    across = (back[:, 2:] @ YIQ[1:2] - back[:, 1:2] @ YIQ[2:]).astype(np.float32)
    return still + ops.cos(angle) * turned + ops.sin(angle) * across
