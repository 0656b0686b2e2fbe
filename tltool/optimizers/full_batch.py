"""What the full-batch optimizers share: the answer that they give, and a loss that is counted and checked."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tltool.errors import DivergedError, OptimizerError

LossAndGradient = Callable[[np.ndarray], tuple[float, np.ndarray]]
HessianVector = Callable[[np.ndarray, np.ndarray], np.ndarray]
OnIteration = Callable[[np.ndarray], None]

# Distance from 1 to the next number, by the name of the numbers; coarsest first.
PRECISIONS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a full-batch optimizer stopped, and why.

    Attributes:
        point: Shape (n,), float64; of a model its trainable variables, flattened in their order.
        loss: At the point.
        gradient_norm: Largest absolute partial derivative at the point.
        iterations: Steps that were taken or tried.
        evaluations: How often loss and gradient were computed on the whole set.
        hessian_products: How often the Hessian was multiplied by a vector; 0 for L-BFGS.
        converged: Whether `gradient_norm` is at or below the tolerance.
        reason: Why it stopped, in words.
    """

    point: np.ndarray
    loss: float
    gradient_norm: float
    iterations: int
    evaluations: int
    hessian_products: int
    converged: bool
    reason: str

    def __str__(self) -> str:
        products = f" and {self.hessian_products} Hessian products" if self.hessian_products else ""
        return (
            f"loss {self.loss:.6g} after {self.iterations} iterations ({self.evaluations} evaluations{products}), "
            f"largest partial derivative {self.gradient_norm:.1e}: {self.reason}"
        )


class Evaluations:
    """A loss with its gradient, counted and checked.

    Args:
        function: Gives loss and gradient, shape (n,), at a point of shape (n,).
    """

    def __init__(self, function: LossAndGradient):
        self.function = function
        self.count = 0
        self.loss = math.nan

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Loss and gradient.

        Raises:
            DivergedError: if either is not finite.
        """
        loss, gradient = self.function(point)
        self.count += 1
        # One sum, as NaN and infinity outlive it: the probe's fits are so small that a look at each number is felt.
        if not math.isfinite(loss + gradient.sum()):
            what = "gradient" if math.isfinite(loss) else "loss"
            if self.count == 1:
                raise DivergedError(
                    f"The {what} is not a number at the start. Look for NaN or infinity in the data and the weights; "
                    "features that are scaled to a spread of 1 and freshly made weights keep it finite."
                )
            raise DivergedError(
                f"The {what} is not a number any more at evaluation {self.count}; the loss before was {self.loss:.6g}. "
                "Scale the features to a spread of 1, add a kernel_regularizer, or take NewtonCG, which shortens a "
                "step that leads out of the numbers."
            )
        self.loss = float(loss)
        return self.loss, gradient


def as_start(owner: str, start: np.ndarray) -> np.ndarray:
    """The start as a flat float64 array of its own.

    Raises:
        OptimizerError: if it is not a flat array of at least one number.
    """
    start = np.array(start, dtype=np.float64)
    if start.ndim != 1 or not len(start):
        raise OptimizerError(f"{owner}: the start has shape {start.shape}: give a flat array of at least one number.")
    return start


def largest(gradient: np.ndarray) -> float:
    """The largest absolute partial derivative."""
    return float(np.abs(gradient).max())


def reason_to_stop(norm: float, tolerance: float, iterations: int, max_iterations: int, precision: str) -> str:
    """Why a search ended that SciPy ended, in words."""
    if norm <= tolerance:
        return f"the gradient is at most {tolerance:g}"
    if iterations >= max_iterations:
        return f"all {max_iterations} iterations were used up"
    return f"no step found a lower point: the loss is as exact as {precision} allows, or has a kink there"
