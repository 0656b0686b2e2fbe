"""Which pictures are the same one: the same file, or the same picture saved anew, resized, mirrored or turned."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tltool.data.likeness import describe, nearest
from tltool.data.split import join_groups

# Distance of descriptors up to which two pictures may be the same: on ten sets 95 % of copies re-encoded at quality 60,
# halved or mirrored are within 0.14 of their originals. From 0.19 on, pairs of `weather` no longer pass the strict
# check of benchmarks/duplicates.py.
SAME_BELOW = 0.18
# Up to this distance nothing else is asked. Nearly all photographs saved anew, halved or mirrored are nearer; of all
# 70,000 icons of Fashion-MNIST 61 pairs are, most of them copies.
CERTAIN_BELOW = 0.08
# Beyond, two pictures are the same only if they are nearer than this share of the distance to the sixteenth nearest.
# Of those 70,000 icons, 600 have another one within 0.15, and most of them many more hardly farther off: this share
# joins 161, of which about 100 are copies; 0.4 would join some 400.
STANDS_OUT = 0.25
NEIGHBOURS = 16  # of a picture that are looked at; a picture with more copies than this has only the certain ones
BLANK_BELOW = 3.0  # standard deviation of grey levels; of such a picture nothing but noise is left to compare
CHUNK = 8192  # thumbnails worked on at once, in four times their memory


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
    """Finds copies in time that grows hardly faster than the number of pictures, whatever they show.

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
    near = _near(thumbnails, first)
    groups = join_groups(len(keys), [*exact, *(members.tolist() for members in near)])
    return Copies(tuple(map(tuple, exact)), tuple(map(tuple, groups)))


def _near(thumbnails: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Sets of two or more of these rows whose thumbnails show the same; none overlap."""
    spread = [chunk.std(axis=(1, 2), dtype=np.float32) for chunk in _chunks(thumbnails, rows)]
    telling = rows[np.concatenate([*spread, []]) >= BLANK_BELOW]
    if len(telling) < 2:
        return []
    # Equal thumbnails first: thousands of copies of one picture would be each other's only neighbours. Sorted by their
    # content, so that what is found does not depend on the order of the files.
    digests = [hashlib.blake2b(thumbnails[row], digest_size=16).digest() for row in telling]
    _, first, kind = np.unique(np.array(digests, dtype="S16"), return_index=True, return_inverse=True)
    joined = _join(len(first), _pairs(thumbnails, telling[first]))[kind]
    order = np.argsort(joined, kind="stable")
    sets = np.split(telling[order], np.flatnonzero(np.diff(joined[order])) + 1)
    return [members for members in sets if len(members) > 1]


def _chunks(thumbnails: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    return (thumbnails[rows[start : start + CHUNK]] for start in range(0, len(rows), CHUNK))


def _pairs(thumbnails: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in `rows` of pictures that are the same, and of those that they are the same as; each shape (P,)."""
    described = np.concatenate([describe(chunk) for chunk in _chunks(thumbnails, rows)])
    distances, others = nearest(described, NEIGHBOURS)
    usual = distances[:, -1]  # infinite in sets too small to tell
    # Of both: an icon that lies far from all others may still be some crowded one's nearest.
    usual = np.minimum(usual[:, None], usual[others])
    same = (distances < SAME_BELOW) & ((distances < CERTAIN_BELOW) | (distances < STANDS_OUT * usual))
    position, place = np.nonzero(same)
    return position, others[position, place]


def _join(count: int, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The number of each picture's group, shape (count,); pictures in a chain of pairs are in one."""
    links = coo_array((np.ones(len(pairs[0]), bool), pairs), shape=(count, count))
    return connected_components(links, directed=False)[1]
