"""The fast way through a frozen network gives what Keras gives; where it fails, Keras takes over and says so."""

import logging
import sys
import tempfile

import numpy as np
import openvino
import pytest

from tltool.backbones import load_backbone
from tltool.features import engine
from tltool.features.engine import load_engine
from tltool.features.reading import reading_model


@pytest.fixture(scope="module")
def model():
    return reading_model(load_backbone("tiny_random"))


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch):
    monkeypatch.setattr(engine, "has_accelerator", lambda: False)


@pytest.fixture(scope="module")
def run(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "has_accelerator", lambda: False)
        patch.setattr(engine, "_keras_engine", lambda model: pytest.fail("OpenVINO was not used"))
        return load_engine(model)


def pictures(count):
    return np.random.default_rng(count).uniform(0, 255, (count, 32, 32, 3)).astype(np.float32)


def assert_agrees(run, model, batch):
    expected = model.predict_on_batch(batch)
    found = run(batch)
    assert [array.shape for array in found] == [array.shape for array in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_openvino_gives_what_keras_gives_for_any_number_of_pictures(model, run):
    for count in (8, 1, 3):
        assert_agrees(run, model, pictures(count))


def test_results_are_the_callers_own(run):
    """The runtime writes each batch into the same memory."""
    first = run(pictures(2))
    kept = [array.copy() for array in first]
    run(pictures(2) / 2)
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_other_number_types_and_memory_layouts_are_taken(run):
    batch = np.round(pictures(3))
    for same in (batch.astype(np.float64), batch.astype(np.uint8), np.asfortranarray(batch)):
        for ours, theirs in zip(run(same), run(batch), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder that temporary files go to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_model_with_one_output_gives_a_list_as_well(temporary):
    network = load_backbone("tiny_random").network
    for run in (load_engine(network), engine._keras_engine(network, [0])):
        (logits,) = run(pictures(2))
        assert np.abs(logits - network.predict_on_batch(pictures(2))).max() <= 1e-4 * np.abs(logits).max()
    assert list(temporary.iterdir()) == []  # the exported network is gone, and the engine still runs


def test_only_the_wanted_outputs_are_given(model):
    batch = pictures(3)
    whole = model.predict_on_batch(batch)
    for wanted in ((0, 1), (2,)):
        found = load_engine(model, wanted)(batch)
        assert len(found) == len(wanted)
        for index, array in zip(wanted, found, strict=True):
            assert np.abs(array - whole[index]).max() <= 1e-4 * np.abs(whole[index]).max()


def broken(*args, **kwargs):
    raise RuntimeError("no such operation")


@pytest.mark.parametrize("failure", ["not installed", "cannot compile", "cannot convert"])
def test_where_openvino_fails_keras_takes_over_and_says_so(model, failure, temporary, caplog, monkeypatch):
    engine._converted.clear()
    if failure == "not installed":
        monkeypatch.setitem(sys.modules, "openvino", None)
    elif failure == "cannot compile":
        monkeypatch.setattr(openvino.Core, "compile_model", broken)
    else:
        monkeypatch.setattr(openvino, "convert_model", broken)
    with caplog.at_level(logging.WARNING, logger="tltool.features.engine"):
        run = load_engine(model)
    assert_agrees(run, model, pictures(3))
    (record,) = [record for record in caplog.records if record.name == "tltool.features.engine"]
    assert "OpenVINO cannot run tiny_random_reading (" in record.getMessage()
    assert "Keras runs it instead" in record.getMessage()
    assert ("no such operation" in record.getMessage()) == (failure != "not installed")
    assert list(temporary.iterdir()) == []


def test_on_an_accelerator_it_is_keras(model, monkeypatch, caplog):
    monkeypatch.setattr(engine, "has_accelerator", lambda: True)
    monkeypatch.setattr(engine, "_openvino_engine", lambda *_: pytest.fail("OpenVINO knows no such accelerator"))
    assert_agrees(load_engine(model), model, pictures(2))
    assert not caplog.records
