"""Choosing a strength by pictures that the fit did not see."""

import numpy as np
import pytest

from tltool.errors import DataError
from tltool.heads import cross_validation
from tltool.heads.cross_validation import cross_validate, out_of_fold_logits, splits_of
from tltool.heads.logistic import LogisticProblem, log_loss

STRENGTHS = [10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001]


def made(counts, features=30, signal=0.8, seed=0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centers = random.normal(size=(len(counts), features)) * signal
    return LogisticProblem(centers[labels] + random.normal(size=(len(labels), features)), labels, len(counts))


@pytest.mark.parametrize(("features", "signal"), [(8, 0.3), (200, 0.1)])
def test_the_chosen_strength_is_the_lowest_of_the_path(features, signal):
    result = cross_validate(made([20, 20, 20], features, signal), STRENGTHS, folds=4, shuffles=2, seed=0)
    losses = [loss for _, loss, _ in result.path]
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1  # the example has its minimum inside, so that picking an end would show
    assert result.l2 == result.path[best][0]
    assert result.log_loss == pytest.approx(result.path[best][1])
    assert result.accuracy == pytest.approx(result.path[best][2])
    assert [l2 for l2, _, _ in result.path] == STRENGTHS[: len(result.path)]


def test_the_order_of_the_strengths_does_not_matter():
    problem = made([20, 20, 20], signal=0.3)
    first, second = (cross_validate(problem, order, 4, 2, 0) for order in (STRENGTHS, STRENGTHS[::-1]))
    assert first.path == second.path
    assert first.l2 == second.l2


@pytest.mark.parametrize("seed", range(2))
def test_stopping_early_changes_no_choice(seed):
    problem = made([15, 15, 15], 20, 0.3, seed)
    stopped = cross_validate(problem, STRENGTHS, 4, 1, seed)
    alone = [cross_validate(problem, [l2], 4, 1, seed) for l2 in STRENGTHS]
    assert len(stopped.path) < len(STRENGTHS)
    assert stopped.l2 == min(alone, key=lambda result: result.log_loss).l2
    for (_, loss, _), other in zip(stopped.path, alone, strict=False):
        assert loss == pytest.approx(other.log_loss, abs=1e-3)


class Scripted:
    """Two pictures whose log loss at each strength is given; the stand-in for a `LogisticProblem`."""

    labels = np.zeros(2, int)

    def __init__(self, losses):
        self.losses = losses

    def __len__(self):
        return 2

    def path_logits(self, strengths, fitted, held_out, tolerance):
        for loss in self.losses:
            yield np.array([[-np.log(np.expm1(loss)), 0.0]])


@pytest.mark.parametrize(
    ("losses", "chosen", "tried"),
    [
        ([0.5, 0.6, 0.4, 0.7, 0.8, 0.1], 2, 5),  # one worse strength is endured, two end the search
        ([0.5, 0.6, 0.4, 0.6, 0.3, 0.2], 5, 6),
        ([0.5, 0.6, 0.7, 0.1, 0.1, 0.1], 0, 3),
    ],
)
def test_how_long_the_search_goes_on(losses, chosen, tried):
    strengths = STRENGTHS[:6]
    result = cross_validate(Scripted(losses), strengths, folds=2, shuffles=1, seed=0)
    assert [loss for _, loss, _ in result.path] == pytest.approx(losses[:tried])
    assert result.l2 == strengths[chosen]
    np.testing.assert_allclose(result.losses, losses[chosen])


def test_the_scores_are_those_of_fits_on_the_other_folds():
    problem = made([9, 7, 5])
    result = cross_validate(problem, [0.1], folds=3, shuffles=2, seed=5)
    losses, times = np.zeros((2, len(problem)))
    for fitted, held_out in splits_of(problem.labels, 3, 2, 5):
        (weights,) = problem.solve([0.1], fitted)
        losses[held_out] += log_loss(problem.inputs[held_out] @ weights[:-1] + weights[-1], problem.labels[held_out])
        times[held_out] += 1
    assert (times == 2).all()
    np.testing.assert_allclose(result.losses, losses / 2, atol=1e-3)


def test_folds_are_stratified_and_hold_each_picture_out_once_a_shuffle():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [21, 10, 2]))
    splits = list(splits_of(labels, folds=4, shuffles=3, seed=7))
    assert len(splits) == 12
    for shuffle in range(3):
        parts = [held_out for _, held_out in splits[4 * shuffle : 4 * shuffle + 4]]
        assert sorted(np.concatenate(parts)) == list(range(33))
        counts = np.array([np.bincount(labels[part], minlength=3) for part in parts])
        assert (np.ptp(counts, axis=0) <= 1).all()
    for fitted, held_out in splits:
        assert not set(fitted) & set(held_out)
        assert len(fitted) + len(held_out) == len(labels)
        assert set(labels[fitted]) == {0, 1, 2}


def test_folds_follow_labels_and_seed_alone():
    labels = np.repeat([0, 1, 2], [12, 9, 5])

    def drawn(seed):
        return [held_out.tolist() for _, held_out in splits_of(labels, 4, 2, seed)]

    first = drawn(1)
    np.random.default_rng(0).random()
    assert drawn(1) == first
    assert drawn(2) != first
    assert first[:4] != first[4:]  # the second shuffle is drawn anew


def test_a_picture_alone_in_its_class_is_never_held_out():
    problem = made([8, 8, 1], 12, 3.0)
    result = cross_validate(problem, [1.0, 0.1], folds=4, shuffles=2, seed=0)
    assert np.isnan(result.losses).tolist() == [False] * 16 + [True]
    assert np.isnan(result.correct).tolist() == [False] * 16 + [True]
    assert result.accuracy > 0.9
    assert np.isfinite([result.log_loss, result.accuracy_error]).all()


