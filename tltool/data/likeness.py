"""How alike thumbnails are, whichever way they are turned, and each one's nearest others among many."""

from collections.abc import Iterator

import numpy as np
from scipy.fft import dctn

# Frequencies of the cosine transform, as far as 10 periods of half a picture: beyond, re-encoding changes too much.
SIDE = 10
# Grey levels of noise in a ring of frequencies that count for nothing: what JPEG adds to flat pictures.
NOISE = 5.0
LEAF = 128  # pictures that are compared with each other; half as many need twice the trees
# Each cuts the pictures into leaves in directions of its own. With 8, all pairs of 70,000 icons within 0.1 of each
# other share a leaf, and 95 % of those within 0.15; with 4, 84 %.
TREES = 8
SEED = 0  # of the directions
CHUNK = 8192  # descriptors folded at once, in some copies of them
LEAVES = 32  # compared at once: their similarities are 2 MB a table

_ROW, _COLUMN = np.divmod(np.arange(SIDE * SIDE), SIDE)
_RADIUS = np.hypot(_ROW, _COLUMN)
# The ring of each frequency; 0 for the mean and for the corner beyond the last ring, which are left out.
_RING = np.where(_RADIUS > SIDE - 0.5, 0, np.round(_RADIUS)).astype(int)
# A mirror image has the same cosine transform but for the signs of frequencies that are odd across the mirror; a
# transposed picture has the transposed one. So descriptors are kept sorted by parity, and nothing is described twice.
_PARITY = 2 * (_ROW % 2) + _COLUMN % 2
_USED = np.flatnonzero(_RING)[np.argsort(_PARITY[_RING > 0], kind="stable")]
_STARTS = np.searchsorted(_PARITY[_USED], [1, 2, 3])
_TRANSPOSED = np.argsort(_USED)[np.searchsorted(np.sort(_USED), (_COLUMN * SIDE + _ROW)[_USED])]


def describe(thumbnails: np.ndarray) -> np.ndarray:
    """Cosine transforms with every ring of frequencies scaled to equal weight, so that blur and tone do not matter.

    Args:
        thumbnails: Grey levels, shape (N, S, S) with S >= 10, uint8; in float32 they take four times the memory.

    Returns:
        Unit vectors, shape (N, 82), float32; zeros for a picture of one grey level.
    """
    spectrum = dctn(thumbnails.astype(np.float32), axes=(1, 2), norm="ortho", overwrite_x=True)
    spectrum = spectrum[:, :SIDE, :SIDE].reshape(-1, SIDE * SIDE)
    for ring in range(1, SIDE):
        inside = ring == _RING
        energy = np.square(spectrum[:, inside]).sum(axis=1, keepdims=True)
        spectrum[:, inside] /= np.sqrt(energy + NOISE**2 * inside.sum())
    vectors = spectrum[:, _USED]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def nearest(described: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest others of each picture, nearly always; in N log N steps, whatever the pictures.

    Pictures are sorted into leaves of equal size by random projections, several times over, and compared within their
    leaves (Dasgupta and Freund, 2008, "Random projection trees and low dimensional manifolds"). Up to `LEAF` pictures
    are one leaf, and the answer is exact.

    Args:
        described: As `describe` returns them, shape (N, 82).
        count: Others of each picture.

    Returns:
        Distances in the best of eight orientations, shape (N, count), float32, ascending; and positions, int32.
        Where a picture has fewer others, the distance is infinite and the position -1.
    """
    likeness = np.full((len(described), count), -np.inf, np.float32)
    others = np.full((len(described), count), -1, np.int32)
    for leaves in _forest(described):
        for start in range(0, len(leaves), LEAVES):
            _keep_best(likeness, others, described, leaves[start : start + LEAVES])
    order = np.argsort(-likeness, axis=1)
    likeness, others = (np.take_along_axis(table, order, axis=1) for table in (likeness, others))
    # Rounding can take the product of two equal unit vectors above 1, whose root would be no number.
    distances = np.sqrt(np.maximum(2 - 2 * likeness, 0))
    return distances, others


def _forest(described: np.ndarray) -> Iterator[np.ndarray]:
    """Positions by leaf, shape (leaves, size), once a tree; -1 where a leaf has one fewer than others."""
    count = len(described)
    levels = max(0, int(np.ceil(np.log2(max(count, 1) / LEAF))))
    edges = np.arange(2**levels + 1) * count // 2**levels
    places = edges[:-1, None] + np.arange(np.diff(edges).max(initial=0))
    filled = places < edges[1:, None]
    random = np.random.default_rng(SEED)
    starts = range(0, count, CHUNK)
    turned = np.concatenate([_unturned(described[start : start + CHUNK]) for start in starts] or [described])
    for _ in range(TREES if levels else 1):
        order = np.arange(count)
        for level in range(levels):
            projection = (turned @ random.standard_normal(turned.shape[1], np.float32))[order]
            node = np.arange(count) * 2**level // count
            order = order[np.lexsort((projection, node))]
        yield np.where(filled, order[np.minimum(places, count - 1)], -1)


def _unturned(described: np.ndarray) -> np.ndarray:
    """What of the descriptors is the same in all orientations; no two are farther apart than those they come from."""
    even = _PARITY[_USED] == 0
    values = np.where(even, described, np.abs(described))
    upper, square = _ROW[_USED] < _COLUMN[_USED], _ROW[_USED] == _COLUMN[_USED]
    one, two = values[:, upper], values[:, _TRANSPOSED][:, upper]
    return np.hstack([values[:, square], (one + two) / np.sqrt(2), np.abs(one - two) / np.sqrt(2)]).astype(np.float32)


def _keep_best(likeness: np.ndarray, others: np.ndarray, described: np.ndarray, leaves: np.ndarray) -> None:
    """Compares the pictures of each leaf with each other and keeps the nearest of them and of those known before."""
    size, kept = leaves.shape[1], min(likeness.shape[1], leaves.shape[1] - 1)
    if kept < 1:
        return
    members = described[leaves]
    found = np.maximum(_products(members, members), _products(members, members[..., _TRANSPOSED]))
    found[:, np.arange(size), np.arange(size)] = -np.inf
    found[np.broadcast_to((leaves < 0)[:, None, :], found.shape)] = -np.inf
    best = np.argpartition(-found, kept - 1, axis=2)[:, :, :kept]
    there = leaves >= 0
    rows = leaves[there]
    values = np.take_along_axis(found, best, axis=2)[there]
    names = np.take_along_axis(np.broadcast_to(leaves[:, None, :], found.shape), best, axis=2)[there]
    values, names = np.hstack([likeness[rows], values]), np.hstack([others[rows], names.astype(np.int32)])
    # One that two trees have found takes one place, not two.
    order = np.argsort(names, axis=1, kind="stable")
    values, names = (np.take_along_axis(table, order, axis=1) for table in (values, names))
    values[:, 1:][names[:, 1:] == names[:, :-1]] = -np.inf
    best = np.argpartition(-values, likeness.shape[1] - 1, axis=1)[:, : likeness.shape[1]]
    likeness[rows], others[rows] = (np.take_along_axis(table, best, axis=1) for table in (values, names))


def _products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Inner products of all pairs within leaves, shape (leaves, size, size): the largest over mirror images."""
    parts = zip(np.split(one, _STARTS, axis=2), np.split(other, _STARTS, axis=2), strict=True)
    even, across, along, both = (left @ right.swapaxes(1, 2) for left, right in parts)
    # Of the signs (across, along, both): + + +, - + -, + - -, - - +.
    return even + np.maximum(along + np.abs(across + both), np.abs(across - both) - along)
