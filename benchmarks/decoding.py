"""Claim: tltool reads pictures it has read before at least twice as fast as Keras decodes and resizes them.

500 x 375 JPEGs in a folder, to batches of 224 x 224 in memory; the same files and batch size for both, in turn, the
files in the system's page cache. Keras's `image_dataset_from_directory` decodes in every pass and resizes by its
default, bilinear without antialiasing. tltool's first pass decodes, resizes as its exported model does (bicubic with
antialiasing in float32) and fills the pixel cache; later passes read that. For fairness Keras also keeps its floats, in
memory and in a file, with the `cache()` of tf.data. Prints the rates, their ratios, and what ten epochs take.

    python benchmarks/decoding.py [FOLDER OF IMAGE SETS]
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import keras
from contest import image_sets, print_setting
from PIL import Image

from tltool.cache import VARIABLE as CACHE
from tltool.data.batches import read_batches
from tltool.data.decoding import Framing
from tltool.features.extract import content_keys

SETS = ("flowers", "cats_dogs", "hymenoptera")
PICTURES, WIDTH, HEIGHT, QUALITY = 1200, 500, 375, 90
SIZE, BATCH, ROUNDS, EPOCHS = 224, 32, 5, 10
AT_LEAST = 2.0


def main() -> None:
    source = image_sets()
    print_setting()
    with tempfile.TemporaryDirectory() as folder:
        pictures, cache = Path(folder, "pictures"), Path(folder, "cache")
        os.environ[CACHE] = str(cache)
        make_pictures(source, pictures)
        paths = sorted(pictures.rglob("*.jpg"))
        keys, _ = content_keys(pictures, [str(path.relative_to(pictures)) for path in paths])

        def ours() -> int:
            return sum(len(batch.pixels) for batch in read_batches(paths, Framing(SIZE), BATCH, keys=keys))

        def plain() -> Iterable:
            return keras.utils.image_dataset_from_directory(
                pictures, image_size=(SIZE, SIZE), batch_size=BATCH, shuffle=False, verbose=False
            )

        seconds: dict[str, list[float]] = {}

        def measure(name: str, run: Callable[[], int]) -> None:
            start = time.perf_counter()
            if run() != len(paths):
                raise RuntimeError(f"{name}: pictures are missing")
            seconds.setdefault(name, []).append(time.perf_counter() - start)

        for number in range(ROUNDS):
            in_memory, in_file = plain().cache(), plain().cache(str(Path(folder, f"keras-{number}")))
            shutil.rmtree(cache, ignore_errors=True)
            measure("Keras, each pass", lambda: walk(plain()))
            measure("Keras, first into memory", lambda data=in_memory: walk(data))
            measure("Keras, later from memory", lambda data=in_memory: walk(data))
            measure("Keras, first into a file", lambda data=in_file: walk(data))
            measure("Keras, later from a file", lambda data=in_file: walk(data))
            measure("tltool, first pass", ours)
            measure("tltool, later passes", ours)
        report({name: median(taken) for name, taken in seconds.items()}, len(paths))


def make_pictures(source: Path, target: Path) -> None:
    """Writes real pictures, scaled to one size, each a little different where there are too few."""
    found = [path for name in SETS for path in sorted((source / name / "train").rglob("*.jpg"))]
    for number in range(PICTURES):
        file = target / f"class{number % 3}" / f"{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(found[number % len(found)]) as image:
            picture = image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            picture.save(file, quality=QUALITY, comment=str(number))


def walk(batches: Iterable) -> int:
    """The pictures in all batches."""
    return sum(len(pixels) for pixels, _ in batches)


def report(seconds: dict[str, float], count: int) -> None:
    plain = seconds["Keras, each pass"]
    floats, squares = (SIZE**2 * 3 * width / 1e6 for width in (4, 1))
    print(f"{count} pictures of {WIDTH} x {HEIGHT}, medians of {ROUNDS} rounds")
    for name, taken in seconds.items():
        print(f"{name:26} {count / taken:8.0f} pictures a second, {plain / taken:6.2f} times Keras's each pass")
    totals = {
        "Keras": EPOCHS * plain,
        f"Keras in memory ({floats:.2f} MB a picture)": total(seconds, "Keras, first into m", "Keras, later from m"),
        f"Keras in a file ({floats:.2f} MB a picture)": total(seconds, "Keras, first into a", "Keras, later from a"),
        f"tltool ({squares:.2f} MB a picture on disk)": total(seconds, "tltool, first", "tltool, later"),
    }
    print(f"{EPOCHS} epochs: " + "; ".join(f"{name} {taken:.1f} s" for name, taken in totals.items()))
    for name in ("tltool, first pass", "tltool, later passes"):
        verdict = "reached" if plain / seconds[name] >= AT_LEAST else "NOT reached"
        print(f"{name}: ratio {plain / seconds[name]:.2f}, wanted at least {AT_LEAST:.0f}: {verdict}")


def total(seconds: dict[str, float], first: str, later: str) -> float:
    """What all epochs take, of which one is the first."""
    (one,) = (taken for name, taken in seconds.items() if name.startswith(first))
    (other,) = (taken for name, taken in seconds.items() if name.startswith(later))
    return one + (EPOCHS - 1) * other


if __name__ == "__main__":
    main()