def test_two_pictures_a_class_and_more_folds_than_pictures():
    result = cross_validate(made([2, 2], 12, 3.0), [1.0], folds=10, shuffles=2, seed=0)
    assert np.isfinite(result.losses).all()


def test_nothing_can_be_held_out():
    with pytest.raises(DataError, match=r"a class with at least 2 training pictures\. Add pictures\."):
        cross_validate(made([1, 1, 1]), [1.0], folds=4, shuffles=1, seed=0)


@pytest.mark.parametrize("features", [10, 100])
def test_labels_that_mean_nothing_are_not_predicted(features):
    """Anything that leaks from held-out pictures into the fit would beat guessing here."""
    losses, accuracies = [], []
    for seed in range(15):
        random = np.random.default_rng(seed)
        labels = random.permutation(np.repeat([0, 1, 2], 30))
        problem = LogisticProblem(random.normal(size=(90, features)), labels, 3)
        result = cross_validate(problem, [1.0], folds=4, shuffles=1, seed=seed)
        losses.append(result.log_loss)
        accuracies.append(result.accuracy)
    assert np.mean(losses) > np.log(3)
    assert np.mean(accuracies) == pytest.approx(1 / 3, abs=0.04)


def test_large_sets_are_shuffled_less(monkeypatch):
    labels = np.repeat([0, 1], 20)
    assert len(list(splits_of(labels, 4, 3, 0))) == 12
    monkeypatch.setattr(cross_validation, "SCORED_PICTURES", 50)
    splits = list(splits_of(labels, 4, 3, 0))
    assert len(splits) == 5  # four folds of ten, and the one that passes fifty
    monkeypatch.setattr(cross_validation, "SCORED_PICTURES", 15)
    result = cross_validate(made([20, 20]), [1.0], 4, 3, 0)
    assert (
        np.isfinite(result.losses).sum() == 20
    )  # two folds were scored; the rest has no score rather than a wrong one
    assert np.isfinite(result.log_loss)


def test_accuracy_error_is_the_standard_error():
    result = cross_validate(made([40, 40], 10, 0.5), [1.0], folds=4, shuffles=1, seed=0)
    share = result.accuracy
    assert 0.5 < share < 1
    assert result.accuracy_error == pytest.approx(np.sqrt(share * (1 - share) / 80))


def test_progress_ends_at_its_total():
    told = []
    cross_validate(made([20, 20, 20]), STRENGTHS, 4, 1, 0, "my task", lambda *report: told.append(report))
    assert {task for task, _, _ in told} == {"my task"}
    assert {total for _, _, total in told} == {len(STRENGTHS)}
    done = [count for _, count, _ in told]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, len(STRENGTHS))


def test_groups_share_a_fold_and_all_are_held_out_once():
    labels = np.repeat([0, 1, 2], 20)
    groups = [f"{i // 2}" if i < 40 else "" for i in range(60)]
    held = []
    for fitted, held_out in splits_of(labels, 4, 1, 0, groups):
        assert not {groups[i] for i in fitted if groups[i]} & {groups[i] for i in held_out}
        assert set(labels[held_out]) == {0, 1, 2}
        held += list(held_out)
    assert sorted(held) == list(range(60))


def test_a_class_of_one_group_is_never_held_out():
    labels = np.repeat([0, 1], [20, 6])
    groups = [""] * 20 + ["one"] * 6
    assert all(held_out.max() < 20 for _, held_out in splits_of(labels, 4, 2, 0, groups))


def test_classes_of_one_group_each_are_cross_validated_all_the_same():
    problem = made([12, 12])
    groups = ["a"] * 12 + ["b"] * 12
    assert list(splits_of(problem.labels, 4, 1, 0, groups)) == []
    with_groups = cross_validate(problem, STRENGTHS, 4, 1, 0, groups=groups)
    assert with_groups.path == cross_validate(problem, STRENGTHS, 4, 1, 0).path


def test_several_labels_are_dealt_out_by_the_rarest():
    random = np.random.default_rng(0)
    labels = (random.random((200, 3)) < [0.9, 0.5, 0.1]).astype(int)
    for _, held_out in splits_of(labels, 4, 1, 0):
        assert abs(labels[held_out, 2].sum() - labels[:, 2].sum() / 4) <= 1
        assert labels[held_out, 1].mean() == pytest.approx(0.5, abs=0.12)


def test_several_labels_are_cross_validated():
    random = np.random.default_rng(0)
    targets = (random.random((120, 3)) < 0.4).astype(int)
    features = np.hstack([targets + random.normal(size=(120, 3)), random.normal(size=(120, 20))])
    result = cross_validate(LogisticProblem(features, targets, 3), STRENGTHS, 4, 1, 0)
    chance = 3 * np.log(2)
    assert result.log_loss < 0.95 * chance
    assert 0.25 < result.accuracy < 0.6  # guessing each label from its share gets 0.6 ** 3


def test_out_of_fold_logits_come_from_heads_that_have_not_seen_the_picture():
    problem = made([15, 15, 1], signal=0.5)
    logits = out_of_fold_logits(problem, 0.3, 4, 0)
    assert np.isnan(logits[30]).all()
    assert not np.isnan(logits[:30]).any()
    for fitted, held_out in splits_of(problem.labels, 4, 1, 0):
        (weights,) = problem.solve([0.3], fitted)
        np.testing.assert_allclose(logits[held_out], problem.inputs[held_out] @ weights[:-1] + weights[-1], atol=0.01)
    (all_seen,) = problem.solve([0.3])
    seen = problem.inputs[:30] @ all_seen[:-1] + all_seen[-1]
    assert log_loss(logits[:30], problem.labels[:30]).mean() > 1.5 * log_loss(seen, problem.labels[:30]).mean()
