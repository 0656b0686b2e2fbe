"""Newton's method for many weights: each step by conjugate gradients, which need the Hessian only times vectors."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

from tltool.errors import DivergedError
from tltool.optimizers.catalogue import check_optimizer_arguments
from tltool.optimizers.full_batch import (
    PRECISIONS,
    Evaluations,
    HessianVector,
    LossAndGradient,
    Minimum,
    OnIteration,
    as_start,
    largest,
    reason_to_stop,
)
from tltool.progress import Report, silent

if TYPE_CHECKING:
    import keras

LARGEST_RADIUS = 1e9  # no limit on a step's length: SciPy's own of 1000 makes far minima take hundreds of steps
ROUNDING = 8  # a change of the loss of this many times its precision is noise: sums over examples round many times
FLAT_STEPS = 3  # steps in a row within that noise end the search: whether one is taken or refused is chance by then
PRODUCTS_A_WEIGHT = 20  # in one step at most; exact arithmetic needs 1, and SciPy has no limit of its own


class NewtonCG:
    """Newton steps by truncated conjugate gradients inside a trust region, by SciPy's trust-ncg.

    Where the loss curves downwards it follows that direction to the edge of the region, so that saddles hold it up
    no more than they must, and a step that does not lower the loss is refused.

    Args:
        max_iterations: Steps at most, refused ones included.
        tolerance: Largest absolute partial derivative at which a point counts as the minimum.

    Raises:
        OptimizerError: naming every argument that is wrong.

    Reference: Steihaug, 1983, "The conjugate gradient method and trust regions in large scale optimization"; Nocedal
        and Wright, 2006, "Numerical optimization", algorithms 4.1 and 7.2.
    """

    def __init__(self, max_iterations: int = 100, tolerance: float = 1e-6):
        check_optimizer_arguments("newton-cg", {"max_iterations": max_iterations, "tolerance": tolerance})
        self.max_iterations = max_iterations
        self.tolerance = tolerance

    def solve(
        self,
        loss_and_gradient: LossAndGradient,
        start: np.ndarray,
        hessian_vector: HessianVector,
        on_iteration: OnIteration | None = None,
        precision: str = "float64",
    ) -> Minimum:
        """Minimizes a function of a flat array.

        Args:
            loss_and_gradient: Gives loss and gradient, shape (n,), at a point of shape (n,).
            start: Shape (n,).
            hessian_vector: Gives the Hessian at a point times a vector, all of shape (n,).
            on_iteration: Told the point after every step, the start first; of a refused step the point before it.
            precision: The numbers that the loss is computed in, a key of `PRECISIONS`; changes below them are noise.

        Raises:
            OptimizerError: if the start is not a flat array of at least one number.
            DivergedError: if loss or gradient is not finite at the start, or the Hessian at a later point.
        """
        search = _Search(self.tolerance, loss_and_gradient, as_start("NewtonCG", start), hessian_vector, precision)
        return search.run(self.max_iterations, on_iteration)

    def minimize(self, model: "keras.Model", data: Any, *, batch_size: int = 256, report: Report = silent) -> Minimum:
        """Minimizes the loss of a Keras model on a whole set, and leaves the model at the best weights found.

        Arguments, result and errors are those of `LBFGS.minimize`. Every product with the Hessian goes through the
        whole set too, and costs about two evaluations.

        Raises:
            OptimizerError: moreover if a layer cannot be differentiated twice.
        """
        from tltool.optimizers.whole_set import WholeSet

        whole = WholeSet("NewtonCG", model, data, batch_size)
        with whole.followed(report, self.max_iterations) as on_iteration:
            return self.solve(whole.loss_and_gradient, whole.start, whole.hessian_vector, on_iteration, whole.precision)


class _Search:
    """One minimization: SciPy takes the steps, this keeps what they reached and knows when to stop."""

    def __init__(
        self,
        tolerance: float,
        loss_and_gradient: LossAndGradient,
        start: np.ndarray,
        hessian_vector: HessianVector,
        precision: str,
    ):
        self.tolerance = tolerance
        self.precision = precision
        self.multiply = hessian_vector
        self.evaluations = Evaluations(loss_and_gradient)
        self.point = self.trial = start
        self.loss, self.gradient = self.trial_loss, self.trial_gradient = self.evaluations(start)
        self.iterations = self.flat = self.products = self.products_before = 0

    def run(self, max_iterations: int, on_iteration: OnIteration | None) -> Minimum:
        if on_iteration is not None:
            on_iteration(self.point)
        reason = ""
        if largest(self.gradient) > self.tolerance:
            try:
                optimize.minimize(
                    self._evaluate,
                    self.point,
                    jac=True,
                    hessp=self._product,
                    method="trust-ncg",
                    callback=lambda point: self._step_done(point, on_iteration),
                    # gtol: SciPy's is of the Euclidean norm, `_step_done` stops by the largest derivative.
                    options={"maxiter": max_iterations, "max_trust_radius": LARGEST_RADIUS, "gtol": 0.0},
                )
            except _NoStepError as stop:
                reason = str(stop)
        norm = largest(self.gradient)
        return Minimum(
            point=self.point,
            loss=self.loss,
            gradient_norm=norm,
            iterations=self.iterations,
            evaluations=self.evaluations.count,
            hessian_products=self.products,
            converged=norm <= self.tolerance,
            reason=reason or reason_to_stop(norm, self.tolerance, self.iterations, max_iterations, self.precision),
        )

    def _evaluate(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        if not np.array_equal(point, self.trial):
            self.trial = point.copy()
            try:
                self.trial_loss, self.trial_gradient = self.evaluations(point)
            except DivergedError:
                # SciPy refuses the step and tries a quarter of it.
                self.trial_loss, self.trial_gradient = math.inf, np.zeros_like(point)
        return self.trial_loss, self.trial_gradient

    def _product(self, point: np.ndarray, vector: np.ndarray) -> np.ndarray:
        if self.products - self.products_before >= PRODUCTS_A_WEIGHT * len(point):
            raise _NoStepError(f"conjugate gradients found no step: the Hessian is too uneven for {self.precision}")
        self.products += 1
        product = self.multiply(point, vector)
        if not np.isfinite(product).all():
            # SciPy would multiply forever: no comparison with NaN ends its loop.
            raise DivergedError(
                f"The Hessian is not finite after {self.iterations} iterations, where the loss is {self.loss:.6g}. "
                "LBFGS needs only the gradient."
            )
        return product

    def _step_done(self, point: np.ndarray, on_iteration: OnIteration | None) -> None:
        self.iterations += 1
        self.products_before = self.products
        change = abs(self.trial_loss - self.loss)
        self.flat = self.flat + 1 if change <= ROUNDING * PRECISIONS[self.precision] * abs(self.loss) else 0
        if np.array_equal(point, self.trial):  # taken, not refused
            self.point, self.loss, self.gradient = self.trial, self.trial_loss, self.trial_gradient
        if on_iteration is not None:
            on_iteration(self.point)
        if largest(self.gradient) <= self.tolerance or self.flat >= FLAT_STEPS:
            raise StopIteration


class _NoStepError(Exception):
    """Conjugate gradients do not come to an end."""
