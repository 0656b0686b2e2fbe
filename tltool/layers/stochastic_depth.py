"""A residual branch that is left out for some pictures of a training batch."""

from numbers import Real

import keras
from keras import ops

from tltool.errors import RegularizerError


def check_rate(owner: str, rate: float) -> float:
    """The rate as a plain number.

    Raises:
        RegularizerError: where it is not a number in [0, 1).
    """
    if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate < 1:
        raise RegularizerError(
            f"{owner}: `rate` is the share that is dropped, and must be a number in [0, 1), not {rate!r}. "
            "Most networks take 0.05 to 0.5."
        )
    return float(rate)


@keras.saving.register_keras_serializable("tltool")
class StochasticDepth(keras.layers.Layer):
    """Drops a residual branch for a share of the pictures; stands between the branch and the addition.

    In training, each picture of the batch keeps its whole branch with probability 1 - rate, divided by 1 - rate, or
    adds zero in its place. At test time the layer is the identity, so that a network without it is the same network.
    (The paper leaves the branch as it is in training and multiplies it by 1 - rate at test time: what the branch holds
    differs by that factor, the expectations agree.)

    Args:
        rate: Probability that a picture loses the branch, in [0, 1).
        seed: Of the draws; None takes one from Keras's own, which `keras.utils.set_random_seed` sets.

    Input and output: a tensor of shape (B, ...), of any rank from 1 on.

    Raises:
        RegularizerError: if the rate is out of range.

    Reference: Huang et al., 2016, "Deep networks with stochastic depth", section 3.
    """

    def __init__(self, rate: float, seed: int | None = None, **more):
        super().__init__(**more)
        self.rate = check_rate("StochasticDepth", rate)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        pass

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        shape = (ops.shape(inputs)[0], *[1] * (len(inputs.shape) - 1))
        # float32 whatever the policy: bfloat16 has 128 numbers between 0.5 and 1, and the rate would be rounded to one.
        kept = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) >= self.rate
        # Chosen, not multiplied: a dropped branch that overflowed would add 0 x infinity.
        return ops.where(kept, inputs / (1 - self.rate), 0.0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
