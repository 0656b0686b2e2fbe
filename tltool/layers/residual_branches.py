"""Where a network adds what a branch has computed to what goes past it."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from tltool.layers.functional_graph import Call, calls_of, closures

# Layers that add two tensors, and operations of keras.ops: by name, as Keras does not export the last, which
# Inception-ResNet adds its scaled branches with.
ADDITIONS = ("Add", "CustomScaleLayer")
# What a shortcut that changes shape is made of, as long as it has no activation.
PROJECTION = (
    layers.Conv2D,
    layers.BatchNormalization,
    layers.AveragePooling2D,
    layers.MaxPooling2D,
    layers.ZeroPadding2D,
)


@dataclass(frozen=True)
class Branch:
    """A residual branch.

    Attributes:
        addition: The call that adds its output to the shortcut.
        output: The symbolic tensor that it gives.
        layers: Those that only the branch needs.
        own_drop: The call of a layer at its end that drops it already, as `keras.applications` builds EfficientNets.
    """

    addition: Call
    output: Any
    layers: tuple[keras.layers.Layer, ...]
    own_drop: Call | None

    @property
    def trainable(self) -> bool:
        return any(layer.trainable_weights for layer in self.layers)


def residual_branches(model: keras.Model) -> list[Branch]:
    """The residual branches of a functional model, from its input to its output.

    An addition of two tensors has one if its other input goes past: either the branch is computed from it, or it is a
    projection, which is convolutions, norms and pooling without an activation, while the branch has one.

    Raises:
        RegularizerError: if the model is no graph from one input to one output.
    """
    calls = calls_of(model)
    needed = closures(calls)
    found = []
    for call in calls:
        if type(call.operation).__name__ in ADDITIONS and len(call.input_tensors) == 2:
            first, second = call.input_tensors
            alone = needed[id(first)] & ~needed[id(second)], needed[id(second)] & ~needed[id(first)]
            by_itself = [[calls[i].operation for i in _bits(mask)] for mask in alone]
            past = [_goes_past(operations) for operations in by_itself]
            if past[0] != past[1]:
                branch = past.index(False)
                found.append(_branch(call, (first, second)[branch], by_itself[branch]))
    return found


def _bits(mask: int) -> list[int]:
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def _goes_past(operations: list[Any]) -> bool:
    return all(isinstance(operation, PROJECTION) and _is_linear(operation) for operation in operations)


def _is_linear(operation: Any) -> bool:
    return getattr(operation, "activation", keras.activations.linear) is keras.activations.linear


def _branch(addition: Call, output: Any, operations: list[Any]) -> Branch:
    operation, index, _ = output._keras_history
    noise = getattr(operation, "noise_shape", None) if isinstance(operation, layers.Dropout) else None
    drops = noise is not None and set(noise[1:]) == {1}
    own = tuple(operation for operation in operations if isinstance(operation, keras.layers.Layer))
    return Branch(addition, output, own, operation._inbound_nodes[index] if drops else None)
