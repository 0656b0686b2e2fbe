"""Does to each picture of a batch the operation that was drawn for it: RandAugment, TrivialAugment and AugMix.

Operations of a kind are one: all that move pixels are one warp with a matrix for each picture, all that fade a picture
toward another are one fade. Outside of graphs each kind gets the pictures that drew it; in a graph, where shapes are
fixed, each gets all of them and what was drawn is selected.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from tltool.augment.colour import LUMA
from tltool.augment.rand_augment import OPERATIONS

Operation = Callable[[Any, Any, Any, ModuleType], Any]


@dataclass(frozen=True)
class Kind:
    """Operations that are done at once.

    Attributes:
        names: Of `OPERATIONS`.
        apply: From pictures, operations, magnitudes and forms to pictures.
    """

    names: tuple[str, ...]
    apply: Operation

    @property
    def members(self) -> list[int]:
        return [OPERATIONS.index(name) for name in self.names]


def apply_chosen(images: Any, operations: Any, magnitudes: Any, forms: ModuleType) -> Any:
    """Does the operations that were drawn, layer after layer.

    Args:
        images: Shape (B, H, W, 3), float32, in [0, 255], H and W known.
        operations: Positions in `OPERATIONS`, shape (B, layers).
        magnitudes: The parameter of each, shape (B, layers); see `rand_augment.Chosen`.
        forms: `with_keras`, or `with_keras_cv` outside of compiled graphs.

    Returns:
        Shape (B, H, W, 3), in [0, 255].
    """
    drawn = _readable(operations)
    magnitudes = ops.convert_to_tensor(magnitudes, "float32")
    for layer in range(operations.shape[1]):
        if drawn is None:
            images = _selected(images, operations[:, layer], magnitudes[:, layer], forms)
        else:
            images = _grouped(images, drawn[:, layer], magnitudes[:, layer], forms)
    return images


def apply_mixture(images: Any, operations: Any, magnitudes: Any, shares: Any, forms: ModuleType) -> Any:
    """Does chains of operations to each picture, and mixes it with what comes out of them: AugMix.

    Args:
        images: Shape (B, H, W, 3), float32, in [0, 255], H and W known.
        operations: Positions in `OPERATIONS`, shape (B, chains, depth).
        magnitudes: The parameter of each, shape (B, chains, depth).
        shares: Of the picture itself, then of each chain, shape (B, 1 + chains).
        forms: `with_keras`, or `with_keras_cv` outside of compiled graphs.

    Returns:
        Shape (B, H, W, 3), in [0, 255].
    """
    chains, depth = operations.shape[1:]
    height, width = images.shape[1:3]
    # All chains of all pictures as one batch: a graph then holds each operation once for each link, not for each chain.
    many = ops.repeat(images, chains, axis=0)
    changed = apply_chosen(many, ops.reshape(operations, (-1, depth)), ops.reshape(magnitudes, (-1, depth)), forms)
    changed = ops.reshape(changed, (-1, chains, height, width, 3))
    shares = ops.convert_to_tensor(shares, "float32")[:, :, None, None, None]
    return shares[:, 0] * images + ops.sum(shares[:, 1:] * changed, axis=1)


def _readable(operations: Any) -> np.ndarray | None:
    """What was drawn, where it can be read: not in graphs. JAX would compile anew for each number of pictures."""
    if keras.backend.backend() != "tensorflow":
        return None
    try:
        return np.asarray(operations).astype(int)
    except NotImplementedError:
        return None


def _grouped(images: Any, drawn: np.ndarray, magnitudes: Any, forms: ModuleType) -> Any:
    done, order = [], []
    for kind in KINDS:
        rows = np.flatnonzero(np.isin(drawn, kind.members))
        if rows.size:
            some = ops.take(images, rows, axis=0)
            done.append(kind.apply(some, drawn[rows], ops.take(magnitudes, rows), forms))
            order.append(rows)
    rest = np.setdiff1d(np.arange(len(drawn)), np.concatenate([*order, []]))
    if rest.size:
        done.append(ops.take(images, rest.astype(int), axis=0))
        order.append(rest.astype(int))
    return ops.take(ops.concatenate(done), np.argsort(np.concatenate(order)), axis=0)


def _selected(images: Any, operations: Any, magnitudes: Any, forms: ModuleType) -> Any:
    operations = ops.cast(operations, "int32")
    result = images
    for kind in KINDS:
        # What a kind makes of another's magnitude, such as 256 bits, is nonsense, and is not selected.
        drawn = ops.any(operations[:, None] == np.array(kind.members, np.int32)[None], axis=1)
        done = kind.apply(images, operations, magnitudes, forms)
        result = ops.where(drawn[:, None, None, None], done, result)
    return result


def _where(operations: Any, name: str, value: Any) -> Any:
    return ops.where(ops.equal(operations, OPERATIONS.index(name)), value, 0.0)


def _move(images: Any, operations: Any, magnitudes: Any, forms: ModuleType) -> Any:
    """Rotates, shears or translates; outside of the picture lies its mirror image."""
    height, width = images.shape[1:3]
    angle = _where(operations, "rotate", magnitudes * (math.pi / 180))
    cos, sin = ops.cos(angle), ops.sin(angle)
    zero, one = ops.zeros_like(cos), ops.ones_like(cos)
    # Each picture draws one of them, so that the numbers of the others are 0 (or 1, the cosine): a sum is enough.
    rows = (
        (cos, _where(operations, "shear_x", magnitudes) - sin, _where(operations, "translate_x", magnitudes * width)),
        (sin + _where(operations, "shear_y", magnitudes), cos, _where(operations, "translate_y", magnitudes * height)),
        (zero, zero, one),
    )
    return forms.project(images, ops.stack([ops.stack(row, axis=-1) for row in rows], axis=1))


def _fade(images: Any, operations: Any, magnitudes: Any, forms: ModuleType) -> Any:
    """Between another picture (0), the picture (1) and beyond: grey, its mean grey, or black."""
    grey = ops.matmul(images, np.array(LUMA, np.float32)[:, None])
    mean = ops.mean(grey, axis=(1, 2), keepdims=True)
    operation = ops.reshape(operations, (-1, 1, 1, 1))
    other = _where(operation, "color", grey) + _where(operation, "contrast", mean)
    return ops.clip(other + ops.reshape(magnitudes, (-1, 1, 1, 1)) * (images - other), 0.0, 255.0)


KINDS = (
    Kind(("rotate", "shear_x", "shear_y", "translate_x", "translate_y"), _move),
    Kind(("color", "contrast", "brightness"), _fade),
    Kind(("autocontrast",), lambda images, _, magnitudes, forms: forms.autocontrast(images)),
    Kind(("equalize",), lambda images, _, magnitudes, forms: forms.equalize(images)),
    Kind(("posterize",), lambda images, _, magnitudes, forms: forms.posterize(images, magnitudes)),
    Kind(("solarize",), lambda images, _, magnitudes, forms: forms.solarize(images, magnitudes)),
    Kind(("sharpness",), lambda images, _, magnitudes, forms: forms.sharpness(images, magnitudes)),
)
