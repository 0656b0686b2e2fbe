"""Claim: with what frozen layers give kept on disk, an epoch of `top:2` takes at most a third of Keras's full epoch.

Trains the last two stages of EfficientNet-Lite0 at 224 pixels without augmentation: an epoch on the rows kept on disk
against an epoch of `keras.Model.fit` on the whole network, on the same pictures in the same run. Prints what keeping
the rows takes once, too.

    python benchmarks/frozen_rows.py [FOLDER OF IMAGE SETS]
"""

import time
from pathlib import Path

import keras
import numpy as np
from contest import image_sets, print_setting

from tltool.backbones import load_backbone
from tltool.heads.logistic import LinearHead
from tltool.heads.network import attach_head
from tltool.recipes import load_recipe
from tltool.training.pictures import Pictures
from tltool.training.selection import select_trainable
from tltool.training.stage_network import StageNetwork

PICTURES, BATCH, ROUNDS = 256, 32, 3
WANTED = 1 / 3


def some_pictures(folder: Path) -> Pictures:
    files = sorted((folder / "flowers").rglob("*.jpg"))
    picked = np.random.default_rng(0).permutation(len(files))[:PICTURES]
    return Pictures([files[i] for i in picked], np.arange(PICTURES) % 5)


def main() -> None:
    pictures = some_pictures(image_sets())
    print_setting()
    backbone = load_backbone("efficientnet_lite0")
    width = backbone.network.get_layer(backbone.stages[-1].layer).output.shape[-1]
    head = LinearHead(np.zeros((width, 5), np.float32), np.zeros(5, np.float32), 1.0)
    model = attach_head(backbone, backbone.stage_names[-1:], ["mean"], head)
    stage = load_recipe("finetune-top").with_augmentation("none").stages[0]
    pixels = np.concatenate([batch.pixels for batch in pictures.read(backbone.framing, BATCH)])
    targets = pictures.targets(5)

    select_trainable(model, backbone, "all")
    plain = keras.Model(model.input, model.output)
    plain.compile(optimizer=keras.optimizers.AdamW(1e-6), loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    plain.fit(pixels[:BATCH], targets[:BATCH], batch_size=BATCH, verbose=0)  # compiles

    select_trainable(model, backbone, "top:2")
    with StageNetwork(model, stage, pictures, pictures.take(range(BATCH)), backbone.framing, 0) as trained:
        start = time.perf_counter()
        trained.prepare()
        once = time.perf_counter() - start
        trained.compile(keras.optimizers.AdamW(1e-6))
        ours, theirs = [], []
        for number in range(ROUNDS + 1):
            start = time.perf_counter()
            for examples in trained.batches(trained.order(number + 1), number + 1):
                trained.step(examples)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            plain.fit(pixels, targets, batch_size=BATCH, verbose=0)
            theirs.append(time.perf_counter() - start)
    own, full = np.median(ours[1:]), np.median(theirs[1:])  # the first compiles
    print(f"{PICTURES} pictures; kept once in {once:.1f} s")
    print(f"an epoch of top:2 on kept rows {own:.2f} s, of Keras on the whole network {full:.2f} s")
    print(f"ratio {own / full:.2f}; wanted at most {WANTED:.2f}")


if __name__ == "__main__":
    main()
