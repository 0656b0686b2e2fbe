"""Writes small sets as tensorflow-datasets keeps them: python tests/write_tfds.py FOLDER."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image


def picture(number: int, form: str = "PNG") -> io.BytesIO:
    """A picture that tells its number, 0 to 25, by how bright it is: tfds shuffles what it writes."""
    file = io.BytesIO()
    Image.new("RGB", (9, 8), (10 * number,) * 3).save(file, form)
    file.seek(0)
    return file


class Set(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A set of a few pictures; each child says which features it has and what is in its splits."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES: ClassVar[dict[str, Any]] = {}
    KEYS: ClassVar[tuple[str, str] | None] = None
    SPLITS: ClassVar[dict[str, list[dict[str, Any]]]] = {}

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(self.FEATURES)
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=self.KEYS)

    def _split_generators(self, manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {name: self._generate_examples(examples) for name, examples in self.SPLITS.items()}

    def _generate_examples(self, examples: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(examples)


class TinyShapes(Set):
    """Parts of its own, a split that is none, a test part without labels, and class names with slashes."""

    FEATURES: ClassVar = {
        "image": tfds.features.Image(),
        "label": tfds.features.ClassLabel(names=["/a/abbey", "犬"]),
        "coarse": tfds.features.ClassLabel(num_classes=2),
    }
    KEYS: ClassVar = ("image", "label")
    SPLITS: ClassVar = {
        "train": [{"image": picture(n, "JPEG" if n % 2 else "PNG"), "label": n % 2, "coarse": 0} for n in range(10)],
        "validation": [{"image": picture(10 + n), "label": n % 2, "coarse": 0} for n in range(4)],
        "test": [{"image": picture(20 + n), "label": -1, "coarse": 0} for n in range(3)],
        "extra": [{"image": picture(25), "label": 0, "coarse": 0}],
    }


class TinyTags(Set):
    """Several labels a picture, in a single split whose name is no part's."""

    FEATURES: ClassVar = {
        "photo": tfds.features.Image(),
        "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=["sea", "sun|moon", "tree"])),
    }
    SPLITS: ClassVar = {
        "full": [{"photo": picture(n), "tags": [[0, 1], [1], [2, 0, 2], [], [1, 2]][n % 5]} for n in range(15)]
    }


class TinyGrey(Set):
    """Grey pictures, a configuration to choose, and only a train split."""

    BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=name, version="2.0.0") for name in ("small", "large")]
    FEATURES: ClassVar = {
        "image": tfds.features.Image(shape=(6, 6, 1)),
        "label": tfds.features.ClassLabel(num_classes=2),
    }
    SPLITS: ClassVar = {
        "train": [{"image": np.full((6, 6, 1), 10 * n, np.uint8), "label": n % 2} for n in range(10)],
    }


class TinyTwo(Set):
    """Two class labels, of which none has a usual name."""

    FEATURES: ClassVar = {
        "image": tfds.features.Image(),
        "colour": tfds.features.ClassLabel(names=["red", "blue"]),
        "form": tfds.features.ClassLabel(names=["round", "square"]),
    }
    SPLITS: ClassVar = {
        "train": [{"image": picture(n), "colour": n % 2, "form": n // 5} for n in range(10)],
        "test": [{"image": picture(n), "colour": n % 2, "form": n // 2} for n in range(4)],
    }


class TinyTexts(Set):
    """Nothing to look at."""

    FEATURES: ClassVar = {"text": tfds.features.Text(), "stars": tfds.features.Scalar(np.int64)}
    SPLITS: ClassVar = {"train": [{"text": "good", "stars": 5}]}


class TinyDepth(Set):
    """Pictures whose values are no bytes."""

    FEATURES: ClassVar = {
        "image": tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16),
        "label": tfds.features.ClassLabel(num_classes=2),
    }
    SPLITS: ClassVar = {"train": [{"image": np.zeros((4, 4, 1), np.uint16), "label": 0}]}


if __name__ == "__main__":
    tfds.disable_progress_bar()
    for kind in (TinyShapes, TinyTags, TinyTwo, TinyTexts, TinyDepth):
        kind(data_dir=sys.argv[1]).download_and_prepare()
    TinyGrey(data_dir=sys.argv[1], config="small").download_and_prepare()
    print(len(list(Path(sys.argv[1]).rglob("dataset_info.json"))), "sets")
