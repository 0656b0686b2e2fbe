"""Claim: on a CPU the frozen pass of EfficientNet-Lite0 runs faster in OpenVINO than in Keras, with the same result.

Both in float32 on the same random pictures, in turn, after a warm-up; prints the rates, their ratio, and the largest
difference between the two outputs relative to the outputs' own size.

    python benchmarks/engine.py
"""

import time
from statistics import median

import keras
import numpy as np
from contest import print_setting

from tltool.backbones import load_backbone
from tltool.features.engine import ENGINE_BATCH, load_engine
from tltool.features.reading import FEATURES, reading_model

PICTURES, ROUNDS, KERAS_BATCH = 192, 3, 32


def main() -> None:
    print_setting()
    whole = reading_model(load_backbone("efficientnet_lite0"))
    model = keras.Model(whole.input, [whole.outputs[index] for index in FEATURES])
    pictures = np.random.default_rng(0).uniform(0, 255, (PICTURES, 224, 224, 3)).astype(np.float32)
    engine = load_engine(model)

    def by_engine() -> np.ndarray:
        return np.concatenate([engine(pictures[i : i + ENGINE_BATCH])[0] for i in range(0, PICTURES, ENGINE_BATCH)])

    def by_keras() -> np.ndarray:
        return model.predict(pictures, batch_size=KERAS_BATCH, verbose=0)[0]

    ours, theirs = by_engine(), by_keras()
    rates = {by_engine: [], by_keras: []}
    for _ in range(ROUNDS):
        for run, found in rates.items():
            start = time.perf_counter()
            run()
            found.append(PICTURES / (time.perf_counter() - start))
    fast, slow = median(rates[by_engine]), median(rates[by_keras])
    print(f"largest relative difference {np.abs(ours - theirs).max() / np.abs(theirs).max():.1e}")
    print(f"OpenVINO {fast:.0f} pictures a second, Keras {slow:.0f}, ratio {fast / slow:.2f}")


if __name__ == "__main__":
    main()
