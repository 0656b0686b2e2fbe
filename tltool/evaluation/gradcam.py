"""Where a network looked: the regions of a picture that speak for a class."""

from collections.abc import Sequence

import keras
import numpy as np
from PIL import Image

from tltool.data.decoding import Framing
from tltool.errors import ShapeError
from tltool.evaluation.last_maps import last_maps
from tltool.heads.network import LOGITS, prepared_model
from tltool.optimizers.differentiation import Derivatives

# Colours of heat 0, 1/3, 2/3 and 1: dark to bright, so that they differ for the colour-blind and in grey as well.
COLOURS = np.array([(24, 15, 92), (176, 42, 110), (243, 125, 48), (252, 244, 120)], dtype=np.float64)
STRONGEST = 0.7  # share of the colour where heat is 1; the picture must be seen through it
FAINTEST = 0.15  # where it is 0: what is cold is dimmed
GREY = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601: in its own colours a yellow flower looks hot


def grad_cam(model: keras.Model, squares: Sequence[np.ndarray], classes: np.ndarray) -> np.ndarray:
    """How much each place of a picture speaks for a class, at the last feature map before pooling.

    A probe that taps several stages is asked by the last of them alone: earlier ones know edges, not things. Of an
    ensemble or of joined backbones, each network's last map is asked, and what they say is summed.

    Args:
        model: A picture model, as a run or an export holds it.
        squares: Prepared pictures for each of `tltool.heads.network.framings_of(model)`, shape (N, size, size, 3), in
            [0, 255].
        classes: The class that is asked for of each picture, shape (N,).

    Returns:
        Heat, shape (N, h, w), float64, in [0, 1], h and w those of the largest last map; the hottest place of a
        picture is 1, unless nothing in it speaks for the class: then all of it is 0.

    Raises:
        ShapeError: if the lengths differ.
        TltoolError: if the model has no feature map.

    Reference: Selvaraju et al., 2017, "Grad-CAM: visual explanations from deep networks via gradient-based
    localization", section 3, with the logit as the score.
    """
    if any(len(pictures) != len(classes) for pictures in squares):
        raise ShapeError(f"{[len(pictures) for pictures in squares]} pictures and {len(classes)} classes do not fit.")
    maps = last_maps(model)
    tensors = [*maps.last, *maps.earlier]
    front = prepared_model(model, tensors)
    # From all maps that the head reads, not from the last alone: Keras would else compute the others from no picture.
    head = keras.Model(tensors, model.get_layer(LOGITS).output, name="head")
    values = [keras.ops.convert_to_tensor(each) for each in _run(front, squares)]
    chosen = keras.ops.one_hot(keras.ops.convert_to_tensor(classes.astype("int32")), head.output.shape[-1])

    def score(last: list, earlier: list, batch: tuple):
        return keras.ops.sum(head([*last, *earlier], training=False) * batch[0])

    count = len(maps.last)
    _, gradients = Derivatives("Grad-CAM", score).loss_and_gradient(values[:count], values[count:], (chosen,))
    heats = [
        _heat(keras.ops.convert_to_numpy(value), keras.ops.convert_to_numpy(gradient))
        for value, gradient in zip(values[:count], gradients, strict=True)
    ]
    height, width = (max(heat.shape[axis] for heat in heats) for axis in (1, 2))
    total = sum(np.stack([_resized(each, height, width) for each in heat]) for heat in heats)
    hottest = total.max(axis=(1, 2), keepdims=True)
    return np.divide(total, hottest, out=np.zeros_like(total), where=hottest > 0)


def on_picture(heat: np.ndarray, framing: Framing, height: int, width: int) -> np.ndarray:
    """Heat of the square that a network saw, laid out over the whole picture.

    Args:
        heat: Shape (h, w).
        framing: How the square was made of the picture.
        height, width: Of the picture.

    Returns:
        Shape (height, width), in [0, 1]; 0 where the network could not look.
    """
    if framing.fit == "squish":
        return _resized(heat, height, width)
    side = min(height, width) if framing.fit == "crop" else max(height, width)
    square = _resized(heat, side, side)
    top, left = abs(height - side) // 2, abs(width - side) // 2
    if framing.fit == "pad":
        return square[top : top + height, left : left + width]
    whole = np.zeros((height, width))
    whole[top : top + side, left : left + side] = square
    return whole


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture seen through its heat.

    Args:
        picture: Shape (height, width, 3), uint8.
        heat: Shape (height, width), in [0, 1]; see `on_picture`.

    Returns:
        Shape (height, width, 3), uint8: grey and violet where it is cold, orange to yellow where it is hot.
    """
    grey = (picture @ np.array(GREY))[..., None]
    stops = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(heat, stops, COLOURS[:, channel]) for channel in range(3)], axis=-1)
    share = (FAINTEST + (STRONGEST - FAINTEST) * heat)[..., None]
    return np.rint(grey * (1 - share) + colours * share).astype(np.uint8)


def _run(front: keras.Model, squares: Sequence[np.ndarray]) -> list[np.ndarray]:
    pixels = [pictures.astype(np.float32) for pictures in squares]
    outputs = front.predict_on_batch(pixels if len(pixels) > 1 else pixels[0])
    return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]


def _heat(values: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """What the channels, weighted by how much the score rises with their mean, say for the class, shape (N, h, w)."""
    weights = gradients.astype(np.float64).mean(axis=(1, 2), keepdims=True)
    return np.maximum((values * weights).sum(axis=-1), 0.0)


def _resized(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    plane = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(plane, dtype=np.float64), 0.0, None)
