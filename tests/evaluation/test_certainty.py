"""What is known of a model's certainty: kept, read back, refused where it is damaged."""

import json

import numpy as np
import pytest

from tltool.errors import DataError, ExportError
from tltool.evaluation.certainty import Certainty, read_certainty
from tltool.evaluation.conformal import ConformalScores
from tltool.evaluation.evaluate import CertaintyScores, score_certainty
from tltool.evaluation.novelty import fit_novelty
from tltool.heads.temperature import Temperature


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(60, 8))


@pytest.fixture
def certainty(features) -> Certainty:
    prob = np.random.default_rng(1).dirichlet(np.ones(3), size=60)
    labels = np.arange(60) % 3
    return Certainty(
        Temperature(1.25, 60, 0.01),
        "cross-validation",
        ConformalScores.from_probabilities(prob, labels),
        fit_novelty(features, labels),
    )


def test_it_is_read_back_as_it_was(certainty, features, tmp_path):
    certainty.write(tmp_path)
    again = read_certainty(tmp_path)
    assert (again.temperature, again.source) == (certainty.temperature, certainty.source)
    assert again.set_threshold(0.8) == certainty.set_threshold(0.8)
    others = np.concatenate([features, features[::-1] - 3])
    np.testing.assert_array_equal(again.known(others), certainty.known(others))
    json.loads((tmp_path / "calibration.json").read_text("utf-8"), parse_constant=lambda name: pytest.fail(name))


def test_reasons_are_kept_in_the_place_of_what_there_is_not(tmp_path, features):
    without = Certainty(Temperature(1.0, 3, reason="few"), "validation pictures", "no sets", "no novelty")
    without.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]
    again = read_certainty(tmp_path)
    assert (again.sets, again.novelty, again.temperature.reason) == ("no sets", "no novelty", "few")
    assert again.known(features) is None
    assert again.set_threshold(None) is None
    with pytest.raises(DataError, match="no sets"):
        again.set_threshold(0.9)


def test_what_was_not_asked_for_is_left_out_and_what_was_is_refused(certainty):
    few = Certainty(
        certainty.temperature, certainty.source, ConformalScores(np.array([0.9, 0.8]), 2), certainty.novelty
    )
    assert few.set_threshold(None) is None
    with pytest.raises(DataError, match="take 9 pictures to calibrate on, and there were 2"):
        few.set_threshold(0.9)
    assert certainty.set_threshold(None) == certainty.set_threshold(0.9)


def test_a_model_of_an_earlier_version_has_none(tmp_path):
    assert read_certainty(tmp_path) is None
    assert score_certainty(None, np.ones((2, 1)), None, np.zeros(2, int)) == CertaintyScores()


def test_flipped_bytes_are_told_of(certainty, tmp_path):
    """zlib, tokenize and zipfile each answer in a way of their own, depending on the place."""
    certainty.write(tmp_path)
    path, random, refused = tmp_path / "novelty.npz", np.random.default_rng(0), 0
    whole = path.read_bytes()
    for _ in range(60):
        torn = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            torn[place] ^= 255
        path.write_bytes(torn)
        try:
            read_certainty(tmp_path)
        except ExportError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("spoil", ["novelty.npz", "calibration.json", "gone", "empty"])
def test_damaged_files_are_told_of(certainty, tmp_path, spoil):
    certainty.write(tmp_path)
    if spoil == "gone":
        (tmp_path / "novelty.npz").unlink()
    elif spoil == "empty":
        (tmp_path / "calibration.json").write_text("[]")
    else:
        (tmp_path / spoil).write_bytes(b"{ nothing")
    with pytest.raises(
        ExportError, match=r"(novelty\.npz|calibration\.json): cannot be read .* belong beside the model"
    ):
        read_certainty(tmp_path)


def test_scores_are_those_of_a_plain_loop(certainty, features):
    random = np.random.default_rng(3)
    prob, labels = random.dirichlet(np.ones(3), size=40), random.integers(3, size=40)
    found = score_certainty(certainty, prob, features[:40], labels)
    lowest = certainty.set_threshold(0.9)
    sets = [{c for c in range(3) if p[c] >= lowest} | {int(p.argmax())} for p in prob]
    assert found.covered == pytest.approx(
        np.mean([label in found_in for label, found_in in zip(labels, sets, strict=True)])
    )
    assert found.set_size == pytest.approx(np.mean([len(one) for one in sets]))
    assert found.known == certainty.known(features[:40]).mean()
    assert str(found).startswith("Sets for 90% hold the right class in ")
    assert str(CertaintyScores()) == ""
