"""Ridge-regularized logistic regression, multinomial or one-vs-rest, by full-batch L-BFGS along a warm-started path.

The lecture: L-BFGS can be tried if a full batch update is affordable. A linear head on cached features is that case.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from scipy.linalg import qr
from scipy.special import expit, log_softmax, softmax
from threadpoolctl import ThreadpoolController

from tltool.errors import ShapeError
from tltool.optimizers.lbfgs import LBFGS

GRADIENT_TOLERANCE = 1e-6  # largest absolute partial derivative at which a fit counts as solved
# Multiplications in one matrix product below which a second thread costs more than it brings: waking it for each of
# the thousands of small products of a fit made 360 pictures twenty times slower.
THREADING_PAYS_ABOVE = 2e8
# Numbers in the features from which on a fit begins in float32: a product of half the bytes takes half the time.
FLOAT32_PAYS_ABOVE = 1e6
# Largest derivative down to which float32 leads; nearer, its rounding of 1e-8 in the loss stops the line search.
FLOAT32_TOLERANCE = 1e-5
FLOAT32_MEMORY = 10  # past steps; more of them cost a step more time than they save, where products are so fast


@dataclass(frozen=True)
class LinearHead:
    """A head that maps raw features to logits: `features @ kernel + bias`.

    Attributes:
        kernel: Shape (D, C), float32; standardization is folded in.
        bias: Shape (C,), float32.
        l2: The ridge strength that it was solved with.
    """

    kernel: np.ndarray
    bias: np.ndarray
    l2: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features of shape (N, D) to logits of shape (N, C)."""
        return features @ self.kernel + self.bias

    def divided(self, temperature: float) -> "LinearHead":
        """The head with all logits divided by this."""
        kernel, bias = (array / np.float32(temperature) for array in (self.kernel, self.bias))
        return LinearHead(kernel, bias, self.l2)


