"""`tltool backbones`: what there is, and which one suits the pictures."""

import json

import pytest

from tests.trained import copy_pictures
from tltool.backbones import backbone_names, offline_names
from tltool.backbones.registry import TINY_RANDOM
from tltool.cli import app
from tltool.errors import TltoolError


def test_all_backbones_are_listed(capsys):
    app(["backbones", "list", "--json"], standalone_mode=False)
    listed = json.loads(capsys.readouterr().out)["backbones"]
    assert {each["name"] for each in listed} == set(backbone_names()) - {TINY_RANDOM}
    assert {each["name"] for each in listed if each["offline"]} == set(offline_names())
    app(["backbones"], standalone_mode=False)
    out = capsys.readouterr().out
    assert all(each["name"] in out for each in listed)
    assert out.index("efficientnet_lite0") < out.index("resnet50")


def test_a_ranking_on_the_command_line(tmp_path, capsys):
    photos = copy_pictures(tmp_path / "photos", range(12))
    app(["backbones", "rank", str(photos), "--backbones", "tiny_random", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["pick"] == "tiny_random"
    assert set(told["backbones"][0]) >= {"accuracy", "log_evidence", "milliseconds", "megabytes", "behind_error"}
    app(["backbones", "rank", str(photos), "--backbones", "tiny_random"], standalone_mode=False)
    out, _ = capsys.readouterr()
    assert "tiny_random" in out
    assert "the only one" in out
    with pytest.raises(TltoolError, match="There is no backbone 'nothing'"):
        app(["backbones", "rank", str(photos), "--backbones", "tiny_random,nothing"], standalone_mode=False)
