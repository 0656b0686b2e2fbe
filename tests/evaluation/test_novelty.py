"""Known pictures pass as often as asked, others do not, and the state is small."""

import io

import numpy as np
import pytest

from tltool.errors import DataError, ShapeError
from tltool.evaluation import novelty as module
from tltool.evaluation.novelty import LARGEST, NEIGHBOURS, Novelty, fit_novelty

CENTERS = np.random.default_rng(99).random((3, 20))


def pictures(count, seed=0, spread=0.15, centers=CENTERS):
    """Features around three centres, and which one."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(centers), count)
    return np.maximum(centers[labels] + spread * random.normal(size=(count, 20)), 0), labels


def test_the_score_is_the_distance_to_the_fifth_nearest():
    features, labels = pictures(60)
    novelty, (new, _) = fit_novelty(features, labels), pictures(10, seed=1)
    for row, found in zip(new, novelty.score(new), strict=True):
        cosines = features @ row / np.linalg.norm(features, axis=1) / np.linalg.norm(row)
        assert found == pytest.approx(1 - np.sort(cosines)[-NEIGHBOURS], abs=2e-4)


@pytest.mark.parametrize("share", [0.8, 0.95])
def test_the_asked_share_of_known_pictures_passes(share):
    passed = []
    for seed in range(40):
        features, labels = pictures(120, seed)
        passed.append(fit_novelty(features, labels, share).known(pictures(200, seed + 1000)[0]).mean())
    assert np.mean(passed) == pytest.approx(share, abs=0.015)


def test_other_pictures_are_unknown():
    novelty = fit_novelty(*pictures(200))
    elsewhere = np.random.default_rng(5).random((3, 20))
    assert novelty.known(pictures(100, 1, centers=elsewhere)[0]).mean() < 0.05
    assert not novelty.known(np.zeros((1, 20)))[0]  # excites nothing, which is not a crash


def test_brightness_does_not_matter():
    features, labels = pictures(100)
    novelty, (new, _) = fit_novelty(features, labels), pictures(20, 1)
    np.testing.assert_allclose(novelty.score(7 * new), novelty.score(new), atol=1e-6)


def test_a_trained_network_is_judged_by_held_out_pictures():
    features, labels = pictures(150, spread=0.02)  # drawn together by training
    held_out, _ = pictures(150, 1, spread=0.15)
    new, _ = pictures(400, 2, spread=0.15)
    assert fit_novelty(features, labels).known(new).mean() < 0.3
    assert fit_novelty(features, labels, held_out=held_out).known(new).mean() == pytest.approx(0.95, abs=0.05)


def test_copies_do_not_vouch_for_each_other():
    features, labels = pictures(60)
    copies, twice = np.repeat(features, 8, axis=0), np.repeat(labels, 8)
    groups = [str(index // 8) for index in range(len(copies))]
    new, _ = pictures(300, 1)
    assert fit_novelty(copies, twice).threshold == pytest.approx(0, abs=1e-3)
    assert fit_novelty(copies, twice).known(new).mean() < 0.05
    assert fit_novelty(copies, twice, groups=groups).known(new).mean() > 0.9


def test_pictures_without_a_group_are_on_their_own():
    features, labels = pictures(60)
    assert fit_novelty(features, labels, groups=[""] * 60).threshold == fit_novelty(features, labels).threshold


def test_one_single_group_cannot_be_judged():
    features, labels = pictures(60)
    with pytest.raises(DataError, match="belong together"):
        fit_novelty(features, labels, groups=["burst"] * 60)


def test_of_many_pictures_few_are_kept_and_rare_classes_stay(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 100)
    features, _ = pictures(1000)
    labels = np.repeat([0, 1, 2], [900, 80, 20])
    novelty = fit_novelty(features, labels)
    assert novelty.reference.shape == (100, 20)
    kept = features / np.linalg.norm(features, axis=1, keepdims=True)
    own = [int(np.abs(kept - row).max(axis=1).argmin()) for row in novelty.reference.astype(float)]
    assert np.bincount(labels[own]).tolist() == [40, 40, 20]
    assert novelty.known(pictures(400, 1)[0]).mean() == pytest.approx(0.95, abs=0.03)
    several = fit_novelty(features, np.eye(3, dtype=int)[labels])
    assert several.reference.shape == (100, 20)


def test_the_same_seed_keeps_the_same_pictures(monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 50)
    features, labels = pictures(200)
    one, again, other = (fit_novelty(features, labels, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.reference, again.reference)
    assert one.threshold == again.threshold
    assert not np.array_equal(one.reference, other.reference)


def test_pictures_are_scored_in_blocks(monkeypatch):
    features, labels = pictures(70)
    whole = fit_novelty(features, labels)
    monkeypatch.setattr(module, "BLOCK", 32)
    assert fit_novelty(features, labels).threshold == pytest.approx(whole.threshold, abs=1e-6)
    np.testing.assert_allclose(fit_novelty(features, labels).score(features), whole.score(features), atol=1e-6)


def test_the_state_survives_a_file_and_is_small():
    features, labels = pictures(100)
    novelty, file = fit_novelty(features, labels), io.BytesIO()
    np.savez(file, **novelty.to_arrays())
    file.seek(0)
    read = Novelty.from_arrays(np.load(file))
    new, _ = pictures(50, 1)
    np.testing.assert_array_equal(read.score(new), novelty.score(new))
    np.testing.assert_array_equal(read.known(new), novelty.known(new))
    assert LARGEST * 1280 * novelty.reference.itemsize < 10e6


@pytest.mark.parametrize(("share", "needed"), [(0.95, 19), (0.9, 9), (0.5, 6)])
def test_too_few_pictures_are_told_how_many_it_takes(share, needed):
    features, labels = pictures(needed)
    assert fit_novelty(features, labels, share).threshold >= 0
    with pytest.raises(DataError, match=f"takes {needed} of them, and there are {needed - 1}"):
        fit_novelty(features[1:], labels[1:], share)


@pytest.mark.parametrize("share", [0.0, 1.0, 95, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(share):
    with pytest.raises(DataError, match=r"give one from 0\.5 to 0\.999"):
        fit_novelty(*pictures(40), share=share)


def test_shapes_that_do_not_fit_are_refused():
    features, labels = pictures(40)
    with pytest.raises(ShapeError, match="39 labels"):
        fit_novelty(features, labels[1:])
    with pytest.raises(ShapeError, match="where a picture has 20"):
        fit_novelty(features, labels).score(features[:, 1:])
