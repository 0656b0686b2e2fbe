"""MixUp and CutMix: pictures of a batch mixed with each other, and what they show mixed in the same shares.

NumPy arrays give NumPy arrays, tensors give tensors. The numbers are drawn on the host and given, so that the mixing
can stand inside a compiled graph.
"""

from types import ModuleType
from typing import Any

import numpy as np
from keras import ops

from tltool.errors import AugmentError

KINDS = ("mix_up", "cut_mix")


def draw_mixing(
    random: np.random.Generator, batch: int, alpha: float, kind: str, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Who is mixed with whom, and how much of each: the last two arguments of `mix_up` or `cut_mix`.

    Args:
        random: The source of all draws.
        batch: Pictures, >= 1.
        alpha: Of the Beta(alpha, alpha) distribution of the share that a picture keeps, > 0; drawn for each picture.
            Below 1 most pictures stay nearly whole, at 1 every share is as likely, above it most are mixed half and
            half.
        kind: "mix_up" or "cut_mix".
        size: Height and width of the pictures, pixels.

    Returns:
        Each picture's partner, shape (B,), int32, a permutation; and for "mix_up" the shares that are kept, shape (B,),
        float32, for "cut_mix" the boxes that are pasted, shape (B, 4): left, top, right and bottom edge, whole pixels
        inside of the picture. A box covers the share that is not kept, less what lies outside of the picture.

    Raises:
        AugmentError: if `alpha` is not above 0, or there is no such kind.

    References: Zhang et al., 2018, "mixup: beyond empirical risk minimization", section 2; Yun et al., 2019, "CutMix:
    regularization strategy to train strong classifiers with localizable features", equation 2.
    """
    if kind not in KINDS:
        raise AugmentError(f"there is no mixing '{kind}'; there are {' and '.join(KINDS)}.")
    if not alpha > 0:
        raise AugmentError(f"`{kind}`: alpha = {alpha:g}: must be above 0; 0.2 mixes little, 1 any share as often.")
    partners = random.permutation(batch).astype(np.int32)
    kept = random.beta(alpha, alpha, batch)
    if kind == "mix_up":
        return partners, kept.astype(np.float32)
    height, width = size
    side = np.sqrt(1 - kept)
    half_wide, half_high = side * width / 2, side * height / 2
    x, y = random.uniform(0, width, batch), random.uniform(0, height, batch)
    boxes = np.stack([x - half_wide, y - half_high, x + half_wide, y + half_high], axis=1)
    boxes = np.clip(np.rint(boxes), 0, [width, height, width, height])
    return partners, boxes.astype(np.float32)


def mix_up(pixels: Any, targets: Any, partners: Any, shares: Any) -> tuple[Any, Any]:
    """Mixes each picture with its partner, pixel by pixel, and their targets alike.

    Args:
        pixels: Shape (B, H, W, C), float.
        targets: Shape (B, classes), float in [0, 1]: one-hot, soft or of several labels at once.
        partners: Shape (B,), whole: the picture that each is mixed with.
        shares: Shape (B,), in [0, 1]: what each picture keeps of itself.

    Returns:
        Pixels and targets, of the given shapes.

    Raises:
        AugmentError: if all targets are the same and something is to be mixed: in a batch of one picture or one class
            nothing is to be learned from mixing.

    Reference: Zhang et al., 2018, "mixup: beyond empirical risk minimization", section 2.
    """
    _check_classes("mix_up", targets, shares)
    library = _library(pixels)
    return (
        _mixed(pixels, library.take(pixels, partners, axis=0), library.reshape(shares, (-1, 1, 1, 1))),
        _mixed(targets, _library(targets).take(targets, partners, axis=0), library.reshape(shares, (-1, 1))),
    )


def cut_mix(pixels: Any, targets: Any, partners: Any, boxes: Any) -> tuple[Any, Any]:
    """Pastes a box of its partner into each picture, and mixes their targets by the area that each then has.

    Args:
        pixels: Shape (B, H, W, C), float.
        targets: Shape (B, classes), float in [0, 1]: one-hot, soft or of several labels at once.
        partners: Shape (B,), whole: the picture that each is mixed with.
        boxes: Shape (B, 4): left, top, right and bottom edge in pixels. A pixel is pasted where its centre lies inside;
            the share of the targets is that of the pixels that were, whatever lies outside of the picture.

    Returns:
        Pixels and targets, of the given shapes.

    Raises:
        AugmentError: if all targets are the same and something is to be pasted.

    Reference: Yun et al., 2019, "CutMix: regularization strategy to train strong classifiers with localizable
    features", section 3.1.
    """
    library = _library(pixels)
    pasted = inside(boxes, *pixels.shape[1:3])
    share = 1 - library.mean(pasted, axis=(1, 2, 3))
    _check_classes("cut_mix", targets, share)
    return (
        _mixed(pixels, library.take(pixels, partners, axis=0), 1 - pasted),
        _mixed(targets, _library(targets).take(targets, partners, axis=0), library.reshape(share, (-1, 1))),
    )


def inside(boxes: Any, height: int, width: int) -> Any:
    """Where the centres of pixels lie inside of boxes.

    Args:
        boxes: Shape (B, 4): left, top, right and bottom edge, pixels.
        height, width: Of the pictures, pixels.

    Returns:
        1 inside and 0 outside, shape (B, H, W, 1), float32.
    """
    library = _library(boxes)
    left, top, right, bottom = (library.reshape(boxes[:, i], (-1, 1)) for i in range(4))
    x, y = (np.arange(size, dtype=np.float32)[None] + 0.5 for size in (width, height))
    columns = library.where((left <= x) & (right > x), np.float32(1), np.float32(0))
    rows = library.where((top <= y) & (bottom > y), np.float32(1), np.float32(0))
    return rows[:, :, None, None] * columns[:, None, :, None]


def _mixed(own: Any, other: Any, share: Any) -> Any:
    return share * own + (1 - share) * other


def _library(array: Any) -> ModuleType:
    return np if isinstance(array, np.ndarray) else ops


def _check_classes(name: str, targets: Any, shares: Any) -> None:
    if targets.shape[0] == 1:
        found = "holds one picture"
    else:
        known = _values(targets)
        if known is None or not len(known) or (known != known[0]).any():
            return
        found = f"holds {len(known)} pictures that all show the same"
    kept = _values(shares)
    if kept is not None and (kept == 1).all():
        return
    raise AugmentError(
        f"`{name}`: the batch {found}, and nothing is to be learned from mixing a class with itself. Take larger "
        f"batches, shuffle the pictures, or leave `{name}` out; a share of 1 keeps a picture whole."
    )


def _values(array: Any) -> np.ndarray | None:
    """The numbers, or None inside of a graph that is only being compiled."""
    try:
        return np.asarray(array)
    except (NotImplementedError, TypeError):
        return None
