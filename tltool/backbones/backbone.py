"""A pretrained network as the rest of tltool sees it: one flat graph with named stages."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import keras

from tltool.data.decoding import Fit, Framing
from tltool.errors import TltoolError

PREPROCESSING = "preprocess_"  # names of fixed input layers begin so; without it fine-tuning would train the BGR swap


@dataclass(frozen=True)
class Stage:
    """A run of layers that work at one resolution, or one block of a transformer.

    `layer` gives its map, shape (N, h, w, c), or its tokens, shape (N, tokens, c); `Backbone.feature_map` makes a map.
    """

    name: str
    layer: str


@dataclass(frozen=True, eq=False)
class Backbone:
    """A pretrained network, from raw pixels to the logits of the classes it was trained on.

    Attributes:
        name: Its name in the registry.
        network: RGB pixels in [0, 255], shape (N, image_size, image_size, 3), to logits, shape (N, classes): 1000
            of ImageNet, but for `tiny_random`; flat, and its own preprocessing is its first layers.
        stages: From the picture to the top; the last one is what a linear probe reads.
        image_size: Height and width of the input, pixels.
        licence: What is known of the licence of the weights, for model cards.
        extra_tokens: Tokens that a transformer has before those of the patches; the first is the class token.
        classifies: Whether its output is logits; if not, it is pooled features, shape (N, c).
        fit: What becomes of the proportions of a picture that it is given; see `Framing`.
    """

    name: str
    network: keras.Model
    stages: tuple[Stage, ...]
    image_size: int
    licence: str
    fit: Fit = "squish"
    extra_tokens: int = 0
    classifies: bool = True

    @property
    def framing(self) -> Framing:
        """How a picture becomes its input."""
        return Framing(self.image_size, self.fit)

    def stage(self, name: str) -> Stage:
        """The stage of that name.

        Raises:
            TltoolError: if there is none; the message lists those there are.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise TltoolError(f"Backbone {self.name} has no stage '{name}'. Its stages: {', '.join(self.stage_names)}.")

    def feature_map(self, name: str):
        """The map of one stage, symbolic, shape (N, h, w, c); the tokens of patches are laid out as a square one.

        Raises:
            TltoolError: if there is no such stage.
        """
        output = self._output(name)
        if len(output.shape) == 4:
            return output
        from tltool.backbones.token_map import token_map

        return token_map(output, self.extra_tokens, name)

    def class_token(self, name: str):
        """What one stage of a transformer says of the whole picture, symbolic, shape (N, c); None where it does not.

        Raises:
            TltoolError: if there is no such stage.
        """
        if not self.extra_tokens:
            return None
        from tltool.backbones.token_map import class_token

        return class_token(self._output(name), name)

    def channels(self, name: str) -> int:
        """Of the map of one stage."""
        return self._output(name).shape[-1]

    def _output(self, name: str):
        return self.network.get_layer(self.stage(name).layer).output

    @property
    def stage_names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    def layers_of(self, name: str) -> list[keras.layers.Layer]:
        """The layers of one stage: those after the stage below, up to and including its own feature map.

        Fixed preprocessing layers belong to none: they hold constants that training must not move.

        Raises:
            TltoolError: if there is no such stage.
        """
        ends = [self._position(stage.layer) for stage in self.stages]
        index = self.stages.index(self.stage(name))
        begin = ends[index - 1] + 1 if index else 0
        found = self.network.layers[begin : ends[index] + 1]
        return [layer for layer in found if not layer.name.startswith(PREPROCESSING)]

    def _position(self, layer: str) -> int:
        return next(i for i, candidate in enumerate(self.network.layers) if candidate.name == layer)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the name, a weight, the framing or the precision does; features are cached under it.

        Taken once, on first use: not for a network that is being trained.
        """
        # Half precision moves features by several percent: a cache of one must not answer for the other.
        precision = sorted({layer.compute_dtype for layer in self.network.layers})
        digest = hashlib.sha256(f"{self.name} {self.image_size} {self.fit} {precision}".encode())
        for weight in self.network.weights:
            digest.update(keras.ops.convert_to_numpy(weight).tobytes())
        return digest.hexdigest()[:32]
