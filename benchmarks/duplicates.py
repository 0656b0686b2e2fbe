"""Claim: of copies planted in public sets at least 99 % of the exact and 95 % of the near ones are found, and of
pictures that are no copies under 0.1 % are called so.

Near copies are saved anew as JPEG at quality 60, resized to half, or mirrored. A picture of the untouched sets is
falsely called a copy if none of those that it is put together with passes a strict check of the files themselves: a
correlation of at least 0.97 between their grey levels at 128 x 128 pixels, in some orientation. Prints the shares by
set and in all, and the time for 100,000 thumbnails.

    python benchmarks/duplicates.py [FOLDER OF IMAGE SETS]
"""

import os
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from contest import image_sets, print_setting
from PIL import Image, ImageOps

from tltool.cache import VARIABLE as CACHE
from tltool.data.copies import find_copies
from tltool.data.scan import scan

PLANTED = 250  # originals a set; a copy of each kind of every one
SEED = 0
STRICT_SIDE, STRICT_CORRELATION = 128, 0.97
LARGE = 100_000
NEAR = ("quality 60", "half", "mirrored")
AT_LEAST_EXACT, AT_LEAST_NEAR, FALSE_BELOW = 0.99, 0.95, 0.001


def main() -> None:
    print_setting()
    found, planted, false, pictures = Counter(), Counter(), 0, 0
    thumbnails = []
    with tempfile.TemporaryDirectory() as temporary:
        os.environ[CACHE] = str(Path(temporary, "cache"))
        for folder in sorted(path for path in image_sets().iterdir() if path.is_dir()):
            files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.suffix != ".txt")
            plain = scan(folder, files)
            wrong = false_copies(folder, files, find_copies(plain.keys, plain.thumbnails).groups)
            false, pictures = false + len(wrong), pictures + len(files)
            kinds = plant(folder, files, Path(temporary, folder.name))
            copies = scan(Path(temporary, folder.name), list(kinds))
            groups = find_copies(
                (*plain.keys, *copies.keys), np.concatenate([plain.thumbnails, copies.thumbnails])
            ).groups
            together = {position: number for number, group in enumerate(groups) for position in group}
            hits = Counter()
            for number, (kind, original) in enumerate(kinds.values(), start=len(files)):
                hits[kind] += number in together and together[number] == together.get(original)
            for kind, count in Counter(kind for kind, _ in kinds.values()).items():
                found[kind] += hits[kind]
                planted[kind] += count
            shares = ", ".join(f"{kind} {hits[kind] / (len(kinds) / 4):.1%}" for kind in ("exact", *NEAR))
            print(f"{folder.name}: {len(files):,} pictures, found {shares}; {len(wrong)} falsely called copies {wrong}")
            thumbnails += [plain.thumbnails, copies.thumbnails]
            shutil.rmtree(Path(temporary, folder.name))
        measure_time(np.concatenate(thumbnails))
    exact = found["exact"] / planted["exact"]
    near = sum(found[kind] for kind in NEAR) / sum(planted[kind] for kind in NEAR)
    print(f"exact {exact:.2%} (at least {AT_LEAST_EXACT:.0%}), near {near:.2%} (at least {AT_LEAST_NEAR:.0%})")
    print(f"falsely called copies: {false} of {pictures:,} pictures, {false / pictures:.3%} (below {FALSE_BELOW:.1%})")


def plant(folder: Path, files: list[str], target: Path) -> dict[str, tuple[str, int]]:
    """Writes copies of some files; returns the kind of each copy and the position of its original."""
    target.mkdir()
    planted = {}
    for position in np.random.default_rng(SEED).permutation(len(files))[:PLANTED]:
        source = folder / files[position]
        with Image.open(source) as image:
            picture = image.convert("RGB")
        name = f"{position:05}"
        shutil.copyfile(source, target / f"{name}-exact{source.suffix}")
        picture.save(target / f"{name}-quality.jpg", quality=60)
        picture.resize((max(1, picture.width // 2), max(1, picture.height // 2))).save(target / f"{name}-half.png")
        ImageOps.mirror(picture).save(target / f"{name}-mirrored.jpg", quality=90)
        planted |= {
            f"{name}-exact{source.suffix}": ("exact", int(position)),
            f"{name}-quality.jpg": ("quality 60", int(position)),
            f"{name}-half.png": ("half", int(position)),
            f"{name}-mirrored.jpg": ("mirrored", int(position)),
        }
    return planted


def false_copies(folder: Path, files: list[str], groups: tuple[tuple[int, ...], ...]) -> list[str]:
    """Files that are grouped with none that the strict check calls the same picture."""
    wrong = []
    for group in groups:
        levels = [grey(folder / files[position]) for position in group]
        for place, position in enumerate(group):
            others = levels[:place] + levels[place + 1 :]
            if max(alike(levels[place], other) for other in others) < STRICT_CORRELATION:
                wrong.append(files[position])
    return wrong


def grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        small = image.convert("L").resize((STRICT_SIDE, STRICT_SIDE), Image.Resampling.BICUBIC)
    return np.asarray(small, dtype=np.float64)


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """The largest correlation of grey levels over the orientations of the other."""
    turned = (other, other[:, ::-1], other[::-1], other[::-1, ::-1])
    return max(float(np.corrcoef(one.ravel(), levels.ravel())[0, 1]) for levels in turned)


def measure_time(thumbnails: np.ndarray) -> None:
    """Prints what a search among more and more thumbnails takes; noise of a grey level makes up the number."""
    random = np.random.default_rng(SEED)
    rows = random.integers(len(thumbnails), size=LARGE)
    noise = random.integers(-1, 2, (LARGE, *thumbnails.shape[1:]), dtype=np.int8)
    many = np.clip(thumbnails[rows].astype(np.int16) + noise, 0, 255).astype(np.uint8)
    for count in (LARGE // 4, LARGE // 2, LARGE):
        start = time.perf_counter()
        find_copies([str(number) for number in range(count)], many[:count])
        seconds = time.perf_counter() - start
        print(f"{count:,} thumbnails in {seconds:.1f} s, {1e6 * seconds / count:.0f} µs each")


if __name__ == "__main__":
    main()
