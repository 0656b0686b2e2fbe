"""Claim: `standard` on pictures of 224 pixels takes at most half the time of its steps as separate keras-cv layers.

Both take batches of 32 uint8 pictures on all cores and give uint8 back: tltool through its pipeline, keras-cv's layers
one after the other in a compiled function, in a tf.data map with parallel calls and without one: the faster of the two
counts. Rounds alternate, and the median of their ratios is what is claimed.
Then how long fine-tuning waits for augmented batches, as a share of the time of its steps (claimed: under 5 %), and how
sharp a pattern of stripes stays.

    python benchmarks/augmentation.py [rounds]
"""

import math
import sys
import time
from statistics import median

import keras
import keras_cv
import numpy as np
import tensorflow as tf
from contest import print_setting

from tltool.augment.augmenter import Augmenter
from tltool.augment.policies import POLICIES, read_policy
from tltool.augment.resampling import project
from tltool.backbones import load_backbone
from tltool.data.batches import Batch
from tltool.heads.logistic import LinearHead
from tltool.heads.network import attach_head
from tltool.training.augmented import augmented
from tltool.training.finetune import select_trainable

SIZE, BATCH, BATCHES, ROUNDS = 224, 32, 16, 7
STEPS = 12  # of fine-tuning that are timed


def separate(policy: str) -> list[keras.layers.Layer]:
    """The steps of `standard` as keras-cv's layers, each over the same range."""
    layers = {
        "flip_horizontal": lambda share: keras_cv.layers.RandomFlip("horizontal", rate=share),
        "rotate": lambda degrees: keras_cv.layers.RandomRotation(degrees / 360, fill_mode="reflect"),
        "stretch": lambda share: keras_cv.layers.RandomZoom(
            (1 / math.sqrt(1 + share) - 1, math.sqrt(1 + share) - 1),
            (1 / math.sqrt(1 + share) - 1, math.sqrt(1 + share) - 1),
            fill_mode="reflect",
        ),
        "crop": lambda area: keras_cv.layers.RandomCropAndResize((SIZE, SIZE), (area, 1.0), (1.0, 1.0)),
        "brightness": lambda share: keras_cv.layers.RandomBrightness(share, (0, 255)),
        "contrast": lambda share: keras_cv.layers.RandomContrast((0, 255), share),
        # keras-cv maps its factor f to f / (1 - f) times the saturation.
        "saturation": lambda share: keras_cv.layers.RandomSaturation(
            ((1 - share) / (2 - share), (1 + share) / (2 + share))
        ),
        "hue": lambda turn: keras_cv.layers.RandomHue((0.0, 2 * turn), (0, 255)),
    }
    return [layers[step.name](step.magnitude) for step in read_policy(policy).steps]


def batches(random: np.random.Generator) -> list[Batch]:
    pixels = random.integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    return [Batch(np.arange(BATCH) + BATCH * number, pixels, []) for number in range(BATCHES)]


def speed(rounds: int) -> None:
    random = np.random.default_rng(0)
    read = batches(random)
    targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, BATCH * BATCHES)]
    everything = np.arange(BATCH * BATCHES)
    layers = separate("standard")

    def one_by_one(pixels):
        for layer in layers:
            pixels = layer(pixels, training=True)
        return tf.cast(tf.clip_by_value(tf.round(pixels), 0.0, 255.0), tf.uint8)

    dataset = (
        tf.data.Dataset.from_tensors(read[0].pixels)
        .repeat(BATCHES)
        .map(lambda pixels: one_by_one(tf.cast(pixels, tf.float32)), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(2)
    )

    compiled = tf.function(lambda pixels: one_by_one(tf.cast(pixels, tf.float32)))

    def theirs() -> float:
        start = time.perf_counter()
        for _ in dataset:
            pass
        parallel = time.perf_counter() - start
        start = time.perf_counter()
        for batch in read:
            compiled(batch.pixels).numpy()
        return min(parallel, time.perf_counter() - start)

    def ours(policy: str) -> float:
        augmenter = Augmenter(policy, seed=0)
        start = time.perf_counter()
        for _ in augmented(iter(read), targets, everything, augmenter, epoch=0):
            pass
        return time.perf_counter() - start

    count = BATCH * BATCHES
    theirs(), ours("standard")  # compiles, and fills caches
    times = [(ours("standard"), theirs()) for _ in range(rounds)]
    mine, other = (median(column) for column in zip(*times, strict=True))
    print(f"standard: {count / mine:.0f} pictures a second; separate keras-cv layers {count / other:.0f}")
    print(f"time over that of the separate layers: {median(one / two for one, two in times):.3f}")
    for policy in POLICIES:
        if policy not in ("none", "standard"):
            ours(policy)
            print(f"{policy}: {count / median(ours(policy) for _ in range(3)):.0f} pictures a second")


def waiting() -> None:
    """How much of a fine-tuning's time goes by before its next batch is there."""
    backbone = load_backbone("efficientnet_lite0")
    head = LinearHead(np.zeros((1280, 10), np.float32), np.zeros(10, np.float32), 1.0)
    for policy in ("standard", "photographs", "strong"):
        for trainable in ("head", "top:2"):
            model = attach_head(backbone, ("top",), ("mean",), head)
            select_trainable(model, backbone, trainable)
            model.compile(keras.optimizers.SGD(0.0), keras.losses.CategoricalCrossentropy(from_logits=True))
            random = np.random.default_rng(0)
            targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, BATCH * BATCHES)]
            stream = augmented(
                iter(batches(random)), targets, np.arange(BATCH * BATCHES), Augmenter(policy, seed=0), epoch=0
            )
            waited = trained = 0.0
            for step in range(STEPS):
                start = time.perf_counter()
                examples = next(stream)
                between = time.perf_counter()
                model.train_on_batch(examples.pixels, examples.targets)
                end = time.perf_counter()
                if step >= 2:  # the first ones compile, and nothing was prepared before them
                    waited, trained = waited + between - start, trained + end - between
            stream.close()
            rate = BATCH * (STEPS - 2) / (waited + trained)
            share = waited / (waited + trained)
            print(f"{policy}, {trainable} trained at {rate:.0f} pictures a second: waits {share:.2%} of the time")


def sharpness() -> None:
    """What is left of the contrast of stripes, 6 pixels a period, when they are turned by five times 6 degrees."""
    x = np.arange(SIZE)
    stripes = (127.5 + 127.5 * np.sin(2 * np.pi * x / 6))[None, None, :, None] * np.ones((1, SIZE, 1, 3))
    stripes = tf.constant(stripes.astype(np.float32))
    turn = keras_cv.layers.RandomRotation((6 / 360, 6 / 360), fill_mode="reflect")
    separate_steps = stripes
    for _ in range(5):
        separate_steps = turn(separate_steps, training=True)
    angle = math.radians(6)
    once = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    warped = project(stripes, np.linalg.matrix_power(once, 5)[None].astype(np.float32))
    middle = slice(SIZE // 4, -SIZE // 4)
    left = [
        float(np.std(each[0, middle, middle, 0]) / np.std(stripes[0, middle, middle, 0]))
        for each in (warped, separate_steps)
    ]
    print(f"contrast left of fine stripes after five rotations: one warp {left[0]:.2f}, one by one {left[1]:.2f}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print_setting()
    speed(rounds)
    waiting()
    sharpness()


if __name__ == "__main__":
    main()
