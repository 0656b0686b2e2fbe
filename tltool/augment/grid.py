"""A grid of pictures as training will see them: what a policy does is seen before it is used."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tltool.augment.augmenter import Augmenter
from tltool.augment.policies import Policy

GAP = 4  # pixels between pictures
HEADING = 16  # pixels above the grid, for the captions
PAPER = (255, 255, 255)
INK = (60, 60, 60)


def preview(
    pictures: np.ndarray, policy: str | Mapping[str, Any] | Policy, draws: int = 7, seed: int = 0
) -> np.ndarray:
    """Several draws of a policy for each picture, the original first.

    Args:
        pictures: Shape (N, H, W, 3), uint8.
        policy: What `Augmenter` takes. Where it mixes, pictures are mixed with the others of their column.
        draws: Of each picture, >= 1; those of epochs 0 to `draws` - 1 of a training with this seed.
        seed: Of all draws.

    Returns:
        Shape (N, 1 + draws, H, W, 3), uint8.

    Raises:
        AugmentError: if there is no such policy or step, or a single picture is to be mixed.
    """
    augmenter = Augmenter(policy, seed)
    targets = np.eye(len(pictures), dtype=np.float32)  # each its own class: labels do not show in a picture
    columns = [pictures, *(augmenter(pictures, targets, epoch=draw)[0] for draw in range(draws))]
    return np.stack(columns, axis=1)


def draw_grid(grid: np.ndarray, captions: Sequence[str] = ()) -> Image.Image:
    """The grid as one picture, rows of pictures and columns of draws.

    Args:
        grid: Shape (rows, columns, H, W, 3), uint8.
        captions: Over the columns; none where empty.
    """
    rows, columns, height, width = grid.shape[:4]
    top = HEADING if captions else 0
    page = Image.new("RGB", (columns * (width + GAP) - GAP, top + rows * (height + GAP) - GAP), PAPER)
    pen = ImageDraw.Draw(page)
    for column, caption in enumerate(captions):
        pen.text((column * (width + GAP), 1), caption, fill=INK)
    for row in range(rows):
        for column in range(columns):
            place = (column * (width + GAP), top + row * (height + GAP))
            page.paste(Image.fromarray(grid[row, column]), place)
    return page
