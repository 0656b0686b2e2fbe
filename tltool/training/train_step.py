"""One step of training on a batch: on one device or several, at once or in pieces that fit into memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

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
        self._pieces: Pieces | None = None

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
        # Keras shares a batch among devices itself on JAX; on TensorFlow `train_on_batch` gives each of them all of it.
        shares = replicas() == 1 or keras.backend.backend() == "jax"
        try:
            return self._whole(*given) if self.parts == 1 and shares else self._in_parts(*given)
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
        inputs, targets, weights = padded(inputs, targets, weights, replicas())
        return float(self._network.train_on_batch(inputs, targets, sample_weight=weights))

    def _in_parts(self, inputs: Any, targets: np.ndarray, weights: np.ndarray | None) -> float:
        if self._pieces is None:
            self._network.optimizer.build(self._network.trainable_variables)  # nothing where it is already
            self._pieces = PIECES[keras.backend.backend()](self._network)
        total, sums = 0.0, None
        for piece in pieces((inputs, targets, weights), self.parts):
            share = np.float32(len(piece[1]) / len(targets))
            loss, sums = self._pieces.add(sums, share, *padded(*piece, replicas()))
            total += float(loss)
        self._pieces.apply(sums)
        return total


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, or the machine, had too little memory; each backend has an error of its own for it."""
    if isinstance(error, MemoryError):
        return True
    name = type(error).__name__
    return name == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error) or "Out of memory" in str(error)


def pieces(batch: tuple, parts: int) -> Iterator[tuple]:
    """A batch of inputs, targets and what may follow, such as weights or None, in at most so many parts."""
    count = len(batch[1])
    size = -(-count // parts)
    for start in range(0, count, size):
        rows = slice(start, start + size)
        yield tuple(None if array is None else _cut(array, rows) for array in batch)


def padded(
    inputs: Any, targets: np.ndarray, weights: np.ndarray | None, count: int
) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """A batch that `count` devices can share equally, with the mean loss of the given one.

    What is filled up has a weight of 0, and the others weigh more for it: a mean divides by all of them.
    """
    if count == 1:
        return inputs, targets, weights
    pictures = len(targets)
    size = -(-pictures // count) * count
    weights = np.ones(pictures, np.float32) if weights is None else weights
    rows = np.arange(size) % pictures
    filled = np.where(np.arange(size) < pictures, weights[rows] * size / pictures, 0.0).astype(np.float32)
    return _cut(inputs, rows), targets[rows], filled


def _cut(inputs: Any, rows: Any) -> Any:
    return [array[rows] for array in inputs] if isinstance(inputs, list) else inputs[rows]


class Pieces(NamedTuple):
    """What a step in pieces is made of.

    Attributes:
        add: Of (sums, share, inputs, targets, weights); gives the piece's loss times its share of the batch, and the
            sums with its gradients times that; they are None before the first piece.
        apply: The optimizer's step with these sums.
    """

    add: Callable[..., tuple[Any, Any]]
    apply: Callable[[Any], None]


def _pieces_on_tensorflow(network: keras.Model) -> Pieces:
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()  # the default one, with one device, runs all this as it stands
    devices, total = strategy.num_replicas_in_sync, tf.distribute.ReduceOp.SUM
    compiled = tf.function(autograph=False, reduce_retracing=True)

    @tf.function(autograph=False, reduce_retracing=True, jit_compile=network.jit_compile)
    def differentiated(inputs: Any, targets: Any, weights: Any) -> tuple[Any, list]:
        with tf.GradientTape() as tape:
            predicted = network(inputs, training=True)
            # Keras divides it by the number of devices.
            loss = network.compute_loss(x=inputs, y=targets, y_pred=predicted, sample_weight=weights, training=True)
        found = tape.gradient(loss, network.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, [tf.convert_to_tensor(gradient) for gradient in found]

    def add_own(sums: list | None, share: Any, inputs: Any, targets: Any, weights: Any) -> tuple[Any, list]:
        loss, found = differentiated(inputs, targets, weights)
        found = [share * gradient for gradient in found]
        return share * loss, found if sums is None else [a + b for a, b in zip(sums, found, strict=True)]

    def apply_own(sums: list) -> None:
        if devices > 1:
            # An optimizer clips what each device has, and adds up only then: so the first gives the sum, others zeros.
            context = tf.distribute.get_replica_context()
            first = tf.cast(tf.equal(context.replica_id_in_sync_group, 0), tf.float32)
            sums = [first * gradient for gradient in context.all_reduce(total, sums)]
        network.optimizer.apply(sums, network.trainable_variables)

    @compiled
    def add(sums: list | None, share: Any, piece: tuple) -> tuple[Any, list]:
        losses, sums = strategy.run(add_own, args=(sums, share, *piece))
        return strategy.reduce(total, losses, axis=None), sums

    def split(array: np.ndarray) -> Any:
        own = np.split(array, devices)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(own[context.replica_id_in_sync_group])
        )

    def add_piece(sums: list | None, share: Any, *piece: Any) -> tuple[Any, list]:
        return add(sums, share, piece if devices == 1 else tf.nest.map_structure(split, piece))

    return Pieces(add_piece, compiled(lambda sums: strategy.run(apply_own, args=(sums,))))


def _pieces_on_jax(network: keras.Model) -> Pieces:
    import jax

    optimizer, trained, fixed = network.optimizer, network.trainable_variables, network.non_trainable_variables

    def loss_of(values: list, others: list, inputs: Any, targets: Any, weights: Any) -> tuple[Any, list]:
        mapping = [*zip(trained, values, strict=True), *zip(fixed, others, strict=True)]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            predicted = network(inputs, training=True)
            loss = network.compute_loss(x=inputs, y=targets, y_pred=predicted, sample_weight=weights, training=True)
        return loss, [scope.get_current_value(variable) for variable in fixed]

    differentiated = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    step = jax.jit(optimizer.stateless_apply)

    def add(sums: list | None, share: Any, *piece: Any) -> tuple[Any, list]:
        piece = jax.tree.map(_split_on_jax, piece)
        (loss, moved), found = differentiated(_values(trained), _values(fixed), *piece)
        _assign(fixed, moved)
        found = [share * gradient for gradient in found]
        return share * loss, found if sums is None else [a + b for a, b in zip(sums, found, strict=True)]

    def apply(sums: list) -> None:
        values, slots = step(_values(optimizer.variables), sums, _values(trained))
        _assign([*trained, *optimizer.variables], [*values, *slots])

    return Pieces(add, apply)


PIECES = {"tensorflow": _pieces_on_tensorflow, "jax": _pieces_on_jax}


def _split_on_jax(array: np.ndarray) -> Any:
    """An array as the devices share it."""
    spread = keras.distribution.distribution()
    if spread is None:
        return array
    return keras.distribution.distribute_tensor(array, spread.get_data_layout(array.shape))


def _values(variables: Sequence[keras.Variable]) -> list:
    return [variable.value for variable in variables]


def _assign(variables: Sequence[keras.Variable], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
