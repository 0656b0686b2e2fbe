"""A loss differentiated once and twice, compiled, on the backend that Keras runs on.

Hessian-vector products cost about as much as two gradients and never form the Hessian: on TensorFlow the gradient of
the gradient along a vector, on JAX the forward derivative of the gradient (Pearlmutter, 1994, "Fast exact
multiplication by the Hessian").
"""

from collections.abc import Callable
from typing import Any

import keras

from tltool.errors import OptimizerError

Loss = Callable[[list, list, tuple], Any]


class Derivatives:
    """The derivatives of a loss by its first argument.

    Args:
        owner: Name of the optimizer, for messages.
        loss: Of variables' values, values that stay, and a batch; gives a scalar tensor.

    Raises:
        OptimizerError: on a backend other than TensorFlow and JAX.

    Attributes:
        loss_and_gradient: Of (values, fixed, batch); gives the loss and a list like `values`.
    """

    def __init__(self, owner: str, loss: Loss):
        self.owner = owner
        backend = keras.backend.backend()
        if backend not in BACKENDS:
            raise OptimizerError(
                f"{owner}: cannot differentiate on the Keras backend {backend}. "
                f"Set KERAS_BACKEND to {' or '.join(BACKENDS)}."
            )
        self.loss_and_gradient, self._hessian_vector = BACKENDS[backend](loss)

    def hessian_vector(self, values: list, vectors: list, fixed: list, batch: tuple) -> list:
        """The Hessian times a vector that is given, as the result is, as a list like `values`.

        Raises:
            OptimizerError: if a layer has no second derivative on this backend.
        """
        try:
            return self._hessian_vector(values, vectors, fixed, batch)
        except (LookupError, NotImplementedError) as error:
            raise OptimizerError(
                f"{self.owner}: a layer of the model cannot be differentiated twice ({error}). "
                "LBFGS needs only the first derivative."
            ) from error


def _on_tensorflow(loss: Loss) -> tuple[Callable, Callable]:
    import tensorflow as tf

    def gradient(values: list, fixed: list, batch: tuple) -> tuple[Any, list]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            result = loss(values, fixed, batch)
        # Zeros for variables that the loss does not depend on; an embedding's sparse rows in full.
        found = tape.gradient(result, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return result, [tf.convert_to_tensor(array) for array in found]

    def product(values: list, vectors: list, fixed: list, batch: tuple) -> list:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            _, found = gradient(values, fixed, batch)
        found = tape.gradient(found, values, vectors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [tf.convert_to_tensor(array) for array in found]

    # Without autograph and with relaxed shapes: as Keras compiles its own steps, so that what trains minimizes too.
    compiled = tf.function(autograph=False, reduce_retracing=True)
    return compiled(gradient), compiled(product)


def _on_jax(loss: Loss) -> tuple[Callable, Callable]:
    import jax

    def product(values: list, vectors: list, fixed: list, batch: tuple) -> list:
        return jax.jvp(lambda at: jax.grad(loss)(at, fixed, batch), (values,), (vectors,))[1]

    return jax.jit(jax.value_and_grad(loss)), jax.jit(product)


BACKENDS = {"tensorflow": _on_tensorflow, "jax": _on_jax}
