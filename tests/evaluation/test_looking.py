"""One pass over files gives what the model says, and the features that it says it by."""

import numpy as np
import pytest

from tests.ensembles.members import CLASSES, member
from tests.pictures import make_class_folders
from tests.trained import finished_run
from tltool.data.decoding import decode, prepare
from tltool.evaluation.inference import classify
from tltool.evaluation.last_maps import last_maps
from tltool.evaluation.looking import look
from tltool.features.extract import content_keys
from tltool.heads.network import framing_of, prepared_model
from tltool.training.averaged_model import averaged_model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = make_class_folders(tmp_path_factory.mktemp("new"), {"ant": 6, "bee": 5}, size=45, seed=5)
    return sorted(folder.rglob("*.png"))


def test_it_says_what_the_model_says(files, tmp_path):
    bad = tmp_path / "note.jpg"
    bad.write_text("no picture")
    model, mixed, told = finished_run().model, [bad, *files], []
    found = look(model, mixed, report=lambda *step: told.append(step))
    assert found.indices.tolist() == list(range(1, len(mixed)))
    assert [problem.path for problem in found.problems] == [str(bad)]
    keys, _ = content_keys(tmp_path, [str(file) for file in files])
    np.testing.assert_allclose(found.prob, classify(model, files, keys=keys).values, atol=1e-4)
    assert told[-1] == ("Looking again", len(mixed), len(mixed))
    framing = framing_of(model)
    pixels = np.stack([prepare(decode(file), framing) for file in files]).astype(np.float32)
    maps = prepared_model(model, last_maps(model).last).predict_on_batch(pixels)
    maps = np.asarray(maps[0] if isinstance(maps, list) else maps)
    np.testing.assert_allclose(found.features, maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_networks_for_several_sizes(files):
    model = averaged_model([member(0, 32), member(1, 48)], CLASSES)
    found = look(model, files)
    np.testing.assert_allclose(found.prob, classify(model, files).values, atol=2e-3)  # rounded in other places
    assert found.features.shape == (len(files), 2 * look(member(0, 32), files[:1]).features.shape[1])


def test_nothing_readable(tmp_path):
    found = look(finished_run().model, [tmp_path / "gone.jpg"])
    assert found.prob.shape == (0, 3)
    assert len(found.features) == len(found.indices) == 0
    assert len(found.problems) == 1
