"""Claim: tltool's RandAugment makes more pictures a second than keras-cv's, keras-cv's more than Keras's own.

Two operations a picture at a magnitude of 0.3 of the range, batches of 32 random pictures of 224 pixels, on as many
threads as there are cores. The packages' layers stand in a tf.data pipeline, where they are fastest; tltool's
operations are called eagerly from threads, as its own pipeline does it. All are built and run once; then they take
turns, and the median of the rounds counts. At last each is built and run three times from one seed with parallel calls.

    python benchmarks/rand_augment.py [rounds]
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from statistics import median
from types import ModuleType

import keras
import keras_cv
import numpy as np
import tensorflow as tf
from contest import print_setting

from tltool.augment import with_keras, with_keras_cv
from tltool.augment.chosen_operations import apply_chosen
from tltool.augment.rand_augment import STRONGEST, draw_rand_augment

BATCH, BATCHES, SIZE, ROUNDS = 32, 4, 224, 5
LAYERS, MAGNITUDE = 2, 0.3
CORES = os.cpu_count() or 1
RUNS, CALLS = 3, 4  # of one seed; calls in parallel, more than cores so that which comes first differs

Run = Callable[[], np.ndarray]


def in_tf_data(make: Callable[[], Callable], pictures: np.ndarray, calls: int) -> Run:
    keras.utils.set_random_seed(0)
    layer = make()
    batches = tf.data.Dataset.from_tensor_slices(pictures).batch(BATCH, drop_remainder=True)
    done = batches.map(lambda batch: layer(batch), num_parallel_calls=calls, deterministic=True)
    return lambda: np.concatenate(list(done.as_numpy_iterator()))


def in_threads(forms: ModuleType, pictures: np.ndarray, calls: int) -> Run:
    def augmented(start: int) -> np.ndarray:
        generators = (np.random.default_rng((0, place)) for place in range(start, start + BATCH))
        drawn = [draw_rand_augment(random, LAYERS, MAGNITUDE * STRONGEST) for random in generators]
        operations, magnitudes = (np.stack(column) for column in zip(*drawn, strict=True))
        return apply_chosen(tf.constant(pictures[start : start + BATCH]), operations, magnitudes, forms).numpy()

    def run() -> np.ndarray:
        with ThreadPoolExecutor(calls) as pool:
            return np.concatenate(list(pool.map(augmented, range(0, len(pictures), BATCH))))

    return run


THEIRS, KERAS = "keras_cv.layers.RandAugment", "keras.layers.RandAugment"
OURS, FALLBACK = "tltool with keras-cv", "tltool with Keras alone"
PIPELINES: dict[str, Callable[[np.ndarray, int], Run]] = {
    THEIRS: partial(
        in_tf_data,
        lambda: keras_cv.layers.RandAugment(
            (0, 255), augmentations_per_image=LAYERS, magnitude=MAGNITUDE, rate=1.0, seed=1
        ),
    ),
    KERAS: partial(in_tf_data, lambda: keras.layers.RandAugment((0, 255), num_ops=LAYERS, factor=MAGNITUDE, seed=1)),
    OURS: partial(in_threads, with_keras_cv),
    FALLBACK: partial(in_threads, with_keras),
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print_setting()
    print(f"keras-cv {version('keras-cv')}, {CORES} threads, {BATCHES} batches of {BATCH} x {SIZE} x {SIZE} x 3 a turn")
    pictures = np.random.default_rng(0).uniform(0, 255, (BATCH * BATCHES, SIZE, SIZE, 3)).astype(np.float32)
    runs = {name: make(pictures, CORES) for name, make in PIPELINES.items()}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:  # the first fills caches
                rates[name].append(len(pictures) / (time.perf_counter() - start))
    for name, make in PIPELINES.items():
        first, *more = (make(pictures, CALLS)() for _ in range(RUNS))
        same = "the same" if all(np.array_equal(first, other) for other in more) else "other"
        print(f"{name}: {median(rates[name]):.0f} images/s; from one seed, {CALLS} calls in parallel, {same} pictures")

    def ratio(one: str, other: str) -> float:
        return median(a / b for a, b in zip(rates[one], rates[other], strict=True))

    print(
        "The adapter draws by itself and takes keras-cv's operations, not its RandAugment, whose generator parallel "
        "calls share; Keras's draws one choice for a whole batch and computes all operations for it."
    )
    print(f"keras-cv / Keras {ratio(THEIRS, KERAS):.1f}")
    print(f"tltool / keras-cv {ratio(OURS, THEIRS):.2f}, tltool without it / Keras {ratio(FALLBACK, KERAS):.1f}")


if __name__ == "__main__":
    main()