class LogisticProblem:
    """Features made ready once, to be fitted at many strengths and on many subsets.

    Standardizes every feature and, where there are far fewer pictures than features, rotates them into their own span:
    the ridge solution lies in it, so nothing is lost, and a step costs N numbers a picture instead of D.

    Args:
        features: Shape (N, D).
        labels: Class indices, shape (N,), in [0, classes); of a multi-label set 0 and 1, shape (N, classes):
            then each class is learned against the rest.
        classes: Number of classes.

    Raises:
        ShapeError: if the lengths differ.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int):
        labels = np.asarray(labels)
        if len(features) != len(labels):
            raise ShapeError(f"{len(features)} feature vectors but {len(labels)} labels.")
        if labels.ndim == 2 and labels.shape[1] != classes:
            raise ShapeError(f"A label matrix of {labels.shape[1]} columns for {classes} classes.")
        features = np.asarray(features, dtype=np.float64)
        self.labels = labels
        self.classes = classes
        self.center = features.mean(axis=0)
        spread = features.std(axis=0)
        # A channel that never moves says nothing; dividing by its zero spread would turn rounding into evidence.
        self.scale = np.where(spread > 1e-6 * max(spread.max(initial=0.0), 1e-12), spread, np.inf)
        standard = (features - self.center) / self.scale
        self.basis: np.ndarray | None = None
        if 2 * len(features) < features.shape[1]:
            # On one thread: beside other work a second one made 1,000 pictures sixty times slower, by waiting for it.
            with _blas().limit(limits=1, user_api="blas"):
                self.basis, rotated = qr(standard.T, mode="economic", check_finite=False, overwrite_a=True)
            standard = np.ascontiguousarray(rotated.T)
        self.inputs = standard

    def __len__(self) -> int:
        return len(self.labels)

    def solve(
        self, strengths: Iterable[float], rows: np.ndarray | None = None, tolerance: float = GRADIENT_TOLERANCE
    ) -> Iterator[np.ndarray]:
        """Yields the weights at each strength, each started from the one before.

        The loss is the mean cross-entropy (in a multi-label set that of all classes, summed) plus `l2 / 2` times the
        squared norm of the weights; the bias is free.

        Args:
            strengths: Values of l2, > 0; strongest first makes warm starts short.
            rows: Positions to fit on; all where None.
            tolerance: Largest absolute partial derivative at the solution.

        Yields:
            For each strength the weights with the bias as last row, shape (inputs + 1, classes).
        """
        inputs = self.inputs if rows is None else self.inputs[rows]
        labels = self.labels if rows is None else self.labels[rows]
        multi_label = labels.ndim == 2
        targets = labels.astype(np.float64) if multi_label else np.eye(self.classes)[labels]
        targets = np.asfortranarray(targets)  # as the loss reads them
        weights = np.zeros((inputs.shape[1] + 1, self.classes))
        stages = [(inputs, LBFGS(tolerance=tolerance))]
        if inputs.size > FLOAT32_PAYS_ABOVE:
            coarse = LBFGS(FLOAT32_MEMORY, tolerance=max(tolerance, FLOAT32_TOLERANCE))
            stages.insert(0, (inputs.astype(np.float32), coarse))
        threads = None if inputs.size * self.classes > THREADING_PAYS_ABOVE else 1
        for l2 in strengths:
            with _blas().limit(limits=threads, user_api="blas"):
                for values, optimizer in stages:
                    function = partial(
                        _loss_and_gradient, inputs=values, targets=targets, l2=l2, multi_label=multi_label
                    )
                    weights = optimizer.solve(function, weights.ravel()).point.reshape(weights.shape)
            yield weights

    def path_logits(
        self, strengths: Iterable[float], fitted: np.ndarray, held_out: np.ndarray, tolerance: float
    ) -> Iterator[np.ndarray]:
        """Fits on some rows and yields, for each strength, the logits of others, shape (len(held_out), classes)."""
        inputs = self.inputs[held_out]
        for weights in self.solve(strengths, fitted, tolerance):
            yield inputs @ weights[:-1] + weights[-1]

    def fit(self, l2: float, tolerance: float = GRADIENT_TOLERANCE) -> LinearHead:
        """The head at one strength, with rotation and standardization folded in."""
        (weights,) = self.solve([l2], tolerance=tolerance)
        kernel = weights[:-1] if self.basis is None else self.basis @ weights[:-1]
        kernel = kernel / self.scale[:, None]
        bias = weights[-1] - self.center @ kernel
        return LinearHead(kernel.astype(np.float32), bias.astype(np.float32), float(l2))


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looking for the libraries takes milliseconds, a fit is often done in ten


def log_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross-entropy of each picture in nats, shape (N,).

    Args:
        logits: Shape (N, C).
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C): then the binary ones of all classes are summed.
    """
    if labels.ndim == 2:
        return (np.logaddexp(0.0, logits) - logits * labels).sum(axis=1)
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def all_right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each picture is classified right, shape (N,): its class, or in a multi-label set every one of them.

    Args:
        logits: Shape (N, C).
        labels: Class indices, shape (N,); or 0 and 1, shape (N, C).
    """
    if labels.ndim == 2:
        return ((logits > 0) == labels).all(axis=1)
    return logits.argmax(axis=1) == labels


def to_probabilities(logits: np.ndarray, multi_label: bool) -> np.ndarray:
    """Class probabilities, shape (N, C): rows sum to 1, but in a multi-label set each class is by itself."""
    return expit(logits) if multi_label else softmax(logits, axis=1)


def _loss_and_gradient(
    flat: np.ndarray, inputs: np.ndarray, targets: np.ndarray, l2: float, multi_label: bool = False
) -> tuple[float, np.ndarray]:
    weights = flat.reshape(-1, targets.shape[1])
    kernel, bias = weights[:-1], weights[-1]
    count = len(inputs)
    # Products in the numbers of the inputs, all else in float64: a loss that is summed in float32 misleads the search.
    # Classes by pictures: along rows as short as the classes are few, maxima and sums take ten times longer.
    logits = np.ascontiguousarray((inputs @ kernel.astype(inputs.dtype, copy=False)).T, dtype=np.float64)
    logits += bias[:, None]
    if multi_label:
        total = log_loss(logits.T, targets).sum()
        prob = expit(logits)
    else:
        # By hand: SciPy's logsumexp checks its arguments for longer than these few numbers take.
        logits -= logits.max(axis=0)
        prob = np.exp(logits)
        sums = prob.sum(axis=0)
        total = np.log(sums).sum() - np.vdot(logits, targets.T)
        prob /= sums
    loss = total / count + 0.5 * l2 * np.vdot(kernel, kernel)
    prob -= targets.T
    prob /= count
    gradient = np.empty_like(weights)
    np.matmul(inputs.T, prob.T.astype(inputs.dtype, copy=False), out=gradient[:-1])
    gradient[:-1] += l2 * kernel
    prob.sum(axis=1, out=gradient[-1])
    return float(loss), gradient.ravel()
