"""How long each recipe would take on this machine, from one measured step."""

import math
import time

import keras
import numpy as np

from tltool.backbones import Backbone
from tltool.data import Dataset
from tltool.recipe_parts import StageRecipe
from tltool.recipes import Recipe, load_recipe, recipe_files
from tltool.training.selection import trained_stages
from tltool.training.train_step import is_out_of_memory

MEASURED = 8  # pictures in the measured step


def forecast(recipe: Recipe, backbone: Backbone, data: Dataset, budget: float) -> list[str]:
    """What to tell of the time that fine-tuning takes: that of this recipe first, then that of the others.

    A step through the whole network is measured. What a stage takes follows by its share of the multiplications: the
    forward pass is that of the whole network, or of what is not kept on disk, and the backward pass ends at the
    deepest trained stage.

    Args:
        recipe: Of this run; what it leaves to the decision is filled in.
        backbone: Loaded at the recipe's size; it stays as it is.
        data: Split.
        budget: Seconds that are left.
    """
    measured = _measure(backbone)
    if measured is None:
        return [f"How long {recipe.name} takes was not measured: there was no memory for a picture's gradients."]
    forward, backward = measured
    work = _work_by_stage(backbone)
    others = [load_recipe(name) for name in recipe_files() if name != recipe.name]
    lines = []
    for one in (recipe, *(other for other in others if other.stages and other.backbone == recipe.backbone)):
        # Another size of picture is another network; the time goes by the number of pixels.
        size = (recipe if one.image_size == "auto" else one).size_in_pixels or backbone.image_size
        seconds = sum(_stage_seconds(stage, backbone, data, forward, backward, work) for stage in one.stages)
        seconds *= (size / backbone.image_size) ** 2
        held = max(0.0, budget) / seconds
        fits = "within the budget" if held >= 1 else f"the budget holds {held:.0%} of that"
        lines.append(f"{one.name} takes about {duration(seconds)} on this machine: {fits}.")
    return lines


def duration(seconds: float) -> str:
    """Such as "40 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _measure(backbone: Backbone) -> tuple[float, float] | None:
    """Seconds a picture of the forward and of the backward pass through the whole network; no weight moves.

    None where memory does not hold them.
    """
    network = backbone.network
    before = [(layer, layer.trainable) for layer in network.layers]
    try:
        for layer in network.layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        # Of the same layers, so that the backbone itself is not compiled.
        model = keras.Model(network.input, network.output)
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
        count = MEASURED
        while count:
            try:
                return _timed(model, count)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                count //= 2
        return None
    finally:
        for layer, trainable in before:
            layer.trainable = trainable


def _timed(model: keras.Model, count: int) -> tuple[float, float]:
    """Seconds a picture forward and backward, of a batch of so many."""
    pictures = np.random.default_rng(0).integers(0, 256, (count, *model.input.shape[1:])).astype(np.float32)
    targets = np.zeros((count, model.output.shape[-1]), np.float32)
    seconds = []
    for step in (lambda: model.predict_on_batch(pictures), lambda: model.train_on_batch(pictures, targets)):
        step()  # the first call compiles
        start = time.monotonic()
        step()
        seconds.append((time.monotonic() - start) / count)
    return seconds[0], max(0.0, seconds[1] - seconds[0])


def _work_by_stage(backbone: Backbone) -> dict[str, float]:
    """Each stage's share of the network's multiplications, summing to 1."""
    work = {name: sum(map(_multiplications, backbone.layers_of(name))) for name in backbone.stage_names}
    total = sum(work.values()) or 1.0
    return {name: value / total for name, value in work.items()}


def _multiplications(layer: keras.layers.Layer) -> float:
    kernels = [weight for weight in layer.weights if len(weight.shape) == 4]
    places = math.prod(layer.output.shape[1:3]) if kernels and len(layer.output.shape) == 4 else 1
    return float(sum(math.prod(kernel.shape) for kernel in kernels) * places)


def _stage_seconds(
    stage: StageRecipe,
    backbone: Backbone,
    data: Dataset,
    forward: float,
    backward: float,
    work: dict[str, float],
) -> float:
    stages = trained_stages(backbone, stage.trainable)
    names = list(work)
    deepest = names.index(stages[0]) if stages else len(names)
    above = sum(work[name] for name in names[deepest:])
    train, valid = len(data.indices("train")), len(data.indices("valid"))
    same_again = stage.augmentation == "none" or stage.views > 0
    share = above if same_again else 1.0
    shrunk = 1.0 if stage.image_size == "full" else (stage.image_size / backbone.image_size) ** 2
    once = max(1, stage.views) * train * forward * (1 - share)
    epoch = train * (share * forward + above * backward) * shrunk + valid * share * forward
    return once * shrunk + stage.epochs * epoch
