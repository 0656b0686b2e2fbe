"""Penalties on weights as terms of the loss: L1, L2, elastic net, and L2-SP, which pulls back to where training began.

Each is a sum over all numbers of the trained kernels, added once to the loss of a batch, which is a mean over its
pictures. A sum, as in the papers: strengths that are right for one network are too strong for one of more weights.
Squares are halved, so that a gradient is strength * w, that of a (coupled) weight decay of the same number.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tltool.errors import RegularizerError
from tltool.layers.regularizer_names import check_regularizers


@keras.saving.register_keras_serializable("tltool")
class L2SP(keras.regularizers.Regularizer):
    """strength / 2 * sum (w - reference)^2: holds weights near those that were learned before.

    Args:
        strength: >= 0.
        reference: The weights to hold to, of the variable's own shape.

    Raises:
        RegularizerError: if the strength is out of range, or, when called, the shapes differ.

    Reference: Li, Grandvalet and Davoine, 2018, "Explicit inductive bias for transfer learning with convolutional
    networks", section 3, the term in alpha.
    """

    def __init__(self, strength: float, reference: Any):
        check_regularizers({"l2_sp": strength})
        self.strength = float(strength)
        # A tensor, and made here: an array would be written into each compiled step as a constant.
        self.reference = ops.convert_to_tensor(np.asarray(reference))

    def __call__(self, x: Any) -> Any:
        if tuple(x.shape) != tuple(self.reference.shape):
            raise RegularizerError(
                f"L2SP: the weights have shape {tuple(x.shape)}, the reference {tuple(self.reference.shape)}. "
                "Give the weights of the same layer."
            )
        return self.strength / 2 * ops.sum(ops.square(x - ops.cast(self.reference, x.dtype)))

    def get_config(self) -> dict[str, Any]:
        return {"strength": self.strength, "reference": ops.convert_to_numpy(self.reference).tolist()}


def elastic_net(l1: float = 0.0, l2: float = 0.0) -> keras.regularizers.L1L2:
    """l1 * sum |w| + l2 / 2 * sum w^2: with one of them 0, L1 or L2 alone.

    Args:
        l1: >= 0.
        l2: >= 0; twice the number of the same name in Keras, which does not halve.

    Raises:
        RegularizerError: if a strength is out of range.

    Reference: Zou and Hastie, 2005, "Regularization and variable selection via the elastic net", section 2.1, with
    the square halved.
    """
    check_regularizers({"l1": l1, "l2": l2})
    return keras.regularizers.L1L2(l1=l1, l2=l2 / 2)


@contextmanager
def penalized(
    model: keras.Model,
    table: Mapping[str, float],
    start: Sequence[np.ndarray] | None = None,
    fresh: Collection[str] = (),
) -> Iterator[None]:
    """While it is entered, the model's trained kernels carry what the table asks of `l1`, `l2` and `l2_sp`.

    Kernels are those of Dense and convolutions. Biases and the scales and shifts of normalization are left alone: they
    are few, and pulling them to 0 (L1, L2) would shift or switch off what they normalize.

    The variables carry the penalties, so that every model that is trained through them has them in its loss, also
    `tltool.layers.regularize.regularized(model, ...)` and a full-batch search. Penalties that a kernel already has
    stay, and are what it has again at the end, whatever ended it.

    A training step is compiled with what is there at its first call: compile the model after entering, and again
    before it is trained without.

    L2-SP pulls the head to what it starts from as well, where the paper decays a new head to 0: tltool's head is no
    random one, but the solved probe. So an ever stronger pull gives back the probe, not a network without a head.

    Args:
        model: Its layers frozen as they will be trained.
        table: Numbers by name; others than these three are left to `regularized`.
        start: The weights that `l2_sp` pulls to, as `model.get_weights()` gave them before any training; what the
            model has now where None.
        fresh: Names of layers that have learned nothing yet; `l2_sp` pulls them to 0, the paper's term in beta, with
            beta = alpha.

    Raises:
        RegularizerError: if the table is not right, `start` does not fit, or a name in `fresh` is not the model's.
    """
    check_regularizers(table)
    references = _references(model, start, fresh) if table.get("l2_sp") else {}
    before = [(kernel, kernel.regularizer) for kernel in _trained_kernels(model)]
    try:
        for kernel, own in before:
            terms = [own] if own else []
            if table.get("l1") or table.get("l2"):
                terms.append(elastic_net(table.get("l1", 0.0), table.get("l2", 0.0)))
            if references:
                terms.append(L2SP(table["l2_sp"], references[id(kernel)]))
            kernel.regularizer = _sum_of(terms) if terms else None
        yield
    finally:
        for kernel, own in before:
            kernel.regularizer = own


def _trained_kernels(model: keras.Model) -> list[keras.Variable]:
    # By name: depthwise_kernel and pointwise_kernel too, but not ConvNeXt's gamma or an embedding of positions.
    return [variable for variable in model.trainable_variables if variable.name.endswith("kernel")]


def _references(model: keras.Model, start: Sequence[np.ndarray] | None, fresh: Collection[str]) -> dict[int, Any]:
    """What each weight is pulled to, by the variable's id."""
    absent = set(fresh) - {layer.name for layer in model.layers}
    if absent:
        raise RegularizerError(f"l2_sp: there is no layer '{min(absent)}' in the model. Name layers of its own.")
    arrays = [ops.convert_to_numpy(weight) for weight in model.weights] if start is None else start
    if [np.shape(array) for array in arrays] != [tuple(weight.shape) for weight in model.weights]:
        raise RegularizerError("l2_sp: the start is not this model's. Give its get_weights() of before training.")
    references = {id(weight): array for weight, array in zip(model.weights, arrays, strict=True)}
    for name in fresh:
        references |= {id(weight): np.zeros(weight.shape) for weight in model.get_layer(name).weights}
    return references


def _sum_of(terms: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    return lambda weights: sum(term(weights) for term in terms)
