"""One step of training on a batch: on one device or several, at once or in pieces that fit into memory."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tltool.errors import TltoolError
from tltool.training.devices import replicas

Inputs = np.ndarray | Sequence[np.ndarray]


class OutOfMemoryError(Exception):
    """A batch, or a piece of one, did not fit; weights may have moved in part."""


class TrainStep:
    """Trains a compiled network by one step at a time.

    Attributes:
        parts: In how many pieces a batch is computed. Their gradients are averaged, so that the step is that of the
            whole batch; steps are counted, rates scheduled and gradients clipped by whole batches, as Keras's own
            `gradient_accumulation_steps`, which counts pieces, would not.

    Args:
        network: Compiled with an optimizer and a loss.
        say: Told what there is to know.
    """

    def __init__(self, network: keras.Model, say: Callable[[str], None] = lambda text: None):
        self._network, self._say = network, say
        self.parts = 1
        self._gradients: Callable | None = None
        self._replicated: Callable | None = None

    def __call__(self, inputs: Inputs, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
        """One optimizer step; gives the loss before it, penalties included.

        Args:
            inputs: An array, or one for each input of the network; pictures in front.
            targets: Shape (n, classes).
            weights: What each picture counts, shape (n,); all alike where None.

        Raises:
            OutOfMemoryError: if it did not fit. Go back to weights that are whole, call `make_smaller`, try again.
        """
        given = (list(inputs) if isinstance(inputs, (list, tuple)) else inputs), targets, weights
        try:
            if self.parts > 1:
                return self._in_parts(*given)
            return self._over_devices(*given) if replicas() > 1 else self._whole(*given)
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(str(error)) from error
            raise

    def make_smaller(self, batch_size: int) -> None:
        """Twice as many pieces.

        Raises:
            TltoolError: if a piece is a single picture already.
        """
        if self.parts >= batch_size:
            raise TltoolError(
                "Out of memory with one picture at a time. Give a smaller image_size or backbone, freeze more of it, "
                "or close other programs; `tltool fit DATA --recipe linear-probe` needs least."
            )
        before, self.parts = -(-batch_size // self.parts), self.parts * 2
        self._say(
            f"Out of memory with {before} pictures at once: going on with {-(-batch_size // self.parts)}, and "
            f"{self.parts} such pieces a step."
        )

    def _whole(self, inputs: Any, targets: np.ndarray, weights: np.ndarray | None) -> float:
        return float(self._network.train_on_batch(inputs, targets, sample_weight=weights))

    def _in_parts(self, inputs: Any, targets: np.ndarray, weights: np.ndarray | None) -> float:
        network, count = self._network, len(targets)
        if self._gradients is None:
            self._gradients = GRADIENTS[keras.backend.backend()](network)
        size, total, sums = -(-count // self.parts), 0.0, None
        for start in range(0, count, size):
            piece = slice(start, start + size)
            share = len(targets[piece]) / count
            own = None if weights is None else weights[piece]
            loss, gradients = self._gradients(_cut(inputs, piece), targets[piece], own)
            total += share * float(loss)
            gradients = [gradient * share for gradient in gradients]
            sums = gradients if sums is None else [a + b for a, b in zip(sums, gradients, strict=True)]
        network.optimizer.apply(sums, network.trainable_variables)
        return total

    def _over_devices(self, inputs: Any, targets: np.ndarray, weights: np.ndarray | None) -> float:
        inputs, targets, weights = padded(inputs, targets, weights, replicas())
        if keras.backend.backend() == "jax":
            return self._whole(inputs, targets, weights)
        if self._replicated is None:
            self._replicated = _replicated_on_tensorflow(self._network)
        return float(self._replicated(inputs, targets, weights))


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, or the machine, had too little memory; each backend has an error of its own for it."""
    if isinstance(error, MemoryError):
        return True
    name = type(error).__name__
    return name == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)


def padded(
    inputs: Any, targets: np.ndarray, weights: np.ndarray | None, count: int
) -> tuple[Any, np.ndarray, np.ndarray]:
    """A batch that `count` devices can share equally, with the mean loss of the given one.

    What is filled up has a weight of 0, and the others weigh more for it: a mean divides by all of them.
    """
    pictures = len(targets)
    size = -(-pictures // count) * count
    weights = np.ones(pictures, np.float32) if weights is None else weights
    rows = np.arange(size) % pictures
    filled = np.where(np.arange(size) < pictures, weights[rows] * size / pictures, 0.0).astype(np.float32)
    return _cut(inputs, rows), targets[rows], filled


def _cut(inputs: Any, rows: Any) -> Any:
    return [array[rows] for array in inputs] if isinstance(inputs, list) else inputs[rows]


def _gradients_on_tensorflow(network: keras.Model) -> Callable:
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def gradients(inputs: Any, targets: Any, weights: Any) -> tuple[Any, list]:
        with tf.GradientTape() as tape:
            predicted = network(inputs, training=True)
            loss = network.compute_loss(x=inputs, y=targets, y_pred=predicted, sample_weight=weights, training=True)
        found = tape.gradient(loss, network.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, found

    return gradients


def _gradients_on_jax(network: keras.Model) -> Callable:
    import jax

    def loss_of(values: list, fixed: list, inputs: Any, targets: Any, weights: Any) -> tuple[Any, list]:
        mapping = [*zip(network.trainable_variables, values, strict=True)]
        mapping += zip(network.non_trainable_variables, fixed, strict=True)
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            predicted = network(inputs, training=True)
            loss = network.compute_loss(x=inputs, y=targets, y_pred=predicted, sample_weight=weights, training=True)
        moved = [scope.get_current_value(variable) for variable in network.non_trainable_variables]
        return loss, moved

    compiled = jax.jit(jax.value_and_grad(loss_of, has_aux=True))

    def gradients(inputs: Any, targets: Any, weights: Any) -> tuple[Any, list]:
        values = [variable.value for variable in network.trainable_variables]
        fixed = [variable.value for variable in network.non_trainable_variables]
        (loss, moved), found = compiled(values, fixed, inputs, targets, weights)
        for variable, value in zip(network.non_trainable_variables, moved, strict=True):
            variable.assign(value)
        return loss, found

    return gradients


GRADIENTS = {"tensorflow": _gradients_on_tensorflow, "jax": _gradients_on_jax}


def _replicated_on_tensorflow(network: keras.Model) -> Callable:
    """A step in which each device gets its own share: `train_on_batch` would give each of them the whole batch."""
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    count = strategy.num_replicas_in_sync

    @tf.function(autograph=False, reduce_retracing=True)
    def step(batch: Any) -> Any:
        def on_one(shared: Any) -> Any:
            return network.train_step(shared)["loss"]

        return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(on_one, args=(batch,)), axis=None)

    def share(array: np.ndarray) -> Any:
        parts = np.split(array, count)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def run(inputs: Any, targets: np.ndarray, weights: np.ndarray) -> Any:
        network.reset_metrics()
        shared = [share(array) for array in inputs] if isinstance(inputs, list) else share(inputs)
        return step((shared, share(targets), share(weights)))

    return run
