"""The baseline of other benchmarks, not a claim of its own: transfer learning as Keras's own guide does it.

The same pretrained backbone, frozen, a new Dense layer on its pooled features, Adam at 0.001 for 20 epochs over the
pictures, which pass through the backbone in every epoch. Prints one JSON line with the top-1 on the test part.

    python benchmarks/plain_keras.py DATA MODEL.keras
"""

import json
import sys
from pathlib import Path

import keras

from tltool.backbones import load_backbone

EPOCHS, BATCH = 20, 32


def main(data: Path, saved: Path) -> None:
    keras.utils.set_random_seed(0)
    backbone = load_backbone("efficientnet_lite0")
    size = (backbone.image_size, backbone.image_size)
    options = {"image_size": size, "batch_size": BATCH, "interpolation": "bicubic", "verbose": False}
    train = keras.utils.image_dataset_from_directory(data / "train", seed=0, **options)
    test = keras.utils.image_dataset_from_directory(data / "test", shuffle=False, **options)
    top = backbone.network.get_layer(backbone.stages[-1].layer).output
    base = keras.Model(backbone.network.input, top)
    base.trainable = False
    image = keras.Input((*size, 3))
    x = keras.layers.GlobalAveragePooling2D()(base(image, training=False))
    model = keras.Model(image, keras.layers.Dense(len(train.class_names), activation="softmax")(x))
    loss = "sparse_categorical_crossentropy"
    model.compile(optimizer=keras.optimizers.Adam(0.001), loss=loss, metrics=["accuracy"], jit_compile=False)
    model.fit(train.prefetch(2), epochs=EPOCHS, verbose=0)
    model.save(saved)
    _, top1 = model.evaluate(test, verbose=0)
    print(json.dumps({"top1": top1}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
