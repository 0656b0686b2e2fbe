"""Plans of members: what each learns from, that folds never part what belongs together, and out-of-fold scores."""

from collections import Counter

import numpy as np
import pytest

import tltool as tl
from tests.pictures import make_class_folders
from tests.trained import TINY
from tltool.data import load_dataset
from tltool.data.dataset import build
from tltool.data.decoding import decode
from tltool.doctor.checkup import check_up
from tltool.ensembles.members import members_by_fold, members_by_seed, out_of_fold_probabilities
from tltool.errors import DataError


def index(folder, count=30, groups=0, multi_label=False):
    """An index without files: `count` pictures of two classes; every `groups` of a class belong together."""
    rows = []
    for name in ("ant", "bee"):
        for number in range(count):
            label = (name, "both")[: 1 + number % 2] if multi_label else name
            group = f"{name} {number // groups}" if groups else ""
            rows.append((f"{name}/{number:03}.png", label, None, group))
    return build("pictures", folder, rows, seed=0, multi_label=multi_label)


def test_seeds_follow_each_other_on_one_split(tmp_path):
    data = index(tmp_path)
    members = members_by_seed(data, 3, seed=7)
    assert [member.seed for member in members] == [7, 8, 9]
    assert all(member.data is data and not len(member.fold) for member in members)


@pytest.mark.parametrize("multi_label", [False, True])
def test_folds_share_out_what_is_learned_from_and_nothing_else(tmp_path, multi_label):
    data = index(tmp_path, multi_label=multi_label)
    members = members_by_fold(data, 4, seed=1)
    learned = set(data.indices("train", "valid").tolist())
    folds = [set(member.fold.tolist()) for member in members]
    assert sum(map(len, folds)) == len(set.union(*folds)) == len(learned)
    assert set.union(*folds) == learned
    assert max(map(len, folds)) - min(map(len, folds)) <= 2
    held_out = {data.files[row] for row in data.indices("test")}
    for member, fold in zip(members, folds, strict=True):
        own = member.data
        assert {own.files[row] for row in own.indices("test")} == held_out
        assert set(own.files) == set(data.files) - {data.files[row] for row in fold}
        position = {file: row for row, file in enumerate(data.files)}
        assert all(own.labels[row] == data.labels[position[file]] for row, file in enumerate(own.files))
        if not multi_label:
            shares = Counter(data.labels[row] for row in fold)
            assert max(shares.values()) - min(shares.values()) <= 1


def test_what_belongs_together_is_in_one_fold(tmp_path):
    data = index(tmp_path, groups=3)
    for member in members_by_fold(data, 3):
        inside = {data.together[row] for row in member.fold}
        own = member.data
        assert not inside & {own.together[row] for row in own.indices("train", "valid")}


def test_seeds_draw_other_folds(tmp_path):
    data = index(tmp_path)
    first, same, other = (members_by_fold(data, 3, seed=seed)[0].fold.tolist() for seed in (0, 0, 1))
    assert first == same != other


def test_too_few_of_either_are_refused(tmp_path):
    data = index(tmp_path, 4)
    for plan in (members_by_seed, members_by_fold):
        with pytest.raises(DataError, match="2 or more"):
            plan(data, 1)
    with pytest.raises(DataError, match="cannot be dealt out into 20 folds"):
        members_by_fold(data, 20)


def test_folds_are_fitted_and_scored_on_what_they_never_saw(tmp_path):
    folder = make_class_folders(tmp_path / "pictures", {"ant": 12, "bee": 12}, size=48, seed=3)
    data = check_up(load_dataset(folder)).data
    members = members_by_fold(data, 2)
    runs = [
        tl.fit(member.data, "linear-probe", out=tmp_path / f"run-{number}", seed=member.seed, settings=TINY)
        for number, member in enumerate(members)
    ]
    test = {data.files[row] for row in data.indices("test")}
    for run, member in zip(runs, members, strict=True):
        assert {run.data.files[row] for row in run.data.indices("test")} == test  # the fit has drawn no other
        assert not {data.files[row] for row in member.fold} & set(run.data.files)
    prob = out_of_fold_probabilities(data, members, runs)
    assert np.isnan(prob[data.indices("test")]).all()
    learned = data.indices("train", "valid")
    np.testing.assert_allclose(prob[learned].sum(axis=1), 1, atol=1e-5)
    for run, member in zip(runs, members, strict=True):
        row = member.fold[0]
        expected = run.model.predict_on_batch(decode(data.root / data.files[row])[None])[0]
        np.testing.assert_allclose(prob[row], expected, atol=1e-3)
    assert (prob[learned].argmax(axis=1) == data.labels_of(learned)).mean() > 0.7
