"""A network that a CPU trains in less time, made anew from the same layers."""

import keras

from tltool.layers.functional_graph import Call, Changes, calls_of, rebuilt
from tltool.layers.kept_statistics import KeptStatistics

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def quickened(model: keras.Model) -> keras.Model:
    """A model of the very same layers and variables, whose training step takes a CPU less time.

    Convolutions in float32 take in the BatchNorms behind them that keep their statistics, and have gradients of their
    own; all else, and all that no training step changes, stays as it is. Outputs and gradients are the same to
    rounding.

    Args:
        model: A functional model for a CPU, its layers frozen as they will be trained: ask anew after a change.

    Returns:
        The model itself where nothing would be gained, and on other backends than TensorFlow, whose compilers see to
        this themselves.

    Raises:
        RegularizerError: if the model is no graph from one input to one output.
    """
    if keras.backend.backend() != "tensorflow":
        return model
    from tltool.layers.quick_convolution import QuickConvolution  # is made of TensorFlow's own operations

    calls = calls_of(model)
    readers: dict[int, list[Call]] = {}
    for call in calls:
        for tensor in call.input_tensors:
            readers.setdefault(id(tensor), []).append(call)
    changes, moving = Changes(), set()  # ids of tensors that another step gives otherwise
    for call in calls:
        layer = call.operation
        trained = isinstance(layer, keras.layers.Layer) and bool(layer.trainable_weights)
        if trained or any(id(tensor) in moving for tensor in call.input_tensors):
            moving |= {id(tensor) for tensor in call.outputs}
    for call in calls:
        if not _takes(call):
            continue
        following = readers.get(id(call.outputs[0]), [])
        norm = _norm(following[0]) if len(following) == 1 and call.outputs[0] is not model.outputs[0] else None
        if not _folds(call, norm):
            norm = None
        if norm is not None and id(following[0].outputs[0]) in moving:
            changes.instead |= {call: QuickConvolution(call.operation, norm), following[0]: _handed_on}
        elif id(call.outputs[0]) in moving:
            changes.instead[call] = QuickConvolution(call.operation)
    return rebuilt(model, changes) if changes.instead else model


def _takes(call: Call) -> bool:
    """Whether a call is of a convolution that can be computed otherwise."""
    layer = call.operation
    if type(layer) not in CONVOLUTIONS or layer.data_format != "channels_last" or layer.compute_dtype != "float32":
        return False
    known = None not in call.input_tensors[0].shape[1:3]
    plain = set(layer.dilation_rate) == {1} and (type(layer) is keras.layers.Conv2D or len(set(layer.strides)) == 1)
    return known and plain and layer.activity_regularizer is None


def _norm(call: Call) -> keras.layers.BatchNormalization | None:
    """The BatchNorm of a call that keeps its statistics whatever is trained; None if the call is of another kind."""
    layer = call.operation
    if isinstance(layer, KeptStatistics):
        return layer.norm
    return layer if type(layer) is keras.layers.BatchNormalization and not layer.trainable else None


def _folds(call: Call, norm: keras.layers.BatchNormalization | None) -> bool:
    """Whether a convolution may take in the BatchNorm that alone reads from it."""
    layer = call.operation
    if norm is None or layer.activation is not keras.activations.linear or norm.compute_dtype != "float32":
        return False
    # The scale's gradient comes through the kernel's, which costs more than it saves where no kernel is trained.
    pays = bool(layer.trainable_weights) or not norm.trainable_weights
    return pays and norm.axis in (-1, 3) and norm.activity_regularizer is None


def _handed_on(inputs, training=None, mask=None):
    return inputs
