"""Backbone and head as one flat Keras graph: first on prepared pixels, for training, then on whole pictures."""

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.data.decoding import PADDING, Framing, prepare
from tltool.features.taps import pooled
from tltool.heads.logistic import LinearHead

PICTURE = "picture"
FLOAT = "float"
RESIZE = "resize"
CLIP = "clip"  # its output is prepared pixels; tltool.data.decoding.prepare does what lies before it
LOGITS = "logits"
PROBABILITIES = "probabilities"
_squarings: "WeakKeyDictionary[keras.Model, list[Callable[[np.ndarray], np.ndarray]]]" = WeakKeyDictionary()


def attach_head(backbone: Backbone, stages: Sequence[str], poolings: Sequence[str], head: LinearHead) -> keras.Model:
    """The backbone up to the highest tapped stage, its pooled stages, and the head.

    The layers are the backbone's own: training this model changes it.

    Returns:
        A model from prepared pixels, shape (N, image_size, image_size, 3) in [0, 255], to logits, shape (N, classes).
    """
    features = pooled(backbone, stages, poolings)
    logits = keras.layers.Dense(head.kernel.shape[1], name=LOGITS)
    model = keras.Model(backbone.network.input, logits(features), name=f"{backbone.network.name}_classifier")
    logits.set_weights([head.kernel, head.bias])
    return model


def picture_model(classifier: keras.Model, framing: Framing, *, multi_label: bool = False) -> keras.Model:
    """A copy of the classifier that takes pictures as they are and gives probabilities.

    Framing, bicubic resizing with antialiasing and rounding are those of `tltool.data.decoding.prepare`. They are built
    of what ships with Keras alone, so the saved file loads anywhere in safe mode.

    Args:
        classifier: From prepared pixels to logits.
        framing: How pictures become the squares that it takes.
        multi_label: Whether each class has a probability of its own; if not, they sum to 1.

    Returns:
        A flat model from RGB pictures, shape (N, height, width, 3), uint8, to probabilities, shape (N, classes).
    """
    picture = keras.Input((None, None, 3), dtype="uint8", name=PICTURE)
    # Outside of a compiled function Resizing rounds bytes to bytes; given floats it does the same everywhere.
    x = keras.layers.Rescaling(1.0, name=FLOAT)(picture)
    resize = keras.layers.Resizing(
        framing.size,
        framing.size,
        interpolation="bicubic",
        antialias=True,
        crop_to_aspect_ratio=framing.fit == "crop",
        pad_to_aspect_ratio=framing.fit == "pad",
        fill_value=float(PADDING),
        name=RESIZE,
    )
    # training=False: Resizing's own default is True and passes to every layer after it, so that a plain call of the
    # model would use, and overwrite, the statistics of BatchNorm.
    x = resize(x, training=False)
    # tltool keeps prepared pixels as bytes. Unrounded ones would part from what the head was trained on: on flowers by
    # up to 0.09 in a probability, with rounding by 0.0004. It stands before the clipping, where prepared_model begins:
    # the gradient of rounding is zero, and explanations need one.
    x = keras.ops.round(x)
    # Bicubic overshoots at edges; backbones were trained on values inside the range.
    front = keras.Model(picture, keras.layers.ReLU(max_value=255.0, name=CLIP)(x))
    joined = _join(front, classifier)
    if multi_label:
        link = keras.layers.Activation("sigmoid", name=PROBABILITIES)
    else:
        link = keras.layers.Softmax(name=PROBABILITIES)
    output = link(joined.output)
    model = keras.Model(joined.input, output, name=classifier.name)
    model.set_weights(classifier.get_weights())
    return model


def is_multi_label(model: keras.Model) -> bool:
    """Whether a picture model gives each class a probability of its own, read off the model itself."""
    return not isinstance(model.get_layer(PROBABILITIES), keras.layers.Softmax)


def prepared_model(model: keras.Model, outputs: Sequence | None = None, *, with_features: bool = False) -> keras.Model:
    """The part of a picture model that takes prepared pixels; it shares the layers.

    Of a model that makes squares of several sizes it takes a list of them, in the order of `framings_of`.

    Args:
        model: A picture model.
        outputs: Other tensors of it that are wanted, as a list; where None, the probabilities.
        with_features: Whether it gives, beside the probabilities, what stands in front of the logits, shape (N, D).
    """
    squares = [model.get_layer(f"{CLIP}{end}").output for end in _ends(model)]
    if outputs is None:
        outputs = [model.output, model.get_layer(LOGITS).input] if with_features else model.output
    return keras.Model(squares if len(squares) > 1 else squares[0], outputs, name="prepared")


def squarings(model: keras.Model) -> list[Callable[[np.ndarray], np.ndarray]]:
    """The parts of a picture model that make squares: from one picture, shape (h, w, 3), uint8, to (size, size, 3).

    Their pixels are those of the exported model to the bit. `tltool.data.decoding.prepare` parts from them by a grey
    level in one value of ten thousand, where a float falls on the other side of a half: 4e-4 in probability at most.
    """
    if model not in _squarings:  # TensorFlow would trace it anew for every call
        pairs = zip(_ends(model), framings_of(model), strict=True)
        _squarings[model] = [_squaring(model, end, framing) for end, framing in pairs]
    return _squarings[model]


def _squaring(model: keras.Model, end: str, framing: Framing) -> Callable[[np.ndarray], np.ndarray]:
    if keras.backend.backend() != "tensorflow":
        # JAX would compile anew for each size of picture.
        return lambda pixels: prepare(pixels, framing)
    import tensorflow

    front = keras.Model(model.input, model.get_layer(f"{CLIP}{end}").output)
    signature = [tensorflow.TensorSpec((1, None, None, 3), tensorflow.uint8)]
    traced = tensorflow.function(
        lambda picture: tensorflow.cast(front(picture, training=False), tensorflow.uint8),
        input_signature=signature,
        autograph=False,
    )
    return lambda pixels: traced(pixels[None])[0].numpy()


def framing_of(model: keras.Model) -> Framing:
    """How a picture model makes squares of pictures, read off the model itself; of several the first."""
    return framings_of(model)[0]


def framings_of(model: keras.Model) -> tuple[Framing, ...]:
    """All of them: a model of several backbones may make a square for each."""
    found = []
    for end in _ends(model):
        resize = model.get_layer(f"{RESIZE}{end}")
        fit = "crop" if resize.crop_to_aspect_ratio else "pad" if resize.pad_to_aspect_ratio else "squish"
        found.append(Framing(resize.height, fit))
    return tuple(found)


def _ends(model: keras.Model) -> list[str]:
    """What the names of the layers that make squares end in: "", and "_2" and so on where there are several."""
    names = {layer.name for layer in model.layers}
    ends = [""]
    while f"{CLIP}_{len(ends) + 1}" in names:
        ends.append(f"_{len(ends) + 1}")
    return ends


def _join(front: keras.Model, network: keras.Model) -> keras.Model:
    """One flat functional model that feeds `front` into `network`; calling one on the other would nest it."""
    config, head = network.get_config(), front.get_config()
    source = network.input._keras_history.operation.name
    target = front.output._keras_history.operation.name

    def redirect(value):
        if isinstance(value, dict):
            return {key: redirect(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            if len(value) == 3 and value[0] == source and value[1:] in ([0, 0], (0, 0)):
                return [target, 0, 0]
            return [redirect(item) for item in value]
        return value

    layers = [layer for layer in config["layers"] if layer["name"] != source]
    config["layers"] = head["layers"] + redirect(layers)
    config["input_layers"] = head["input_layers"]
    return keras.Model.from_config(config)
