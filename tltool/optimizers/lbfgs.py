"""L-BFGS: second-order steps from the last few gradients, on the whole set at once.

The lecture: in practice Adam is the first choice; L-BFGS is worth a try where a full-batch update is affordable, and
all sources of noise are off.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

from tltool.optimizers.catalogue import check_optimizer_arguments
from tltool.optimizers.full_batch import (
    Evaluations,
    LossAndGradient,
    Minimum,
    OnIteration,
    as_start,
    largest,
    reason_to_stop,
)
from tltool.progress import Report, silent

if TYPE_CHECKING:  # the probe minimizes without Keras, which takes seconds to import
    import keras

EVALUATIONS_A_STEP = 100  # more than SciPy's line search ever takes, so that iterations alone are limited


class LBFGS:
    """Limited-memory BFGS with a line search, by SciPy's L-BFGS-B without bounds.

    Args:
        memory: Past steps that approximate the curvature; more costs memory, fewer costs iterations.
        max_iterations: Steps at most.
        tolerance: Largest absolute partial derivative at which a point counts as the minimum.

    Raises:
        OptimizerError: naming every argument that is wrong.

    Reference: Liu and Nocedal, 1989, "On the limited memory BFGS method for large scale optimization"; Zhu et al.,
        1997, "Algorithm 778: L-BFGS-B".
    """

    def __init__(self, memory: int = 20, max_iterations: int = 1000, tolerance: float = 1e-6):
        given = {"memory": memory, "max_iterations": max_iterations, "tolerance": tolerance}
        check_optimizer_arguments("lbfgs", given)
        self.memory = memory
        self.max_iterations = max_iterations
        self.tolerance = tolerance

    def solve(
        self,
        loss_and_gradient: LossAndGradient,
        start: np.ndarray,
        on_iteration: OnIteration | None = None,
        precision: str = "float64",
    ) -> Minimum:
        """Minimizes a function of a flat array.

        Args:
            loss_and_gradient: Gives loss and gradient, shape (n,), at a point of shape (n,).
            start: Shape (n,).
            on_iteration: Told every iterate, the start first.
            precision: The numbers that the loss is computed in, a key of `PRECISIONS`; said where they end the search.

        Raises:
            OptimizerError: if the start is not a flat array of at least one number.
            DivergedError: if loss or gradient is not finite.
        """
        start = as_start("LBFGS", start)
        evaluations = Evaluations(loss_and_gradient)
        if on_iteration is not None:
            on_iteration(start.copy())
        found = optimize.minimize(
            evaluations,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=on_iteration,
            options={
                "maxcor": self.memory,
                "maxiter": self.max_iterations,
                "maxfun": EVALUATIONS_A_STEP * self.max_iterations,
                "gtol": self.tolerance,
                "ftol": 0.0,  # a flat stretch is no minimum: only the gradient says
            },
        )
        norm = largest(found.jac)
        return Minimum(
            point=found.x,
            loss=float(found.fun),
            gradient_norm=norm,
            iterations=int(found.nit),
            evaluations=evaluations.count,
            hessian_products=0,
            converged=norm <= self.tolerance,
            reason=reason_to_stop(norm, self.tolerance, found.nit, self.max_iterations, precision),
        )

    def minimize(self, model: "keras.Model", data: Any, *, batch_size: int = 256, report: Report = silent) -> Minimum:
        """Minimizes the loss of a Keras model on a whole set, and leaves the model at the best weights found.

        The loss is the one that the model was compiled with, with loss weights, weight decay and further losses of
        its layers, averaged over all examples (times their sample weights, where there are any). The model runs with
        `training=False`: dropout and batch statistics would make the loss random, and L-BFGS takes noise for
        curvature. Only trainable variables move; state such as BatchNormalization's averages stays. In float32 the
        search ends where the loss has no more digits, often before the tolerance is met; a model that is built and
        compiled after `keras.config.set_floatx("float64")` and `keras.config.set_dtype_policy("float64")` has more.

        Args:
            model: Compiled with a loss. Losses that are no mean over examples, such as those of masked sequences,
                depend on the batches.
            data: (x, y) or (x, y, sample_weight) of arrays, as a tuple; or batches of these that can be gone through
                many times and are the same each time: a list, a PyDataset, a tf.data.Dataset, a function that gives
                a new iterator.
            batch_size: Examples at once where `data` are arrays; >= 1. It costs memory; the result is the same.
            report: Told the iteration.

        Returns:
            The minimum; its point is the model's trainable variables, flattened in their order.

        Raises:
            OptimizerError: if the set is empty or can be gone through only once, or the model has no loss, nothing
                trainable, or does not fit the data.
            DivergedError: if the loss is not a number; the model is left at the last weights at which it was one.
        """
        from tltool.optimizers.whole_set import WholeSet

        whole = WholeSet("LBFGS", model, data, batch_size)
        with whole.followed(report, self.max_iterations) as on_iteration:
            return self.solve(whole.loss_and_gradient, whole.start, on_iteration, whole.precision)
