"""Makes pictures for tests: small, seeded, and learnable by a network in seconds."""

import colorsys
from pathlib import Path

import numpy as np
from PIL import Image


def make_picture(path: Path, color: tuple[int, int, int] = (200, 60, 30), size: int = 32) -> Path:
    """Writes a picture of one colour, in the format that the name ends in, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), color).save(path)
    return path


def make_class_folders(root: Path, counts: dict[str, int], size: int = 32, seed: int = 0) -> Path:
    """Writes `counts[name]` PNGs into `root / name` and returns `root`.

    Each class has a hue and stripes of its own, by its position in `counts`; each picture has its own brightness,
    stripe phase and noise, so that a network has something to learn and no two files are equal.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size] / size
    for position, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        color = np.array(colorsys.hsv_to_rgb(position / len(counts), 0.7, 0.7)) * 255
        angle = np.pi * position / len(counts)
        across = rows * np.sin(angle) + columns * np.cos(angle)
        for index in range(count):
            stripes = np.sin(2 * np.pi * ((2 + position) * across + rng.random()))
            pixels = color * rng.uniform(0.8, 1.2) + 40 * stripes[..., None] + rng.normal(0, 12, (size, size, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{name}_{index:04}.png")
    return root
