"""A model that computes in another precision for a while; its weights are float32 throughout."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def computing_in(model: keras.Model, policy: str) -> Iterator[None]:
    """While it is entered, the model's layers compute in this policy; afterwards in their own.

    The last layer keeps to float32: of logits in bfloat16, with three digits, a log loss could not be told. What was
    built of the layers before, or within, is to be built anew after: a graph keeps what it was made with. The model's
    own way to predict is.

    Args:
        model: Functional; its last layer gives the output.
        policy: "float32" leaves everything as it is; "mixed_bfloat16" or "mixed_float16".
    """
    if policy == "float32":
        yield
        return
    *layers, _ = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    before = [(layer, layer.dtype_policy) for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = policy
        model.predict_function = None
        yield
    finally:
        for layer, own in before:
            layer.dtype_policy = own
        model.predict_function = None
