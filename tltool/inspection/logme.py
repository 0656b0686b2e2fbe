"""How well features explain labels, without training a head: the evidence of a Bayesian linear model."""

import numpy as np

from tltool.errors import ShapeError

TOLERANCE = 1e-4  # relative change of alpha / beta at which the fixed point counts as found
MOST_STEPS = 100
FLOOR = 1e-12  # of sums of squares that are divided by: features that explain labels fully leave no residual


def log_evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """LogME: the log evidence of the labels under a linear model with Gaussian weights and noise, a picture and class.

    The precisions of weights (alpha) and noise (beta) are those with the highest evidence; each class is a regression
    on 0 and 1. Higher is better; only differences on the same pictures mean something.

    Args:
        features: Shape (N, D).
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).

    Returns:
        The mean over classes, divided by N.

    Raises:
        ShapeError: if the shapes do not fit, or there is no picture.

    Reference: You, Liu, Wang and Long, 2021, "LogME: practical assessment of pre-trained models for transfer learning";
        the fixed point after MacKay, 1992, "Bayesian interpolation".
    """
    features, labels = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if features.ndim != 2 or len(features) != len(labels) or not len(labels):
        raise ShapeError(f"Features of shape {features.shape} and labels of shape {labels.shape} do not fit.")
    targets = labels.astype(np.float64) if labels.ndim == 2 else np.eye(labels.max() + 1)[labels]
    # Only products with the left singular vectors are needed. The smaller Gram matrix has the same eigenvalues.
    count, width = features.shape
    if count <= width:
        eigenvalues, left = np.linalg.eigh(features @ features.T)
        projected = left.T @ targets
    else:
        eigenvalues, right = np.linalg.eigh(features.T @ features)
        projected = right.T @ (features.T @ targets) / np.sqrt(np.maximum(eigenvalues, FLOOR))[:, None]
    kept = eigenvalues > eigenvalues.max(initial=0.0) * 1e-12
    eigenvalues, projected = eigenvalues[kept], projected[kept]
    outside = np.maximum((targets**2).sum(axis=0) - (projected**2).sum(axis=0), 0.0)
    each = [
        _evidence(eigenvalues, column**2, rest, count, width) for column, rest in zip(projected.T, outside, strict=True)
    ]
    return float(np.mean(each) / count)


def _evidence(eigenvalues: np.ndarray, squares: np.ndarray, outside: float, count: int, width: int) -> float:
    """The highest log evidence of one regression.

    Args:
        eigenvalues: Of features times their transpose, those above 0, shape (R,).
        squares: Of the targets' components along the singular vectors, shape (R,).
        outside: Squared length of what of the targets lies in no singular vector.
        count, width: Of the features.
    """
    alpha = beta = 1.0
    for _ in range(MOST_STEPS):
        ratio = alpha / beta
        used = (eigenvalues / (eigenvalues + ratio)).sum()  # "gamma": parameters that the data determines
        weights = max((eigenvalues * squares / (eigenvalues + ratio) ** 2).sum(), FLOOR)  # squared length
        residual = max((squares * (ratio / (eigenvalues + ratio)) ** 2).sum() + outside, FLOOR)
        alpha, beta = used / weights, (count - used) / residual
        alpha, beta = max(alpha, FLOOR), max(beta, FLOOR)
        if abs(alpha / beta - ratio) <= TOLERANCE * ratio:
            break
    ratio = alpha / beta
    weights = (eigenvalues * squares / (eigenvalues + ratio) ** 2).sum()
    residual = (squares * (ratio / (eigenvalues + ratio)) ** 2).sum() + outside
    determinant = np.log(alpha + beta * eigenvalues).sum() + (width - len(eigenvalues)) * np.log(alpha)
    return 0.5 * (
        width * np.log(alpha)
        + count * np.log(beta)
        - determinant
        - beta * residual
        - alpha * weights
        - count * np.log(2 * np.pi)
    )
