"""How large the pictures of a data set are, by their headers."""

from statistics import median

import numpy as np

from tltool.data.dataset import Dataset
from tltool.data.decoding import read_bytes
from tltool.data.opening import opened
from tltool.errors import PictureError

LOOKED_AT = 200  # pictures; of sides that range over a factor of four, the median of so many is within a tenth


def typical_side(data: Dataset, seed: int = 0) -> int | None:
    """The median of the shorter side of the training pictures, in pixels, over at most `LOOKED_AT` of them.

    Args:
        data: Its unreadable files are passed over.
        seed: Of the sample.

    Returns:
        Pixels; None where none of them could be read.
    """
    rows = np.random.default_rng(seed).permutation(data.indices("train"))[:LOOKED_AT]
    sides = []
    for row in rows:
        try:
            with opened(read_bytes(data.root / data.files[row])) as image:
                sides.append(min(image.size))
        except PictureError:
            continue
    return round(median(sides)) if sides else None
