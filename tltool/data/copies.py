"""Which pictures are the same one: the same file, or the same picture saved anew, resized or mirrored."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import dctn
from scipy.spatial import cKDTree

from tltool.data.split import join_groups

# Frequencies of the cosine transform, as far as 10 periods of half a picture: beyond, re-encoding changes too much.
SIDE = 10
# Frequencies that are searched by; a tree of more dimensions prunes nothing. Their distance is never above the whole
# one, so nothing is missed by them.
SEARCHED = 4
# Grey levels of noise in a ring of frequencies that count for nothing: what JPEG adds to flat pictures.
NOISE = 5.0
# Euclidean distance of descriptors, unit vectors, up to which two pictures are the same. On ten sets, 95 % of copies
# re-encoded at quality 60, halved or mirrored are within 0.14 of their originals (99 % within 0.15 but for 28-pixel
# icons, 0.19), and 0.07 % of fashion_mnist's icons have a nearest other one that near: benchmarks/duplicates.py.
SAME_BELOW = 0.15
BLANK_BELOW = 3.0  # standard deviation of grey levels; of such a picture nothing but noise is left to compare
NEIGHBOURS = 8  # of a picture that are compared; more only lie in crowds, whose members find each other in turn
CHUNK = 8192  # pictures at once: 100,000 descriptors of all orientations together would be 120 MB


@dataclass(frozen=True)
class Copies:
    """Positions of pictures that are the same one; each group sorted, two or more.

    Attributes:
        exact: Files of equal content.
        groups: The same picture, exactly or nearly, joined where they overlap.
    """

    exact: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]


def find_copies(keys: Sequence[str | None], thumbnails: np.ndarray) -> Copies:
    """Finds copies in time that grows hardly faster than the number of pictures; no two are compared without cause.

    Args:
        keys: Content keys, None for files that cannot be read, length N.
        thumbnails: Whole pictures as grey levels, shape (N, 32, 32), uint8.
    """
    by_key = defaultdict(list)
    for index, key in enumerate(keys):
        if key is not None:
            by_key[key].append(index)
    exact = [members for members in by_key.values() if len(members) > 1]
    first = np.array([members[0] for members in by_key.values()], dtype=np.int64)
    near = [tuple(first[list(pair)]) for pair in _near(thumbnails[first])]
    groups = join_groups(len(keys), [*exact, *near])
    return Copies(tuple(map(tuple, exact)), tuple(map(tuple, groups)))


def _near(thumbnails: np.ndarray) -> list[tuple[int, ...]]:
    """Sets of positions whose thumbnails show the same; they may overlap."""
    # In chunks: the deviations of all at once would need eight times the memory of the thumbnails.
    spread = [chunk.std(axis=(1, 2), dtype=np.float32) for chunk in _chunks(thumbnails)]
    telling = np.flatnonzero(np.concatenate([*spread, []]) >= BLANK_BELOW)
    if not len(telling):
        return []
    # Equal thumbnails first: thousands of copies of one picture would crowd out every other neighbour.
    flat = np.ascontiguousarray(thumbnails[telling]).reshape(len(telling), -1)
    _, inverse = np.unique(flat.view(np.dtype((np.void, flat.shape[1]))).ravel(), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.flatnonzero(np.diff(inverse[order], prepend=-1))
    sets = [tuple(telling[members]) for members in np.split(order, starts[1:]) if len(members) > 1]
    kept = telling[order[starts]]
    pairs = _close(thumbnails[kept])
    return sets + [tuple(kept[pair]) for pair in pairs]


def _close(thumbnails: np.ndarray) -> np.ndarray:
    """Pairs of positions, shape (P, 2), whose descriptors are near in some orientation."""
    described = np.concatenate([_describe(chunk) for chunk in _chunks(thumbnails)])
    rings = _rings()
    searched = rings[rings > 0] <= SEARCHED
    tree = cKDTree(described[:, searched])
    found = []
    for turned in (thumbnails, thumbnails[:, :, ::-1], thumbnails[:, ::-1], thumbnails[:, ::-1, ::-1]):
        start = 0
        for chunk in _chunks(turned):
            asked = _describe(chunk)
            near = {"k": NEIGHBOURS + 1, "distance_upper_bound": SAME_BELOW, "workers": -1}
            _, neighbours = tree.query(asked[:, searched], **near)
            rows, columns = np.nonzero(neighbours < len(described))
            others = neighbours[rows, columns]
            apart = rows + start != others
            rows, others = rows[apart], others[apart]
            same = np.linalg.norm(asked[rows] - described[others], axis=1) < SAME_BELOW
            found.append(np.stack([rows[same] + start, others[same]], axis=1))
            start += len(chunk)
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _chunks(thumbnails: np.ndarray) -> list[np.ndarray]:
    return [thumbnails[start : start + CHUNK] for start in range(0, len(thumbnails), CHUNK)]


def _rings() -> np.ndarray:
    """The ring of each of SIDE x SIDE frequencies, 0 for the mean and for corners that are left out; flat."""
    row = np.arange(SIDE)
    radius = np.hypot(row[:, None], row)
    return np.where(radius > SIDE - 0.5, 0, np.round(radius)).astype(int).ravel()


def _describe(thumbnails: np.ndarray) -> np.ndarray:
    """Unit vectors of the cosine transform, each ring of frequencies scaled to equal weight, shape (n, frequencies)."""
    rings = _rings()
    spectrum = dctn(thumbnails.astype(np.float32), axes=(1, 2), norm="ortho")[:, :SIDE, :SIDE].reshape(-1, SIDE**2)
    for ring in range(1, SIDE):
        inside = rings == ring
        energy = np.square(spectrum[:, inside]).sum(axis=1, keepdims=True)
        spectrum[:, inside] /= np.sqrt(energy + NOISE**2 * inside.sum())
    vectors = spectrum[:, rings > 0]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
