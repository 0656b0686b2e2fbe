"""A pretrained classifier as it is trained: the same layers, and between them those that drop."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tltool.errors import RegularizerError
from tltool.layers.drop_block import DropBlock2D
from tltool.layers.drop_connect import DropConnect
from tltool.layers.feature_maps import last_maps
from tltool.layers.functional_graph import Changes, output_call, rebuilt
from tltool.layers.regularizer_names import RANDOM, check_regularizers
from tltool.layers.residual_branches import residual_branches
from tltool.layers.stochastic_depth import StochasticDepth

BELOW_THE_TOP = 0.25  # of the topmost map's rate, at the next lower resolution; the released training code of DropBlock
# At most so many times as high as the topmost map is the map of the next resolution: strides halve, and unpadded
# convolutions of small pictures leave less. NASNet's next is 16 times as high, its stem: blocks there are cutout.
NEXT_RESOLUTION = 4


def regularized(model: keras.Model, table: Mapping[str, float], seed: int) -> keras.Model:
    """The network with what the table asks of `dropout`, `drop_connect`, `stochastic_depth` and `drop_block`.

    It calls the model's own layers, so that training it trains the model, which is otherwise not touched, and is what
    is saved. Outside of training both give the same.

    - `dropout` stands before the head, the Dense that gives the output.
    - `drop_connect` drops weights of the head, and not of the 1 x 1 convolutions below, whose noise frozen BatchNorms
      hand on and add up: at a rate of 0.1, EfficientNet-Lite0 keeps its answer for 95 % of 64 ImageNet pictures
      where the head drops (two draws), for none where its 32 convolutions do.
    - `stochastic_depth` stands at the end of each residual branch that has something to train, at a rate of l / L of
      the one asked for in the l-th of all L, so that the deepest has it in full and a branch's rate does not depend on
      what is frozen. A frozen branch stays: nothing in it could learn to do with less. Layers of
      `keras.applications` that drop a branch already (EfficientNet) are left out, those of frozen branches too; without
      `stochastic_depth` they do what they did.
    - `drop_block` stands behind the last feature map of the last two resolutions that have one, groups 3 and 4 of
      the paper's ResNet: at the rate asked for behind the topmost, at a quarter of it behind the other. Once a
      resolution, where the paper drops after each convolution: weights that never saw blocks would lose too much.

    Args:
        model: From pixels, shape (N, H, W, 3), to logits, shape (N, classes); functional, its layers frozen as they
            will be trained.
        table: Numbers by name; others than these four are left to `penalized`.
        seed: Of all draws, 0 or above.

    Returns:
        The network, not compiled; the model itself if the table asks nothing of it.

    Raises:
        RegularizerError: if the table is not right, or the network has no place for what it asks.

    References: Huang et al., 2016, "Deep networks with stochastic depth", section 3, linear decay; Ghiasi et al., 2018,
    "DropBlock", section 4.1; Wan et al., 2013, "Regularization of neural networks using DropConnect".
    """
    check_regularizers(table)
    changes = Changes()
    for position, name in enumerate(RANDOM):
        if table.get(name):
            # A stream of its own for each, so that asking for one more leaves the draws of the others alone.
            INSERT[name](model, table[name], np.random.default_rng([seed, position]), changes)
    return rebuilt(model, changes) if changes != Changes() else model


def _dropout(model: keras.Model, rate: float, random: np.random.Generator, changes: Changes) -> None:
    head = _head(model, "dropout")
    (features,) = head.input_tensors
    layer = keras.layers.Dropout(rate, seed=_seed(random), dtype=features.dtype, name="head_dropout")
    changes.between[head, id(features)] = layer


def _drop_connect(model: keras.Model, rate: float, random: np.random.Generator, changes: Changes) -> None:
    head = _head(model, "drop_connect")
    changes.instead[head] = DropConnect(head.operation, rate, seed=_seed(random), name="head_drop_connect")


def _stochastic_depth(model: keras.Model, rate: float, random: np.random.Generator, changes: Changes) -> None:
    branches = residual_branches(model)
    if not branches:
        raise RegularizerError(
            f"stochastic_depth: {model.name} has no residual branch that could be dropped. "
            "Take drop_block or dropout, or a backbone with residual branches, like efficientnet_lite0 or resnet50."
        )
    if not any(branch.trainable for branch in branches):
        raise RegularizerError(
            f"stochastic_depth: none of the {len(branches)} residual branches of {model.name} is trained. "
            "Train more stages, or leave it out."
        )
    for number, branch in enumerate(branches, start=1):
        seed = _seed(random)  # drawn for frozen ones too: a branch's draws do not depend on what is frozen
        if branch.own_drop is not None:
            changes.instead[branch.own_drop] = _same
        if branch.trainable:
            changes.between[branch.addition, id(branch.output)] = StochasticDepth(
                rate * number / len(branches),
                seed=seed,
                dtype=branch.output.dtype,
                name=f"stochastic_depth_{number}",
            )


def _drop_block(model: keras.Model, rate: float, random: np.random.Generator, changes: Changes) -> None:
    maps = last_maps(model)[:2]
    if len(maps) == 2 and maps[1].shape[1] > maps[0].shape[1] * NEXT_RESOLUTION:
        maps.pop()
    if not maps:
        raise RegularizerError(
            f"drop_block: {model.name} has no feature map of a known size. Take dropout, or a convolutional network."
        )
    for number, (feature_map, share) in enumerate(zip(maps, (1, BELOW_THE_TOP), strict=False), start=1):
        layer = DropBlock2D(rate * share, seed=_seed(random), dtype=feature_map.dtype, name=f"drop_block_{number}")
        changes.behind[id(feature_map)] = layer


INSERT = {
    "dropout": _dropout,
    "drop_connect": _drop_connect,
    "stochastic_depth": _stochastic_depth,
    "drop_block": _drop_block,
}


def _head(model: keras.Model, name: str) -> Any:
    """The call of the Dense that gives the output."""
    call = output_call(model)
    if not isinstance(call.operation, keras.layers.Dense):
        raise RegularizerError(
            f"{name}: {model.name} ends in {type(call.operation).__name__} '{call.operation.name}', not in a Dense. "
            "Give the network up to its logits."
        )
    return call


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(2**31))


def _same(tensor: Any, **_: Any) -> Any:
    return tensor
