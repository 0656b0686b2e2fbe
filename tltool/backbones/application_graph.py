"""Turns a model of `keras.applications` into a flat graph with preprocessing in front, and finds its stages."""

import re
from collections import Counter
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from tltool.backbones.backbone import PREPROCESSING, Stage

CAFFE_MEAN_BGR = (
    103.939,
    116.779,
    123.68,
)  # of ImageNet's pixels; with the next two: keras.applications.imagenet_utils
TORCH_MEAN_RGB = (0.485, 0.456, 0.406)  # of pixels in [0, 1]
TORCH_DEVIATION_RGB = (0.229, 0.224, 0.225)
HALVING = 1.5  # a map this much smaller begins a stage: unpadded convolutions shave pixels (149, 147), strides halve
FEWEST_STAGES = 4  # every network here halves its picture five times; fewer found means that its cells overlap

Copies = list[tuple[keras.Layer, keras.Layer]]


def flatten(
    original: keras.Model,
    name: str,
    preprocessing: str | Callable,
    copy_layer: Callable[[keras.Layer, dict], keras.Layer] = lambda layer, config: type(layer).from_config(config),
) -> tuple[keras.Model, Copies]:
    """Rebuilds the model's graph from fresh layers, with preprocessing in front.

    Nested models are unrolled and arithmetic on tensors becomes layers, so that every step can be tapped by name.
    Layers that Keras numbered are numbered anew from 1: a name depends on the architecture alone, not on what the
    process built before, and may be written into a run folder.

    Args:
        original: A functional model, shape (N, size, size, 3) to (N, classes).
        name: Of the new model.
        preprocessing: One of "tf", "torch", "caffe", "inside"; or what makes of the symbolic picture what it takes.
        copy_layer: A fresh layer from one of the model's and its configuration.

    Returns:
        The network, and each layer that has weights with its copy, whose weights are random until `copy_weights`.
    """
    image = keras.Input(original.input_shape[1:], name="image")
    pixels = preprocessing(image) if callable(preprocessing) else _preprocess(image, preprocessing)
    copies: Copies = []
    numbers: Counter[str] = Counter()

    def fresh(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        prefix = re.sub(r"_\d+$", "", layer.name)
        if prefix.replace("_", "") == type(layer).__name__.lower():
            numbers[prefix] += 1
            config["name"] = f"{prefix}_{numbers[prefix]}"
        copy = copy_layer(layer, config)
        if layer.weights:
            copies.append((layer, copy))
        return copy

    def call(operation, *args, **kwargs):
        args = [pixels if arg is image else arg for arg in args]
        if isinstance(operation, keras.Sequential):
            (x,) = args
            for layer in operation.layers:
                x = fresh(layer)(x)
            return x
        if isinstance(operation, keras.Layer):
            return fresh(operation)(*args, **kwargs)
        layer, tensors = _arithmetic(operation, args)
        return fresh(layer)(tensors)

    replayed = keras.models.clone_model(
        original, input_tensors=image, clone_function=lambda operation: operation, call_function=call
    )
    return keras.Model(image, replayed.output, name=name), copies


def copy_weights(copies: Copies) -> None:
    """Copies the weights of each first layer into its second."""
    for layer, copy in copies:
        copy.set_weights(layer.get_weights())
        if isinstance(copy, layers.Normalization):
            copy.finalize_state()  # it computes with what it derived from its weights, not with the weights


def square_released_deviation(network: keras.Model) -> None:
    """Corrects EfficientNet's input normalization where the loaded weights are the released ones.

    They hold the standard deviation in the place of the variance. Keras makes up for it by one more layer, which it
    adds for weights="imagenet" only: without this, a downloaded file given as a path classifies dimmed pictures.
    """
    for layer in network.layers:
        if isinstance(layer, layers.Normalization) and layer.weights:
            mean, variance, count = layer.get_weights()
            if np.allclose(variance, TORCH_DEVIATION_RGB, atol=1e-4):
                layer.set_weights([mean, np.square(TORCH_DEVIATION_RGB), count])
                layer.finalize_state()


def find_stages(network: keras.Model) -> tuple[Stage, ...]:
    """The last layer at each resolution, from the picture to the top.

    Only layers that all paths run through count: what they hold is all that the network knows there, and not one
    branch of a block. Where cells reach back over each other (NASNet) there are none between the first and the last;
    there the outputs of cells count, which merge more than two branches.

    Returns:
        "stage1" ... and, last, "top": the map that the classifier pools or flattens.
    """
    sequence = network.layers
    top = _top(network)
    begin = next(i for i, layer in enumerate(sequence) if layer.trainable_weights)
    maps = [i for i in range(begin, top + 1) if _is_map(sequence[i])]
    bottlenecks = _bottlenecks(network)
    ends = _last_of_each_size(sequence, [i for i in maps if i in bottlenecks])
    if len(ends) < FEWEST_STAGES:
        cells = {i for i in maps if len(keras.tree.flatten(sequence[i].input)) > 2}
        ends = _last_of_each_size(sequence, [i for i in maps if i in bottlenecks | cells])
    below = [Stage(f"stage{number}", sequence[i].name) for number, i in enumerate(ends[:-1], start=1)]
    return (*below, Stage("top", sequence[top].name))


def _preprocess(image, mode: str):
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, -1.0, dtype="float32", name=f"{PREPROCESSING}rescale")(image)
    if mode == "torch":
        x = layers.Rescaling(1 / 255, dtype="float32", name=f"{PREPROCESSING}rescale")(image)
        variance = [deviation**2 for deviation in TORCH_DEVIATION_RGB]
        normalize = layers.Normalization(
            mean=list(TORCH_MEAN_RGB), variance=variance, dtype="float32", name=f"{PREPROCESSING}normalize"
        )
        return normalize(x)
    if mode == "caffe":
        # float32 whatever the policy: bfloat16 would round 255 - 103.939 to the nearest half.
        swap = layers.Conv2D(3, 1, trainable=False, dtype="float32", name=f"{PREPROCESSING}bgr")
        x = swap(image)
        swap.set_weights([np.eye(3)[::-1].reshape(1, 1, 3, 3), -np.array(CAFFE_MEAN_BGR)])
        return x
    return image


