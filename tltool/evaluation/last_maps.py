"""Where a picture model still knows where things are: the last feature maps, before pooling makes numbers of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras

from tltool.errors import TltoolError
from tltool.heads.network import LOGITS

Tensor = Any  # a symbolic one of Keras, with the shape of a batch


@dataclass(frozen=True)
class LastMaps:
    """The feature maps, shape (N, h, w, c), that the head of a picture model reads.

    Attributes:
        last: The last one of each network in the model: one, but for ensembles and joined backbones.
        earlier: The others that the head reads: those of the lower stages of a probe that taps several.
    """

    last: tuple[Tensor, ...]
    earlier: tuple[Tensor, ...]


def last_maps(model: keras.Model) -> LastMaps:
    """Goes back from the logits to the first maps on every way, without names of layers: any flat graph will do.

    Args:
        model: A picture model, or its prepared part.

    Raises:
        TltoolError: if the logits depend on no feature map.
    """
    border = _border(model.get_layer(LOGITS).output)
    if not border:
        raise TltoolError(f"The model {model.name} has no feature maps, so it cannot be told where it looked.")
    below = {id(tensor) for end in border for tensor in _ancestors(_sources(end))}
    return LastMaps(
        last=tuple(tensor for tensor in border if id(tensor) not in below),
        earlier=tuple(tensor for tensor in border if id(tensor) in below),
    )


def _border(output: Tensor) -> list[Tensor]:
    """The maps that are met first on the way back from an output."""
    found: dict[int, Tensor] = {}
    seen: set[int] = set()
    waiting = [output]
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if len(tensor.shape) == 4:
            found[id(tensor)] = tensor
        else:
            waiting += _sources(tensor)
    return list(found.values())


def _ancestors(tensors: Iterable[Tensor]) -> list[Tensor]:
    """These and all that they are computed from."""
    found: dict[int, Tensor] = {}
    waiting = list(tensors)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in found:
            found[id(tensor)] = tensor
            waiting += _sources(tensor)
    return list(found.values())


def _sources(tensor: Tensor) -> list[Tensor]:
    """What a tensor is computed from."""
    operation, index, _ = tensor._keras_history
    return list(operation._inbound_nodes[index].input_tensors)
