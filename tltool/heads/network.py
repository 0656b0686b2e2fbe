"""Backbone and head as one flat Keras graph: first on prepared pixels, for training, then on whole pictures."""

from collections.abc import Sequence

import keras

from tltool.backbones import Backbone
from tltool.features.taps import pooled
from tltool.heads.logistic import LinearHead

PICTURE = "picture"
FLOAT = "float"
RESIZE = "resize"
CLIP = "clip"  # the first layer that sees prepared pixels; tltool.data.decoding.prepare does what lies before it
LOGITS = "logits"
PROBABILITIES = "probabilities"


def attach_head(backbone: Backbone, stages: Sequence[str], poolings: Sequence[str], head: LinearHead) -> keras.Model:
    """The backbone up to the highest tapped stage, its pooled stages, and the head.

    The layers are the backbone's own: training this model changes it.

    Returns:
        A model from prepared pixels, shape (N, image_size, image_size, 3) in [0, 255], to logits, shape (N, classes).
    """
    features = pooled(backbone, stages, poolings)
    logits = keras.layers.Dense(head.kernel.shape[1], name=LOGITS)
    model = keras.Model(backbone.network.input, logits(features), name=f"{backbone.name}_classifier")
    logits.set_weights([head.kernel, head.bias])
    return model


def picture_model(classifier: keras.Model, image_size: int) -> keras.Model:
    """A copy of the classifier that takes pictures as they are and gives probabilities.

    Resizing is bicubic with antialiasing, as `tltool.data.decoding.prepare` does it; the two agree to 0.003 of a grey
    level. It is built of layers that ship with Keras alone, so the saved file loads anywhere in safe mode.

    Args:
        classifier: From prepared pixels to logits.
        image_size: Height and width that it takes, pixels.

    Returns:
        A flat model from RGB pictures, shape (N, height, width, 3), uint8, to probabilities, shape (N, classes).
    """
    picture = keras.Input((None, None, 3), dtype="uint8", name=PICTURE)
    # Outside of a compiled function Resizing rounds bytes to bytes; given floats it does the same everywhere.
    x = keras.layers.Rescaling(1.0, name=FLOAT)(picture)
    resize = keras.layers.Resizing(image_size, image_size, interpolation="bicubic", antialias=True, name=RESIZE)
    # training=False: Resizing's own default is True and passes to every layer after it, so that a plain call of the
    # model would use, and overwrite, the statistics of BatchNorm.
    x = resize(x, training=False)
    # Bicubic overshoots at edges; backbones were trained on values inside the range.
    front = keras.Model(picture, keras.layers.ReLU(max_value=255.0, name=CLIP)(x))
    joined = _join(front, classifier)
    output = keras.layers.Softmax(name=PROBABILITIES)(joined.output)
    model = keras.Model(joined.input, output, name=classifier.name)
    model.set_weights(classifier.get_weights())
    return model


def prepared_model(model: keras.Model) -> keras.Model:
    """The part of a picture model that takes prepared pixels; it shares the layers."""
    return keras.Model(model.get_layer(CLIP).output, model.output, name="prepared")


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