def _arithmetic(operation, args) -> tuple[keras.Layer, object]:
    """The layer that does what the operation does (`x + y`, `x * y`, with a tensor or a number), and its input."""
    kind, (x, y) = type(operation).__name__, args
    if isinstance(y, int | float):
        scale, offset = {"Add": (1.0, float(y)), "Multiply": (float(y), 0.0)}[kind]
        return layers.Rescaling(scale, offset), x
    return {"Add": layers.Add, "Multiply": layers.Multiply}[kind](), [x, y]


def _top(network: keras.Model) -> int:
    """Position of the layer whose map the classifier pools or flattens.

    The last pooling layer: earlier ones belong to squeeze-and-excitation. MobileNetV3 flattens after pooling.
    """
    producers = {id(layer.output): i for i, layer in enumerate(network.layers)}
    for kind in (layers.GlobalAveragePooling2D, layers.Flatten):
        found = [layer for layer in network.layers if isinstance(layer, kind)]
        if found:
            return producers[id(found[-1].input)]
    raise ValueError(f"{network.name} neither pools nor flattens.")


def _bottlenecks(network: keras.Model) -> set[int]:
    """Positions of the layers that every path from the input to the output runs through."""
    producers = {id(layer.output): i for i, layer in enumerate(network.layers)}
    furthest = list(range(len(network.layers)))  # of the layers that read its output
    for i, layer in enumerate(network.layers):
        for tensor in keras.tree.flatten(layer.input) if i else []:
            furthest[producers[id(tensor)]] = i
    found, reach = set(), 0
    for i, reader in enumerate(furthest):
        if reach <= i:
            found.add(i)
        reach = max(reach, reader)
    return found


def _is_map(layer: keras.Layer) -> bool:
    # Padding comes last at its resolution, but is only the next convolution's frame of zeros.
    return len(layer.output.shape) == 4 and not isinstance(layer, layers.ZeroPadding2D)


def _last_of_each_size(sequence: list[keras.Layer], positions: list[int]) -> list[int]:
    ends: list[int] = []
    first = 0  # height of the first map of the current stage
    for i in positions:
        height = sequence[i].output.shape[1]
        if not ends or height * HALVING < first:
            ends.append(i)
            first = height
        elif height <= first:
            ends[-1] = i
    return ends
