"""Several functional models as one, in which nothing is computed twice."""

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any

import keras

from tltool.errors import ShapeError
from tltool.layers.functional_graph import Call, calls_of

# What of a layer's configuration its output does not depend on: a backbone that one run froze and another one did not
# is still the same where no weight has moved.
WITHOUT_EFFECT = ("name", "trainable")


def merged(models: Sequence[keras.Model], taken: Collection[str] = ()) -> keras.Model:
    """One flat model of copies of all layers, from the picture that the models share to the output of each.

    Two calls are one and the same, and made once, where the layers are of one class, have equal configurations and
    equal weights to the bit, and read the same tensors. That is asked of call after call, from the picture up: so
    models share whatever they have in common at the bottom, be it the resizing, a frozen backbone or half of it, and
    part at the first weight that differs.

    Args:
        models: From inputs of one shape and type to one output each; they stay as they are. At least one.
        taken: Names that no layer gets. A layer keeps its own name where that is free, else a number is added.

    Returns:
        A model from one input to the list of outputs, in the order of the models.

    Raises:
        ShapeError: if there is no model, or their inputs differ.
    """
    if not models:
        raise ShapeError("There is no model to merge.")
    first = models[0].inputs[0]
    for model in models[1:]:
        other = model.inputs[0]
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            raise ShapeError(
                f"Models that take {first.dtype} {first.shape} and {other.dtype} {other.shape} share no picture."
            )
    names = set(taken)
    picture = keras.Input(batch_shape=first.shape, dtype=first.dtype, name=_free(first.name, names))
    made: dict[str, tuple[Any, list[Any]]] = {}  # by what a call computes: the copied layer, and what it gives
    outputs, sources = [], []
    for model in models:
        tensors: dict[int, Any] = {id(model.inputs[0]): picture}
        copies: dict[int, Any] = {}  # of a layer that is called twice there is one copy
        for call in calls_of(model):
            if call.is_input:
                continue
            arguments, keywords = call.arguments.fill_in({id(t): tensors[id(t)] for t in call.input_tensors})
            key = _key(call, arguments, keywords)
            if key not in made:
                copy = copies.get(id(call.operation))
                if copy is None:
                    copy = _copy(call.operation, names)
                    sources.append((copy, call.operation))
                made[key] = copy, keras.tree.flatten(copy(*arguments, **keywords))
            copies[id(call.operation)], results = made[key]
            tensors |= {id(old): new for old, new in zip(call.outputs, results, strict=True)}
        outputs.append(tensors[id(model.outputs[0])])
    for copy, source in sources:
        if isinstance(source, keras.layers.Layer):
            copy.set_weights(source.get_weights())
    return keras.Model(picture, outputs, name="merged")


def _key(call: Call, arguments: Any, keywords: Any) -> str:
    """Equal for two calls that compute the same."""
    operation = call.operation
    config = {key: value for key, value in operation.get_config().items() if key not in WITHOUT_EFFECT}
    read = keras.tree.map_structure(
        lambda value: f"tensor {id(value)}" if isinstance(value, keras.KerasTensor) else repr(value),
        [arguments, keywords],
    )
    described = [type(operation).__module__, type(operation).__qualname__, config, read]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=repr).encode())
    for weight in operation.get_weights() if isinstance(operation, keras.layers.Layer) else []:
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _copy(operation: Any, names: set[str]) -> Any:
    return type(operation).from_config(operation.get_config() | {"name": _free(operation.name, names)})


def _free(name: str, names: set[str]) -> str:
    """The name, or the first of NAME_2, NAME_3, ... that is free; it is taken from then on."""
    free, number = name, 1
    while free in names:
        number += 1
        free = f"{name}_{number}"
    names.add(free)
    return free
