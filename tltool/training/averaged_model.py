"""Several picture models as one that gives the mean of their probabilities."""

import math
from collections.abc import Sequence

import keras

from tltool.errors import ShapeError, TltoolError
from tltool.heads.network import LOGITS, PROBABILITIES, is_multi_label
from tltool.training.merged_graph import merged

MEAN = "mean_of_members"
OPERATIONS = ["floor_of_mean", "log_of_mean", "rest_of_mean", "floor_of_rest", "log_of_rest", "log_odds_of_mean"]
# Under the logarithm. Members that all round a class's probability to 0 would give it the logit minus infinity, at
# which softmax still works and its gradient does not.
SMALLEST = 1e-30


def averaged_model(models: Sequence[keras.Model], class_names: Sequence[str], temperature: float = 1.0) -> keras.Model:
    """An ensemble as one picture model: the plain mean of the members' probabilities, calibrated after.

    What members have in common is computed once (see `merged`): with one frozen backbone they are heads behind it.
    Members for squares of other sizes keep their own resizing.

    The graph ends like that of a single model, in logits and probabilities. The logits are the logarithm of the mean,
    in a multi-label model its log odds, divided by the temperature. At a temperature of 1 softmax, or the sigmoid,
    gives the mean itself back.

    Args:
        models: Picture models with the same classes in the same order; copied. At least one.
        class_names: Of their outputs.
        temperature: Above 1 for probabilities that are less sure of themselves, > 0.

    Returns:
        A flat model from RGB pictures, shape (N, height, width, 3), uint8, to probabilities, shape (N, classes). Saved,
        it loads anywhere in safe mode.

    Raises:
        ShapeError: if there is no model, or one has another number of classes.
        TltoolError: if some models tell one label and others several, or the temperature is no number above 0.

    Reference: Lakshminarayanan et al., 2017, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", section 2.4; calibration after averaging as in Rahaman and Thiery, 2021, "Uncertainty quantification and
    deep ensembles", section 4.
    """
    for number, model in enumerate(models, start=1):
        if model.output.shape[-1] != len(class_names):
            raise ShapeError(
                f"Member {number} of {len(models)} has {model.output.shape[-1]} classes, but {len(class_names)} names "
                "are given."
            )
    kinds = {is_multi_label(model) for model in models}
    if len(kinds) > 1:
        raise TltoolError("Some members tell one label a picture, others several: their probabilities have no mean.")
    if not (math.isfinite(temperature) and temperature > 0):
        raise TltoolError(f"The temperature is {temperature}; it must be a number above 0.")
    together = merged(models, taken={LOGITS, PROBABILITIES, MEAN, *OPERATIONS})
    mean = together.outputs[0]
    if len(models) > 1:
        mean = keras.layers.Average(name=MEAN)(together.outputs)
    logits = _log(mean, "mean")
    if multi_label := kinds.pop():
        rest = _named(1.0 - mean, "rest_of_mean")
        logits = _named(logits - _log(rest, "rest"), "log_odds_of_mean")
    logits = keras.layers.Rescaling(1.0 / temperature, name=LOGITS)(logits)
    if multi_label:
        link = keras.layers.Activation("sigmoid", name=PROBABILITIES)
    else:
        link = keras.layers.Softmax(name=PROBABILITIES)
    return keras.Model(together.input, link(logits), name="ensemble")


def _log(probabilities, name: str):
    floored = _named(keras.ops.maximum(probabilities, SMALLEST), f"floor_of_{name}")
    return _named(keras.ops.log(floored), f"log_of_{name}")


def _named(tensor, name: str):
    """A tensor whose operation has this name: those that Keras counts meet the same in a member that is an average."""
    tensor._keras_history.operation.name = name
    return tensor
