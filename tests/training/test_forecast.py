"""What is told of time: by the measured step, the share of the network that is trained, and what is kept on disk."""

import numpy as np
import pytest

from tests.pictures import make_class_folders
from tltool.backbones import load_backbone
from tltool.data import load_dataset
from tltool.recipes import load_recipe
from tltool.training import forecast as forecasting
from tltool.training.forecast import duration, forecast


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny_random")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return load_dataset(make_class_folders(tmp_path_factory.mktemp("forecast"), {"ant": 20, "bee": 20}, size=8))


def told(monkeypatch, recipe, backbone, data, budget=1000.0) -> list[str]:
    monkeypatch.setattr(forecasting, "_measure", lambda _: (1.0, 2.0))  # seconds a picture, forward and backward
    return forecast(recipe, backbone, data, budget)


def seconds(line: str) -> float:
    number, unit = line.split("about ")[1].split()[:2]
    return float(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def test_all_of_the_network_takes_epochs_times_pictures_times_the_measured_step(monkeypatch, backbone, data):
    recipe = load_recipe("finetune-all", ["stages.all.epochs=2", "backbone=tiny_random", "image_size=32"])
    line, *_ = told(monkeypatch, recipe.with_augmentation("light"), backbone, data)
    train, valid = len(data.indices("train")), len(data.indices("valid"))
    assert seconds(line) == pytest.approx(2 * (train * 3.0 + valid), abs=31)  # told in minutes
    assert line.startswith("finetune-all takes about ")
    assert line.endswith("on this machine: within the budget.")


def test_a_budget_that_is_too_small_is_told(monkeypatch, backbone, data):
    recipe = load_recipe("finetune-all", ["stages.all.epochs=2", "backbone=tiny_random", "image_size=32"])
    recipe = recipe.with_augmentation("light")
    full = seconds(told(monkeypatch, recipe, backbone, data)[0])
    line = told(monkeypatch, recipe, backbone, data, full / 4)[0]
    assert "the budget holds 25% of that" in line or "the budget holds 26% of that" in line


def test_few_stages_take_less_and_less_again_where_frozen_ones_are_computed_once(monkeypatch, backbone, data):
    settings = ["backbone=tiny_random", "stages.top.epochs=10"]
    top = load_recipe("finetune-top", settings)
    fresh = seconds(told(monkeypatch, top.with_augmentation("light"), backbone, data)[0])
    kept = seconds(told(monkeypatch, top.with_augmentation("none"), backbone, data)[0])
    whole = load_recipe("finetune-all", ["backbone=tiny_random", "stages.all.epochs=10", "image_size=32"])
    assert kept < 0.7 * fresh
    assert fresh < seconds(told(monkeypatch, whole.with_augmentation("light"), backbone, data)[0])


def test_the_other_recipes_of_the_backbone_are_told_as_well(monkeypatch, backbone, data):
    lines = told(monkeypatch, load_recipe("finetune-top").with_augmentation("none"), backbone, data)
    names = [line.split()[0] for line in lines]
    assert names[0] == "finetune-top"
    assert {"finetune-all", "gradual", "surgical"} == set(names[1:])


def test_measuring_moves_nothing(backbone):
    before, flags = backbone.network.get_weights(), [layer.trainable for layer in backbone.network.layers]
    forward, backward = forecasting._measure(backbone)
    assert forward > 0
    assert backward >= 0
    assert all(np.array_equal(a, b) for a, b in zip(before, backbone.network.get_weights(), strict=True))
    assert flags == [layer.trainable for layer in backbone.network.layers]


def test_a_budget_that_is_used_up_holds_nothing(monkeypatch, backbone, data):
    lines = told(monkeypatch, load_recipe("finetune-top").with_augmentation("none"), backbone, data, budget=-3.0)
    assert all(line.endswith("the budget holds 0% of that.") for line in lines)


@pytest.mark.parametrize("most", [2, 0])
def test_measuring_does_with_what_memory_there_is(backbone, data, monkeypatch, most):
    flags, timed, tried = [layer.trainable for layer in backbone.network.layers], forecasting._timed, []

    def tight(model, count):
        tried.append(count)
        if count > most:
            raise MemoryError
        return timed(model, count)

    monkeypatch.setattr(forecasting, "_timed", tight)
    lines = forecast(load_recipe("finetune-top").with_augmentation("none"), backbone, data, 100.0)
    assert tried == ([8, 4, 2] if most else [8, 4, 2, 1])
    assert ("no memory" in lines[0]) == (most == 0)
    assert flags == [layer.trainable for layer in backbone.network.layers]


@pytest.mark.parametrize(("number", "text"), [(40.4, "40 s"), (125, "2 min"), (7200, "2.0 h")])
def test_durations(number, text):
    assert duration(number) == text
