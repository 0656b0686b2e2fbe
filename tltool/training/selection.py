"""What a stage of fine-tuning trains, by layers of the model."""

from collections.abc import Sequence

import keras

from tltool.backbones import Backbone
from tltool.backbones.hub_layer import HubLayer
from tltool.errors import RecipeError

NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


def trained_stages(backbone: Backbone, trainable: str | Sequence[str]) -> tuple[str, ...]:
    """The backbone's stages in which a recipe's `trainable` has something to train, from the picture to the top.

    Args:
        backbone: Names the stages.
        trainable: "head", "norm", "all", "auto" (which may name any of them), "top:N" or names of stages.

    Raises:
        RecipeError: if the backbone has no such stage, or fewer than N.
    """
    names = backbone.stage_names
    if not isinstance(trainable, str):
        absent = [name for name in trainable if name not in names]
        if absent:
            raise RecipeError(
                f"trainable: {backbone.name} has no stage '{absent[0]}'. Its stages are {', '.join(names)}."
            )
        return tuple(name for name in names if name in trainable)
    if trainable in ("all", "norm", "auto"):
        return names
    if trainable == "head":
        return ()
    count = int(trainable.removeprefix("top:"))
    if count > len(names):
        raise RecipeError(
            f"trainable = '{trainable}': {backbone.name} has {len(names)} stages, {', '.join(names)}. "
            'Name fewer, or write "all".'
        )
    return names[-count:]


def check_trainable(backbone: Backbone, trainable: str | Sequence[str]) -> None:
    """Raises RecipeError for stages that the backbone lacks, or in which it has nothing to train; moves nothing."""
    stages = trained_stages(backbone, trainable)
    layers = [layer for name in stages for layer in backbone.layers_of(name)]
    if trainable == "norm":
        layers = [layer for layer in layers if isinstance(layer, NORMALIZATIONS)]
    else:
        layers = [layer for layer in layers if not isinstance(layer, keras.layers.BatchNormalization)]
    if trainable != "head" and not any(layer.weights for layer in layers):
        what = "normalization layer" if trainable == "norm" else "layer with weights in it"
        shown = trainable if isinstance(trainable, str) else ", ".join(trainable)
        raise RecipeError(
            f"trainable = '{shown}' unfreezes nothing: {backbone.name} has no {what}. "
            f'Its stages are {", ".join(backbone.stage_names)}; write "head" to train the head alone.'
        )


def select_trainable(
    model: keras.Model, backbone: Backbone, trainable: str | Sequence[str], statistics: str = "kept"
) -> list[str]:
    """Freezes everything but what a recipe's stage names. The head is always trained.

    Args:
        model: Holds layers of the backbone and a head of its own.
        backbone: Names the stages.
        trainable: As for `trained_stages`.
        statistics: Of BatchNorm: "kept" or "learned". Where they are kept, BatchNorm is trained by "norm" alone,
            and then only scale and shift.

    Returns:
        Names of the layers with trainable weights.

    Raises:
        RecipeError: as `check_trainable`.
    """
    check_trainable(backbone, trainable)
    inside = {layer.name for name in trained_stages(backbone, trainable) for layer in backbone.layers_of(name)}
    body = {layer.name for layer in backbone.network.layers}
    chosen = []
    for layer in model.layers:
        layer.trainable = layer.name not in body or (layer.name in inside and _is_trained(layer, trainable, statistics))
        if layer.trainable and trainable == "norm" and isinstance(layer, HubLayer):
            layer.train_normalization_only()
        if layer.trainable_weights:
            chosen.append(layer.name)
    return chosen


def _is_trained(layer: keras.layers.Layer, trainable: str | Sequence[str], statistics: str) -> bool:
    if trainable == "norm":
        return isinstance(layer, (*NORMALIZATIONS, HubLayer))
    # A frozen BatchNorm keeps its statistics; those of a batch of 32 would overwrite what was learned from a million
    # pictures. Its scale and shift stay with them: the convolution before it has as much freedom.
    return statistics == "learned" or not isinstance(layer, keras.layers.BatchNormalization)
