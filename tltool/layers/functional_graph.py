"""The calls that a functional model is made of, and the model made anew from the same layers with others among them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras

from tltool.errors import RegularizerError

# One call of a layer or of an operation of keras.ops; Keras has its class, but does not export it. A layer that is
# called twice has two, which is why nothing here goes by layers.
Call = Any
Function = Callable[..., Any]  # of a symbolic tensor; a layer, or a plain function


@dataclass
class Changes:
    """What is otherwise in a model that is made anew.

    Attributes:
        between: What stands between a tensor and one call that reads it, by the call and the id of the tensor.
        behind: What stands behind a tensor, for all calls that read it, by its id.
        instead: What is called in the place of a call's own layer, with the same arguments and keywords.
    """

    between: dict[tuple[Call, int], Function] = field(default_factory=dict)
    behind: dict[int, Function] = field(default_factory=dict)
    instead: dict[Call, Function] = field(default_factory=dict)


def calls_of(model: keras.Model) -> list[Call]:
    """The calls of a functional model, each after those it reads from; the first is its input.

    Raises:
        RegularizerError: if the model is no graph from one input to one output.
    """
    if not isinstance(model, keras.models.Model) or not hasattr(model, "operations"):
        raise RegularizerError(
            f"regularizers: {type(model).__name__} has no graph that layers could be inserted into. "
            "Give a functional model: keras.Model(inputs, outputs)."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise RegularizerError(
            f"regularizers: the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs. "
            "Give one that takes pixels and gives logits."
        )
    by_depth = model._nodes_by_depth
    return [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth]]


def output_call(model: keras.Model) -> Call:
    """The call that gives the model's output."""
    operation, index, _ = model.outputs[0]._keras_history
    return operation._inbound_nodes[index]


def closures(calls: list[Call]) -> dict[int, int]:
    """All that each tensor is computed from.

    Args:
        calls: In the order of `calls_of`.

    Returns:
        By the id of a tensor, a number whose bit i says whether call i is needed for it, its own call included.
    """
    found: dict[int, int] = {}
    for position, call in enumerate(calls):
        needed = 1 << position
        for tensor in call.input_tensors:
            needed |= found[id(tensor)]
        found |= {id(tensor): needed for tensor in call.outputs}
    return found


def rebuilt(model: keras.Model, changes: Changes, input_shape: tuple[int, ...] | None = None) -> keras.Model:
    """A model of the very same layers, so that training one trains the other; the model itself is not touched.

    Unlike `keras.models.clone_model` it tells two calls of one layer apart, and is not compiled.

    Args:
        model: From one input to one output.
        changes: What differs.
        input_shape: Of the new input, the batch included; that of the model's own where None.

    Raises:
        RegularizerError: if the model is no graph from one input to one output.
        ValueError: Keras's own, if a layer does not take such an input.
    """
    (old_input,) = model.inputs
    new_input = keras.Input(batch_shape=input_shape or old_input.shape, dtype=old_input.dtype, name=old_input.name)
    tensors: dict[int, Any] = {id(old_input): new_input}
    for call in calls_of(model):
        if not call.is_input:
            _repeat(call, tensors, changes)
    return keras.Model(new_input, tensors[id(model.outputs[0])], name=model.name)


def cut(model: keras.Model, moves: Callable[[Call], bool]) -> tuple[keras.Model, keras.Model] | None:
    """A model in two: what always gives the same for a picture, and the rest, which takes what that gives.

    Args:
        model: From one input to one output.
        moves: Whether a call gives another result after a training step, or at every look. What follows such a call
            moves with it.

    Returns:
        The front, from the model's input to a list of tensors, and the rest, from these to the model's output; both
        of the model's own layers. None where nothing moves, or nothing stands still but the input.

    Raises:
        RegularizerError: if the model is no graph from one input to one output.
    """
    calls = [call for call in calls_of(model) if not call.is_input]
    moving: set[int] = set()  # ids of tensors
    later, border = [], {}
    for call in calls:
        if moves(call) or any(id(tensor) in moving for tensor in call.input_tensors):
            moving |= {id(tensor) for tensor in call.outputs}
            border |= {id(tensor): tensor for tensor in call.input_tensors if id(tensor) not in moving}
            later.append(call)
    if id(model.outputs[0]) not in moving or id(model.inputs[0]) in border:
        return None
    entries = {
        key: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=f"border_{number}")
        for number, (key, tensor) in enumerate(border.items())
    }
    tensors = dict(entries)
    for call in later:
        _repeat(call, tensors, Changes())
    front = keras.Model(model.input, list(border.values()), name=f"{model.name}_front")
    return front, keras.Model(list(entries.values()), tensors[id(model.outputs[0])], name=f"{model.name}_rest")


def _repeat(call: Call, tensors: dict[int, Any], changes: Changes) -> None:
    """Makes a call on new tensors, and adds what it gives to them."""
    read: Mapping[int, Any] = {id(tensor): tensors[id(tensor)] for tensor in call.input_tensors}
    read = {key: changes.between.get((call, key), _same)(tensor) for key, tensor in read.items()}
    arguments, keywords = call.arguments.fill_in(read)
    outputs = keras.tree.flatten(changes.instead.get(call, call.operation)(*arguments, **keywords))
    for old, new in zip(call.outputs, outputs, strict=True):
        tensors[id(old)] = changes.behind.get(id(old), _same)(new)


def _same(tensor: Any) -> Any:
    return tensor
