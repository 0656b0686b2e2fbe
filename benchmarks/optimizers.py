"""Claim: a training step with each of tltool's optimizers takes at most 1.05 times that with its nearest in Keras.

EfficientNet-Lite0 with 1,000 classes, 4.6 million weights, all of them trained, 16 random pictures of 224 pixels a
step. Both models of a pair are compiled and warmed up first; then they take their steps in turn, and the median of the
ratios counts. The update alone, compiled, is timed beside it: it is a small part of the step, and what differs.

    python benchmarks/optimizers.py [rounds]
"""

import sys
import time
from collections.abc import Callable
from statistics import median

import keras
import numpy as np
import tensorflow as tf
from contest import print_setting

from tltool.backbones import load_backbone
from tltool.optimizers import get

BATCH, ROUNDS, CLASSES = 16, 12, 1000
RATE = 1e-4  # so small that the loss stays a number, whatever the optimizer makes of random pictures
PAIRS = (
    ("nesterov", {"form": "lookahead"}, "keras.optimizers.SGD", {"momentum": 0.9, "nesterov": True}),
    ("nesterov", {"form": "reformulated"}, "keras.optimizers.SGD", {"momentum": 0.9, "nesterov": True}),
    ("decayed-adagrad", {}, "keras.optimizers.RMSprop", {}),
    ("adagrad-norm", {}, "keras.optimizers.Adagrad", {}),
    ("nesterov-adagrad", {}, "keras.optimizers.Adagrad", {}),
    ("adagrad-with-warm-restart", {}, "keras.optimizers.Adagrad", {}),
)


def training(optimizer: keras.optimizers.Optimizer) -> keras.Model:
    keras.utils.set_random_seed(0)
    network = load_backbone("efficientnet_lite0", weights=None, image_size=224).network
    features = network.get_layer("imagenet_pool").output
    model = keras.Model(network.input, keras.layers.Dense(CLASSES)(features))
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    return model


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print_setting()
    random = np.random.default_rng(0)
    pictures = random.uniform(0, 255, (BATCH, 224, 224, 3)).astype(np.float32)
    labels = random.integers(0, CLASSES, BATCH)

    def seconds(model: keras.Model) -> float:
        start = time.perf_counter()
        model.train_on_batch(pictures, labels)
        return time.perf_counter() - start

    def update(model: keras.Model) -> Callable[[], float]:
        weights = model.trainable_variables
        slopes = [tf.ones_like(weight) * 1e-3 for weight in weights]
        step = tf.function(lambda: model.optimizer.apply(slopes, weights), autograph=False)
        step()

        def timed() -> float:
            start = time.perf_counter()
            step()
            return time.perf_counter() - start

        return timed

    worst = 0.0
    for ours, arguments, theirs, their_arguments in PAIRS:
        maker = getattr(keras.optimizers, theirs.rsplit(".", 1)[1])
        pair = training(get(ours, learning_rate=RATE, **arguments)), training(maker(RATE, **their_arguments))
        for model in pair:
            seconds(model), seconds(model)  # compiles, and fills caches
        # One after the other, so that whatever else the machine does falls on both.
        times = [(seconds(pair[0]), seconds(pair[1])) for _ in range(rounds)]
        mine, other = (median(column) for column in zip(*times, strict=True))
        ratio = median(one / two for one, two in times)
        worst = max(worst, ratio)
        weights = sum(int(np.prod(variable.shape)) for variable in pair[0].trainable_variables)
        alone = [update(model) for model in pair]
        alone = [(alone[0](), alone[1]()) for _ in range(5 * rounds)]
        our_update, their_update = (median(column) for column in zip(*alone, strict=True))
        label = f"{ours} {arguments['form']}" if arguments else ours
        print(
            f"{label}: {mine * 1e3:.0f} ms, {theirs} {other * 1e3:.0f} ms, ratio {ratio:.3f} ({weights:,} weights); "
            f"update alone {our_update * 1e3:.1f} and {their_update * 1e3:.1f} ms"
        )
    print(f"worst ratio {worst:.3f}")


if __name__ == "__main__":
    main()
