"""`tltool backbones`: what there is, and which one suits the pictures."""

import json

import pytest

from tests.trained import copy_pictures
from tltool.backbones import backbone_names, offline_names
from tltool.backbones.applications import cached_applications
from tltool.cli import app
from tltool.errors import TltoolError


def test_all_backbones_are_listed(capsys):
    app(["backbones", "list", "--json"], standalone_mode=False)
    listed = json.loads(capsys.readouterr().out)["backbones"]
    assert [each["name"] for each in listed] == list(backbone_names())
    assert [each["name"] for each in listed if each["here"]] == list(offline_names())
    app(["backbones"], standalone_mode=False)
    out = capsys.readouterr().out
    assert all(name in out for name in backbone_names())
    assert out.index("efficientnet_lite0") < out.index("resnet50")


def test_what_keras_downloaded_before_needs_no_network(tmp_path, monkeypatch):
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert cached_applications() == ()
    for name in (
        "resnet50v2_weights_tf_dim_ordering_tf_kernels.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        "efficientnetv2-b0.h5",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "imagenet_class_index.json",
    ):
        (models / name).touch()
    assert cached_applications() == ("resnet50_v2", "mobilenet_v2", "efficientnet_v2_b0")
    assert "resnet50_v2" in offline_names()


def test_a_ranking_on_the_command_line(tmp_path, capsys):
    photos = copy_pictures(tmp_path / "photos", range(12))
    app(["backbones", "rank", str(photos), "--backbones", "tiny_random", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["pick"] == "tiny_random"
    assert set(told["backbones"][0]) >= {"accuracy", "log_evidence", "milliseconds", "megabytes", "behind_error"}
    app(["backbones", "rank", str(photos), "--backbones", "tiny_random,nothing"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert "tiny_random" in out
    assert "the only one" in out
    assert "Left out: nothing: There is no backbone 'nothing'" in " ".join(err.split())
    with pytest.raises(TltoolError, match="No backbone can be ranked"):
        app(["backbones", "rank", str(photos), "--backbones", "nothing"], standalone_mode=False)
