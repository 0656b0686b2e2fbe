"""The optimizer that a recipe's stage asks for: its rates by layer, and how they move over the steps."""

from collections.abc import Callable

import keras
from keras.optimizers import Optimizer

from tltool.backbones import Backbone
from tltool.optimizers.catalogue import get
from tltool.optimizers.layer_rates import layer_groups, with_layer_rates
from tltool.optimizers.reduce_on_plateau import ReduceOnPlateau
from tltool.optimizers.schedules import build_schedule
from tltool.recipe_parts import StageRecipe
from tltool.training.stage_average import ema_arguments


def build_optimizer(stage: StageRecipe, steps: int, model: keras.Model, backbone: Backbone) -> Optimizer:
    """The stage's optimizer; with `layer_decay` below 1 one for each stage of the backbone.

    Args:
        stage: Names optimizer, rate, schedule and their arguments.
        steps: Of the whole stage, >= 1.
        model: Its layers frozen as they will be trained.
        backbone: Names the stages whose rates differ.
    """

    def build(share: float) -> Optimizer:
        rate = build_schedule(
            stage.schedule,
            stage.learning_rate * share,
            steps,
            _warmup_steps(stage, steps),
            **(stage.schedule_arguments if stage.schedule != "plateau" else {}),
        )
        arguments = stage.optimizer_arguments | ema_arguments(stage, steps)
        return get(stage.optimizer, learning_rate=rate, weight_decay=stage.weight_decay or None, **arguments)

    return with_layer_rates(layer_groups(backbone, model), model, build, stage.layer_decay)


def rate_callback(stage: StageRecipe, steps: int, say: Callable[[str], None]) -> keras.callbacks.Callback:
    """What moves the rates from outside: for "plateau" the callback that lowers them, else one that does nothing.

    Args:
        stage: Names the schedule.
        steps: Of the whole stage, >= 1.
        say: Told when rates are lowered.
    """
    if stage.schedule != "plateau":
        return keras.callbacks.Callback()
    return ReduceOnPlateau(warmup_steps=_warmup_steps(stage, steps), report=say, **stage.schedule_arguments)


def _warmup_steps(stage: StageRecipe, steps: int) -> int:
    return int(stage.warmup * steps)
