"""Pictures that are like no others of their set: a screenshot among X-rays, a thumb over the lens."""

import numpy as np

# Neighbours within which a picture must find others like itself; a handful of strangers may find each other.
NEIGHBOURS = 10
# Directions of largest variance that are compared: 16 found five X-rays among each of six sets of photographs, 64 mixed
# them with ordinary pictures.
DIRECTIONS = 16
POWER_ITERATIONS = 15  # that find them; scores then agree with those of an exact decomposition to 0.01
# Robust standard deviations of the logarithm of that distance. At 3.5 the ten sets have at most 2 % odd ones, and the
# X-rays are at 4.4 to 5.8.
ODD_ABOVE = 3.5
NORMAL_MAD = 1.4826  # standard deviation of a Gaussian whose median absolute deviation is 1
REFERENCE = 20_000  # pictures among which neighbours are sought; more cost time and tell no more
FEWEST = 4 * NEIGHBOURS  # pictures below which nothing is usual enough to be odd


def odd_ones(features: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Finds pictures far from their nearest others.

    Args:
        features: Shape (N, D).
        seed: Of the sample of others where N is above `REFERENCE`.

    Returns:
        Positions of the odd ones, the oddest first, shape (n,); and the robust z-score of every picture, shape (N,).
    """
    if len(features) < FEWEST:
        return np.empty(0, np.int64), np.zeros(len(features))
    from sklearn.neighbors import NearestNeighbors  # late: it takes half a second, which a fit need not wait for
    from sklearn.utils.extmath import randomized_svd

    values = np.asarray(features, dtype=np.float32)
    sample = np.sort(np.random.default_rng(seed).permutation(len(values))[:REFERENCE])
    center, spread = values[sample].mean(axis=0), values[sample].std(axis=0)
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-12), spread, np.inf)
    standard = (values[sample] - center) / scale
    # Not all directions of the thousands: that took four seconds, of which a set of 200 pictures needs none.
    directions = min(DIRECTIONS, *standard.shape)
    _, _, axes = randomized_svd(standard, directions, n_iter=POWER_ITERATIONS, random_state=seed)
    places = np.concatenate(
        [(chunk - center) / scale @ axes.T for chunk in np.array_split(values, len(values) // REFERENCE + 1)]
    )
    # A picture in the sample is its own nearest one.
    distances, _ = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(places[sample]).kneighbors(places)
    far = distances[:, NEIGHBOURS - 1].copy()
    far[sample] = distances[sample, NEIGHBOURS]
    logarithm = np.log(np.maximum(far, 1e-12))
    middle = np.median(logarithm)
    deviation = NORMAL_MAD * np.median(np.abs(logarithm - middle))
    scores = (logarithm - middle) / max(float(deviation), 1e-12)
    odd = np.flatnonzero(scores > ODD_ABOVE)
    return odd[np.argsort(-scores[odd], kind="stable")], scores
