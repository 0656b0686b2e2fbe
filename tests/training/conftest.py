"""What several tests of training share."""

import keras
import pytest

from tests.pictures import make_class_folders
from tests.training.bench import SIZE, small_backbone
from tltool.data import load_dataset, read_batches
from tltool.data.decoding import Framing
from tltool.features.taps import pooled


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = make_class_folders(tmp_path_factory.mktemp("finetune"), {"ant": 14, "bee": 14, "cat": 14})
    data = load_dataset(folder)
    (batch,) = read_batches(data.paths, Framing(SIZE), len(data))
    backbone = small_backbone()
    features = keras.Model(backbone.network.input, pooled(backbone, ["stage4"], ["mean"]))
    return data, features.predict_on_batch(batch.pixels)
