"""One layer of KerasHub inside a flat graph, written to a file in full and read back without its backbone."""

import functools
import importlib
import inspect
from typing import Any

import keras

from tltool.errors import TltoolError

HOME = "keras_hub.src.models."  # a file may name layers from here and from nowhere else: it is a user's
INSTALL = 'KerasHub is missing: `pip install "tltool[hub]"`.'


@keras.saving.register_keras_serializable(package="tltool")
class HubLayer(keras.layers.Layer):
    """Holds one layer of KerasHub by its class and the arguments that it was made with.

    Some of KerasHub's layers are written only as a part of their backbone: from a configuration of their own they
    cannot be made again (`ViTEncoderBlock`), or recompute their weights when a file is read (`DINOV2Embedding`).

    Args:
        kind: Module below `keras_hub.src.models` and class: "vit.vit_layers:ViTEncoderBlock".
        arguments: Of the class, such as JSON holds.

    Raises:
        TltoolError: if KerasHub is missing, or has no such layer.
    """

    def __init__(self, kind: str, arguments: dict[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.kind, self.arguments = kind, dict(arguments)
        self.inner = _layer_class(kind)(**self.arguments, dtype=self.dtype_policy, name="inner")
        # Plainly, variable by variable: DINOV2Embedding would interpolate its positions there and back again.
        for method in ("save_own_variables", "load_own_variables"):
            setattr(self.inner, method, functools.partial(getattr(keras.layers.Layer, method), self.inner))

    def build(self, input_shape: Any) -> None:
        if not self.inner.built:
            self.inner.build(input_shape)

    def call(self, inputs):
        return keras.tree.flatten(self.inner(inputs))[0]  # some blocks give their attention beside their tokens

    def train_normalization_only(self) -> None:
        """Freezes what is inside, but for layers that normalize; setting `trainable` ends that."""
        for layer in self.inner._flatten_layers():
            # By variable: an embedding has some of its own beside those of its layers.
            for variable in layer._trainable_variables:
                variable.trainable = isinstance(layer, keras.layers.LayerNormalization)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"kind": self.kind, "arguments": self.arguments}


def copy_hub_layer(layer: keras.layers.Layer, name: str) -> HubLayer:
    """A layer of KerasHub anew, with weights of its own that are random."""
    cls = type(layer)
    config = layer.get_config()
    arguments = {}
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.name in ("self", "name", "dtype") or parameter.kind == parameter.VAR_KEYWORD:
            continue
        # Not the configuration alone, which leaves out some that decide which weights there are.
        arguments[parameter.name] = config.get(parameter.name, getattr(layer, parameter.name, parameter.default))
    if "use_mask_token" in arguments:
        arguments["use_mask_token"] = False  # for masked pretraining only; here a weight that has no gradient
    module = cls.__module__.removeprefix(HOME)
    return HubLayer(f"{module}:{cls.__name__}", arguments, name=name, dtype=layer.dtype_policy)


def copy_hub_weights(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Copies the weights of a layer of KerasHub, or of any other, into its copy."""
    copy.set_weights([keras.ops.convert_to_numpy(each) for each in layer.weights if each.name != "mask_token"])


def _layer_class(kind: str) -> type[keras.layers.Layer]:
    module, _, name = kind.partition(":")
    try:
        importlib.import_module("keras_hub")
    except ImportError as error:
        raise TltoolError(f"{INSTALL} ({error})") from None
    try:
        found = getattr(importlib.import_module(HOME + module), name)
    except (ImportError, AttributeError):
        raise TltoolError(
            f"The KerasHub that is installed has no layer {kind}; the model needs another version."
        ) from None
    if not issubclass(found, keras.layers.Layer):
        raise TltoolError(f"{kind} is not a layer of KerasHub.")
    return found
