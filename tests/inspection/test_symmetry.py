"""From pictures to what flips do to their classes: sawtooth waves that swap when mirrored, and colours that do not."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from scipy.special import log_softmax

from tests.pictures import make_class_folders
from tltool.backbones import load_backbone
from tltool.data import load_dataset
from tltool.errors import DataError
from tltool.features.extract import extract
from tltool.heads.cross_validation import TOLERANCE, out_of_fold_logits
from tltool.heads.logistic import LogisticProblem
from tltool.inspection import symmetry as module
from tltool.inspection.baselines import ProbeSpec, measure_baselines
from tltool.inspection.symmetry import choose_sample, compare_flips, held_out_splits, inputs_of, measure_symmetry

STRENGTHS = (1.0, 0.1, 0.01)


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny_random")


def inspected(backbone, root):
    """A data set with its features and baselines; the first baseline reads the top alone."""
    data = load_dataset(root)
    table = extract(backbone, data.root, data.files)
    rows = data.indices("train", "valid")
    stages = [backbone.stage_names[-1:], backbone.stage_names]
    specs = [ProbeSpec(str(len(names)), tuple(names), ("mean", "std"), STRENGTHS, 4, 1) for names in stages]
    labels, groups = data.labels_of(rows), data.together_of(rows)
    return data, table, measure_baselines(table, rows, labels, len(data.class_names), specs, 0, groups=groups)


@pytest.fixture(scope="module")
def waves(backbone, tmp_path_factory):
    """Classes "rising" and "falling" from left to right, which mirroring swaps; "flat" is noise, and stays."""
    root = tmp_path_factory.mktemp("waves")
    random = np.random.default_rng(0)
    for name in ("rising", "falling", "flat"):
        (root / name).mkdir()
        for number in range(24):
            saw = (np.arange(64) / 32 + random.random()) % 1
            row = {"rising": saw, "falling": saw[::-1], "flat": np.full(64, 0.5)}[name]
            pixels = 40 + 150 * row[None, :, None] + random.normal(0, 5, (64, 64, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / name / f"{number:02}.png")
    return inspected(backbone, root)


@pytest.fixture(scope="module")
def found(backbone, waves):
    return measure_symmetry(backbone, *waves)


def test_mirroring_swaps_what_rises_and_what_falls(found, waves):
    learned = len(waves[0].indices("train", "valid"))
    assert found.pictures == learned
    assert found.mirrored.lost > 1  # worse than no head at all
    for name, falls in (("rising", True), ("falling", True), ("flat", False)):
        change = found.mirrored.classes[name]
        assert change.recall > 0.75
        assert (change.flipped_recall < 0.4) == falls
        assert (change.chance < 0.001) == falls


def test_upside_down_they_stay_what_they_are(found):
    assert abs(found.upside_down.lost) < 0.15
    assert all(change.flipped_recall > 0.75 for change in found.upside_down.classes.values())


def test_a_quarter_turn_shows(found):
    assert found.turned.told_apart > 0.7
    assert found.turned.classes["flat"].flipped_recall > 0.8


def test_colours_bear_every_flip(backbone, tmp_path):
    parts = inspected(backbone, make_class_folders(tmp_path / "colours", {"ant": 20, "bee": 20}))
    found = measure_symmetry(backbone, *parts)
    for flip in (found.mirrored, found.upside_down, found.turned):
        assert flip.lost < 0.05
        assert all(change.flipped_recall > 0.9 for change in flip.classes.values())
    # Guessing 30 pictures has a standard error of 0.09; three of them are allowed.
    assert found.mirrored.told_apart == pytest.approx(0.5, abs=0.27)


def test_the_same_seed_gives_the_same_and_json_holds_it(backbone, waves, found):
    assert measure_symmetry(backbone, *waves) == found
    assert json.loads(json.dumps(asdict(found)))["mirrored"]["classes"]["flat"]["pictures"] > 10


def test_held_out_pictures_move_nothing(backbone, waves, found):
    data, table, baselines = waves
    spoilt = table.values.copy()
    spoilt[data.indices("test")] = 1e6
    assert measure_symmetry(backbone, data, replace(table, values=spoilt), baselines) == found


def test_a_sample_is_flipped_and_told_of(backbone, waves, monkeypatch):
    monkeypatch.setattr(module, "SYMMETRY_PICTURES", 12)
    told = []
    found = measure_symmetry(backbone, *waves, seed=1, report=lambda *report: told.append(report))
    assert found.pictures == 12
    assert sum(change.pictures for change in found.mirrored.classes.values()) == 12
    words = ["Reading mirrored pictures", "Reading upside-down pictures", "Reading turned pictures"]
    assert list(dict.fromkeys(task for task, _, _ in told)) == words
    assert {total for _, _, total in told} == {12}


def test_more_pictures_than_baselines_read_are_not_learned_from(backbone, waves, monkeypatch):
    monkeypatch.setattr(module, "BASELINE_PICTURES", 30)
    assert measure_symmetry(backbone, *waves).pictures == 30


def test_five_pictures_a_class_are_measured(backbone, tmp_path):
    found = measure_symmetry(backbone, *inspected(backbone, make_class_folders(tmp_path / "few", {"a": 5, "b": 5})))
    assert found.pictures <= 10
    json.dumps(asdict(found), allow_nan=False)


def test_a_picture_that_has_gone_is_told_of(backbone, tmp_path, monkeypatch):
    monkeypatch.setenv("TLTOOL_PIXEL_CACHE", "0")
    data, table, baselines = inspected(backbone, make_class_folders(tmp_path / "going", {"a": 6, "b": 6}))
    for path in data.paths:
        path.write_text("no picture")
    with pytest.raises(DataError, match="changed while it was being read: "):
        measure_symmetry(backbone, data, table, baselines)


def test_groups_and_alone_pictures_are_respected():
    labels = np.array([0] * 12 + [1] * 12 + [2])
    groups = [f"patient {index // 3}" for index in range(25)]
    splits = held_out_splits(labels, 4, 0, groups)
    for fitted, held_out in splits:
        assert not {groups[index] for index in fitted} & {groups[index] for index in held_out}
    held = np.sort(np.concatenate([held_out for _, held_out in splits]))
    assert held.tolist() == list(range(24))
    assert choose_sample(splits, 0).tolist() == list(range(24))


def test_one_group_a_class_is_parted_and_one_picture_a_class_is_refused():
    labels = np.repeat([0, 1], 6)
    splits = held_out_splits(labels, 3, 0, ["left"] * 6 + ["right"] * 6)
    assert np.sort(np.concatenate([held_out for _, held_out in splits])).tolist() == list(range(12))
    with pytest.raises(DataError, match="needs a class with at least 2 training pictures"):
        held_out_splits(np.arange(3), 4, 0, ())


def synthetic(several, count=60, classes=3):
    """Features that show the classes; mirrored those of the others, upside down the same, turned nothing."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    clean = 2 * np.eye(classes)[labels] + random.normal(0, 0.5, (count, classes))
    sample = np.arange(0, count, 2)
    flipped = [clean[sample][:, [1, 2, 0]], clean[sample], np.zeros((len(sample), classes))]
    if several:
        labels = np.eye(classes, dtype=np.int64)[labels]
    return clean, flipped, labels, sample


