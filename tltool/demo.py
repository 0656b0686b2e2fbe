"""The demonstration's data: scikit-learn's handwritten digits, written out as a folder of class folders.

Real pictures that come with a package: 1,797 digits of 8 x 8 grey values (UCI ML repository, Alpaydin and Kaynak,
1998). Little data, and nothing like ImageNet.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from tltool.data import Dataset, decode

PIXELS = 64  # height and width written; the originals' 8 would show nothing in a gallery
A_CLASS = 40  # pictures of each digit: little data, and the whole demonstration stays at about a minute


def write_digits(folder: Path, a_class: int = A_CLASS) -> Path:
    """Writes PNG class folders '0' to '9'.

    Args:
        folder: New or empty.
        a_class: Pictures a class, at most 174.

    Returns:
        The folder.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    for label in range(10):
        target = folder / str(label)
        target.mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == label][:a_class]):
            grey = Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8))
            grey.resize((PIXELS, PIXELS), Image.Resampling.NEAREST).save(target / f"{number:03}.png")
    return folder


def pixel_baseline(data: Dataset) -> float:
    """Top-1 of scikit-learn's support vector machine on raw pixels, trained and scored on the same split, [0, 1]."""
    from sklearn.svm import SVC

    def pixels(rows: np.ndarray) -> np.ndarray:
        step = PIXELS // 8  # back to the original 8 x 8 values
        return np.stack([decode(data.root / data.files[i])[::step, ::step, 0].ravel() / 255 for i in rows])

    learned, held_out = data.indices("train", "valid"), data.indices("test")
    model = SVC().fit(pixels(learned), data.labels_of(learned))
    return float(model.score(pixels(held_out), data.labels_of(held_out)))
