"""A finished model over many files: the same numbers as picture by picture, and bad files told of."""

import numpy as np
import pytest
from PIL import Image

from tests.ensembles.members import CLASSES, member
from tests.pictures import make_class_folders, make_picture
from tests.trained import finished_run
from tltool.backbones import load_backbone
from tltool.data import decode
from tltool.data.content import content_key
from tltool.data.decoding import FITS
from tltool.evaluation.inference import BATCH, classify
from tltool.heads.logistic import LinearHead
from tltool.heads.network import attach_head, framings_of, picture_model
from tltool.training.averaged_model import averaged_model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = make_class_folders(tmp_path_factory.mktemp("new"), {"ant": 9, "bee": 10}, size=45, seed=5)
    return sorted(folder.rglob("*.png"))


def test_batches_give_what_single_pictures_give(files):
    assert len(files) > BATCH  # so that there are two
    model = finished_run().model
    result = classify(model, files)
    assert result.problems == ()
    assert result.indices.tolist() == list(range(len(files)))
    np.testing.assert_allclose(result.values.sum(axis=1), 1, atol=1e-5)
    for index in (0, BATCH, len(files) - 1):  # through the model's own resizing, not the decoder's
        single = model.predict_on_batch(decode(files[index])[None])[0]
        np.testing.assert_allclose(result.values[index], single, atol=1e-3)  # a value may be rounded either way


def test_bad_files_are_told_of_and_the_others_keep_their_place(files, tmp_path):
    text = tmp_path / "note.jpg"
    text.write_text("no picture")
    torn = make_picture(tmp_path / "torn.jpg", size=64)
    torn.write_bytes(torn.read_bytes()[:200])
    mixed = [text, files[0], torn, files[1], tmp_path / "missing.png"]
    told = []
    result = classify(finished_run().model, mixed, lambda *step: told.append(step))
    assert result.indices.tolist() == [1, 3]
    np.testing.assert_allclose(result.values, classify(finished_run().model, files[:2]).values, atol=1e-6)
    assert [problem.path for problem in result.problems] == [str(text), str(torn), str(tmp_path / "missing.png")]
    assert all(problem.reason for problem in result.problems)
    assert told == [("Classifying", 5, 5)]


@pytest.mark.parametrize("fit", FITS)
def test_pictures_are_framed_as_the_model_says(tmp_path, fit):
    """Given to it as they are, they go through its own resizing."""
    backbone = load_backbone("tiny_random", fit=fit)
    random = np.random.default_rng(0)
    kernel = random.normal(size=(backbone.network.get_layer(backbone.stages[-1].layer).output.shape[-1], 3))
    head = LinearHead(kernel.astype(np.float32), np.zeros(3, np.float32), 1.0)
    model = picture_model(attach_head(backbone, ("top",), ("mean",), head), backbone.framing)
    pictures = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 90), (90, 41), (32, 32))]
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    expected = np.concatenate([model(picture[None]).numpy() for picture in pictures])
    keys = [content_key(file.read_bytes()) for file in files]
    assert np.ptp(expected, axis=0).max() > 0.01
    for _ in range(2):  # the second time from the cache
        np.testing.assert_allclose(classify(model, files, keys=keys).values, expected, atol=1e-3)


def test_nothing_readable(tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    result = classify(finished_run().model, [tmp_path / "note.jpg"])
    assert result.values.shape == (0, 3)
    assert len(result.indices) == 0
    assert len(result.problems) == 1


@pytest.mark.parametrize("cached", [False, True])
def test_members_of_several_sizes_each_get_their_own_squares(files, cached):
    members = [member(0, 32), member(1, 48)]
    model = averaged_model(members, CLASSES)
    assert [framing.size for framing in framings_of(model)] == [32, 48]
    keys = [content_key(file.read_bytes()) for file in files] if cached else None
    expected = np.mean([classify(each, files, keys=keys).values for each in members], axis=0)
    np.testing.assert_allclose(classify(model, files, keys=keys).values, expected, atol=1e-6)