@pytest.mark.parametrize("several", [False, True], ids=["one class", "multi-label"])
def test_losses_are_those_of_heads_that_have_not_seen_the_picture(several):
    clean, flipped, labels, sample = synthetic(several)
    splits = held_out_splits(labels, 4, 7, ())
    found = compare_flips(clean, flipped, labels, ["a", "b", "c"], sample, splits, 0.1)
    problem = LogisticProblem(clean, labels, 3)
    logits = out_of_fold_logits(problem, 0.1, 4, 7)[sample]
    seen = labels[sample]
    if several:
        loss = np.logaddexp(0, np.where(seen == 1, -logits, logits)).sum(axis=1)
        share = (labels.sum(axis=0) + 0.5) / (len(labels) + 1)
        guess = -np.where(seen == 1, np.log(share), np.log(1 - share)).sum(axis=1)
        right = (logits[:, 0] > 0)[seen[:, 0] == 1]
    else:
        loss = -log_softmax(logits, axis=1)[np.arange(len(sample)), seen]
        guess = np.full(len(sample), np.log(3))
        right = (logits.argmax(axis=1) == 0)[seen == 0]
    assert found.mirrored.classes["a"].recall == right.mean() > 0.8
    assert found.mirrored.classes["a"].flipped_recall < 0.2
    assert found.mirrored.lost > 1
    assert (found.upside_down.lost, found.upside_down.error) == (0, 0)
    # Turned, all of them look alike, so each head says the same of all.
    nothing = -clean.mean(axis=0) / clean.std(axis=0)
    turned = []
    for fitted, held_out in splits:
        (weights,) = problem.solve([0.1], fitted, TOLERANCE)
        answer = nothing @ weights[:-1] + weights[-1]
        for wanted in labels[np.intersect1d(held_out, sample)]:
            signed = np.where(wanted == 1, -answer, answer)
            turned.append(np.logaddexp(0, signed).sum() if several else -log_softmax(answer)[wanted])
    assert found.turned.lost == pytest.approx((np.mean(turned) - loss.mean()) / (guess - loss).mean(), rel=1e-6)


def test_the_stages_of_the_widest_baseline_are_read(backbone, waves, found):
    data, table, baselines = waves
    assert measure_symmetry(backbone, data, table, baselines[::-1]) == found
    assert measure_symmetry(backbone, data, table, baselines[1:]) == found
    assert measure_symmetry(backbone, data, table, baselines[:1]) != found


def test_inputs_of_a_problem_are_its_own():
    """Whether it rotates them, having fewer pictures than features, or not; a feature that never moves stays out."""
    random = np.random.default_rng(0)
    for pictures, width in ((40, 10), (8, 30)):
        features = random.normal(3, 2, (pictures, width))
        features[:, 4] = 1.5
        problem = LogisticProblem(features, np.arange(pictures) % 2, 2)
        np.testing.assert_allclose(inputs_of(problem, features), problem.inputs, atol=1e-9)
        features[:, 4] = 1000
        np.testing.assert_allclose(inputs_of(problem, features), problem.inputs, atol=1e-9)
        (weights,) = problem.solve([0.1], tolerance=1e-10)
        others = random.normal(size=(5, width))
        expected = problem.fit(0.1, tolerance=1e-10).logits(others)
        np.testing.assert_allclose(
            inputs_of(problem, others) @ weights[:-1] + weights[-1], expected, rtol=1e-4, atol=1e-4
        )
