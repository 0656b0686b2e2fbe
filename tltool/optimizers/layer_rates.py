"""Discriminative rates: the deeper a layer of a pretrained network, the smaller its steps."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

import keras

from tltool.backbones.backbone import Backbone
from tltool.errors import OptimizerError
from tltool.optimizers.arguments import SHARE, check_arguments


def layer_groups(backbone: Backbone, model: keras.Model) -> list[list[str]]:
    """The model's layers by the backbone's stages, from the picture to the head.

    Layers before the first stage belong with it. Those after the last stage, and those that are not the backbone's,
    are the head: the last group. A stage that the model does not use has no group.

    Args:
        backbone: Names the stages.
        model: Holds layers of the backbone and a head of its own.

    Returns:
        Names of layers, group by group.
    """
    body = [layer.name for layer in backbone.network.layers]
    ends = [body.index(stage.layer) for stage in backbone.stages]
    groups = [[] for _ in range(len(ends) + 1)]
    for layer in model.layers:
        stage = bisect_left(ends, body.index(layer.name)) if layer.name in body else len(ends)
        groups[stage].append(layer.name)
    return [group for group in groups if group]


def with_layer_rates(
    groups: Sequence[Sequence[str]],
    model: keras.Model,
    build: Callable[[float], keras.optimizers.Optimizer],
    layer_decay: float,
) -> keras.optimizers.Optimizer:
    """An optimizer whose rate falls from group to group.

    The last group has a share of 1, each before it `layer_decay` times that of the one after; a group without
    trainable weights counts in this, but has no optimizer. With `global_clipnorm` each group is clipped by itself.

    Args:
        groups: Names of layers, from the picture to the head: what `layer_groups` gives.
        model: Built, its layers frozen as they will be trained.
        build: Makes an optimizer whose rate is its argument, in (0, 1], times the full rate.
        layer_decay: In (0, 1]; 1 gives one plain optimizer.

    Raises:
        OptimizerError: if `layer_decay` is out of range, nothing is trainable, a trainable weight is in no group or
            in two, a layer is not the model's, or two weights have one path, by which Keras tells them apart.

    Reference: Howard and Ruder, 2018, "Universal language model fine-tuning for text classification", section 3.2;
    there one layer is a group and the decay 1 / 2.6.
    """
    check_arguments("Layer rates", {"layer_decay": layer_decay}, {"layer_decay": SHARE})
    there = {layer.name: layer for layer in model.layers}
    absent = [name for group in groups for name in group if name not in there]
    if absent:
        raise OptimizerError(f"Layer rates: there is no layer '{absent[0]}' in the model.")
    paths = [[v.path for name in group for v in there[name].trainable_variables] for group in groups]
    trainable = [v.path for v in model.trainable_variables]
    _check_paths([path for group in paths for path in group], trainable)
    patterns = [[_pattern(path, trainable) for path in group] for group in paths]
    if layer_decay == 1:
        return build(1.0)
    shares = [layer_decay ** (len(groups) - 1 - number) for number in range(len(groups))]
    *deeper, (head_share, _) = [(share, group) for share, group in zip(shares, patterns, strict=True) if group]
    if not deeper:
        return build(head_share)
    # One entry a group: Keras writes an optimizer out once an entry, so with an entry a path a copy from the config
    # would have an optimizer for each weight, and slots that do not fit. The topmost is the default for that reason.
    entries = {"|".join(group): build(share) for share, group in deeper}
    head = build(head_share)
    # MultiOptimizer would drop what its optimizers were told of the loss's scale.
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(head, entries), head.loss_scale_factor)


def _pattern(path: str, paths: Sequence[str]) -> str:
    """The shortest end of a weight's path that is its own: a model from a file may call what is around it otherwise."""
    segments = path.split("/")
    ends = ("/".join(segments[-count:]) for count in range(2, len(segments)))
    end = next((end for end in ends if sum(f"/{one}".endswith(f"/{end}") for one in paths) == 1), path)
    return f"(?:.*/)?{re.escape(end)}"


def _check_paths(grouped: list[str], trainable: list[str]) -> None:
    if not trainable:
        raise OptimizerError("Layer rates: the model has nothing to train. Unfreeze a layer first.")
    shared = [path for path, count in Counter(trainable).items() if count > 1]
    if shared:
        raise OptimizerError(f"Layer rates: two weights are both '{shared[0]}'. Give their layers names of their own.")
    counts = Counter(grouped)
    wrong = [path for path in trainable if counts[path] != 1]
    if wrong:
        raise OptimizerError(
            f"Layer rates: '{wrong[0]}' is in {counts[wrong[0]]} groups. Name the layer of each weight once."
        )
