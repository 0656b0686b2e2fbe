"""What a stage of fine-tuning minimizes."""

from typing import Any

import keras
from keras import ops

# Where a probability rounds to 1, the derivative of (1 - p)^gamma is infinite for gamma < 1, times a loss of 0.
LEAST_DOUBT = 1e-7


def stage_loss(multi_label: bool, label_smoothing: float, focal_gamma: float) -> keras.losses.Loss:
    """The loss of logits, shape (n, classes), against targets of that shape, which may be soft.

    Args:
        multi_label: Each class against the rest, averaged over classes; otherwise one class a picture.
        label_smoothing: Share of each target, in [0, 1), that is spread evenly: over all classes, or over yes and no.
        focal_gamma: How much less a picture counts the surer its class is, >= 0; 0 is cross-entropy.

    Returns:
        A loss in nats, averaged over the batch, in float32 whatever the logits are in.
    """
    if focal_gamma:
        return FocalLoss(focal_gamma, multi_label, label_smoothing)
    cross_entropy = keras.losses.BinaryCrossentropy if multi_label else keras.losses.CategoricalCrossentropy
    return cross_entropy(from_logits=True, label_smoothing=label_smoothing, dtype="float32")


@keras.saving.register_keras_serializable("tltool")
class FocalLoss(keras.losses.Loss):
    """Cross-entropy in which the term of a class counts (1 - its probability)^gamma.

    With soft targets it is the mean over what they may turn out to be, as cross-entropy is. Keras's own loss for single
    classes clips the probabilities, and a picture that is quite wrong has no gradient then; its own for several takes
    the mean of soft targets before the power.

    Args:
        gamma: >= 0.
        multi_label: As for `stage_loss`.
        label_smoothing: As for `stage_loss`.

    Reference: Lin et al., 2017, "Focal loss for dense object detection", without its alpha: the classes' weights are
    weights of the pictures here.
    """

    def __init__(self, gamma: float, multi_label: bool = False, label_smoothing: float = 0.0, name: str = "focal_loss"):
        super().__init__(name=name, dtype="float32")
        self.gamma, self.multi_label, self.label_smoothing = gamma, multi_label, label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each picture, shape (n,)."""
        even = 0.5 if self.multi_label else 1.0 / y_true.shape[-1]
        targets = y_true * (1.0 - self.label_smoothing) + even * self.label_smoothing
        if self.multi_label:
            log_yes, log_no = -ops.softplus(-y_pred), -ops.softplus(y_pred)
            terms = targets * ops.exp(self.gamma * log_no) * log_yes
            terms += (1.0 - targets) * ops.exp(self.gamma * log_yes) * log_no
            return -ops.mean(terms, axis=-1)
        log_prob = ops.log_softmax(y_pred, axis=-1)
        doubt = ops.maximum(-ops.expm1(log_prob), LEAST_DOUBT)
        return -ops.sum(targets * doubt**self.gamma * log_prob, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            "gamma": self.gamma,
            "multi_label": self.multi_label,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }
