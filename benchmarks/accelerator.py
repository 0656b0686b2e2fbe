"""Claim: on an H100, `finetune-all` trains 6,000 pictures a second, 90 % of what it does on pictures made beforehand.

Needs an accelerator; `KERAS_BACKEND=jax` or TensorFlow. Trains EfficientNet-Lite0 at 224 pixels in bfloat16, batches of
256, augmented inside the step, as a stage of the recipe does: pictures from files (decoded once into the cache, before
the clock starts), then one batch that stays where it is. Prints pictures a second, the time of a step, the share of
time spent waiting for data, and the ratio of the two rates.

    python benchmarks/accelerator.py [FOLDER OF IMAGE SETS] [--tiny]    --tiny: a smoke test for a CPU
"""

import sys
import time
from pathlib import Path

import keras
import numpy as np
from contest import image_sets

from tltool.backbones import load_backbone
from tltool.data.content import content_key
from tltool.heads.logistic import LinearHead
from tltool.heads.network import attach_head
from tltool.recipes import load_recipe
from tltool.training.devices import distribution, precision_here, replicas
from tltool.training.pictures import Pictures
from tltool.training.selection import select_trainable
from tltool.training.stage_network import StageNetwork

TINY = "--tiny" in sys.argv
NAME, BATCH, STEPS, WARM = ("tiny_random", 8, 4, 2) if TINY else ("efficientnet_lite0", 256, 60, 5)
WANTED_RATE, WANTED_SHARE = 6000, 0.9


def some_pictures(folder: Path) -> Pictures:
    """Enough for STEPS batches: those of `flowers`, over and over."""
    files = sorted((folder / "flowers").rglob("*.jpg"))
    files = (files * (BATCH * STEPS // len(files) + 1))[: BATCH * STEPS]
    keys = {file: content_key(file.read_bytes()) for file in set(files)}
    return Pictures(files, np.arange(len(files)) % 5, [keys[file] for file in files])


def main() -> None:
    pictures = some_pictures(image_sets())
    print(f"Keras {keras.__version__} on {keras.backend.backend()}, {keras.distribution.list_devices()}, seed 0")
    with distribution():
        backbone = load_backbone(NAME)
        width = backbone.network.get_layer(backbone.stages[-1].layer).output.shape[-1]
        head = LinearHead(np.zeros((width, 5), np.float32), np.zeros(5, np.float32), 1.0)
        model = attach_head(backbone, backbone.stage_names[-1:], ["mean"], head)
        select_trainable(model, backbone, "all")
        stage = load_recipe("finetune-all", [f"stages.all.batch_size={BATCH}"]).with_augmentation("standard").stages[0]
        for _ in pictures.read(backbone.framing, BATCH):  # fills the cache of pixels
            pass
        with StageNetwork(model, stage, pictures, pictures.take(range(8)), backbone.framing, 0) as trained:
            trained.prepare()
            trained.compile(keras.optimizers.AdamW(1e-6))
            batches = trained.batches(trained.order(1), 1)
            for _ in range(WARM):
                examples = next(batches)
                trained.step(examples)
            waiting, steps, start = 0.0, 0, time.perf_counter()
            while True:
                asked = time.perf_counter()
                if (next_one := next(batches, None)) is None:
                    break
                waiting += time.perf_counter() - asked
                trained.step(next_one)
                steps += 1
            real = time.perf_counter() - start
            start = time.perf_counter()
            for _ in range(steps):
                trained.step(examples)
            synthetic = time.perf_counter() - start
    rate, best = steps * BATCH / real, steps * BATCH / synthetic
    print(f"{NAME}, {precision_here()}, {replicas()} device(s), batches of {BATCH}")
    print(
        f"{rate:.0f} pictures a second, {real / steps * 1e3:.1f} ms a step, {waiting / real:.1%} of it waiting for data"
    )
    print(f"one batch over and over: {best:.0f} pictures a second; ratio {rate / best:.2f}, wanted {WANTED_SHARE}")
    if not TINY:
        print(f"wanted on an H100: {WANTED_RATE} pictures a second")


if __name__ == "__main__":
    main()
