"""Linear heads compared picture by picture on the same folds."""

import numpy as np
import pytest

from tltool.features.extract import FeatureTable
from tltool.features.taps import TapLayout
from tltool.heads.cross_validation import CrossValidation
from tltool.inspection import baselines
from tltool.inspection.baselines import Baseline, ProbeSpec, compare, measure_baselines

LAYOUT = TapLayout((("early", "mean", 3), ("early", "std", 3), ("late", "mean", 4), ("late", "std", 4)))
STRENGTHS = (1.0, 0.1, 0.01)


def spec(name, stages, pooling=("mean",)):
    return ProbeSpec(name, stages, pooling, STRENGTHS, folds=3, shuffles=2)


def table(pictures=60, classes=3, seed=0):
    """Features of which only early/std say anything of the class, and the labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(pictures) % classes
    values = random.normal(size=(pictures, LAYOUT.width)).astype(np.float32)
    values[:, LAYOUT.select(["early"], ["std"])] += 4 * np.eye(classes)[labels]
    return FeatureTable(values, np.ones(pictures), LAYOUT, ("",) * pictures, np.arange(pictures), ()), labels


def baseline(losses, correct=None, name="probe"):
    losses = np.asarray(losses, np.float64)
    correct = np.ones_like(losses) if correct is None else np.asarray(correct, np.float64)
    return Baseline(spec(name, ("late",)), CrossValidation(1.0, ((1.0, 0.0, 0.0),), losses, correct), len(losses))


def test_each_spec_reads_its_own_columns():
    features, labels = table()
    specs = [
        spec("blind", ("late",), ("mean", "std")),
        spec("wrong pooling", ("early",)),
        spec("seeing", ("early", "late"), ("mean", "std")),
    ]
    blind, wrong, seeing = measure_baselines(features, np.arange(60), labels, 3, specs, seed=0)
    assert [result.spec.name for result in (blind, wrong, seeing)] == ["blind", "wrong pooling", "seeing"]
    assert seeing.validation.accuracy > 0.9
    assert max(blind.validation.accuracy, wrong.validation.accuracy) < 0.6
    comparison = compare(blind, seeing)
    assert comparison.z > 5
    assert comparison.gain == pytest.approx(blind.validation.log_loss - seeing.validation.log_loss)
    assert compare(seeing, blind).z == pytest.approx(-comparison.z)


def test_only_the_given_rows_are_read():
    """Held-out pictures must not move a baseline, so whatever they hold gives the same scores."""
    features, labels = table()
    rows = np.arange(0, 60, 2)
    clean = measure_baselines(features, rows, labels[rows], 3, [spec("probe", ("early",), ("std",))], seed=3)
    features.values[1::2] = 1e6
    spoilt = measure_baselines(features, rows, labels[rows], 3, [spec("probe", ("early",), ("std",))], seed=3)
    assert clean[0].validation.path == spoilt[0].validation.path
    np.testing.assert_array_equal(clean[0].validation.losses, spoilt[0].validation.losses)
    assert len(clean[0].validation.losses) == 30


def test_a_large_set_is_sampled_alike_for_all_specs(monkeypatch):
    monkeypatch.setattr(baselines, "BASELINE_PICTURES", 30)
    features, labels = table()
    specs = [spec("a", ("late",)), spec("b", ("late",))]
    first, second = measure_baselines(features, np.arange(60), labels, 3, specs, seed=0)
    assert first.pictures == second.pictures == len(first.validation.losses) == 30
    np.testing.assert_array_equal(first.validation.losses, second.validation.losses)
    (other,) = measure_baselines(features, np.arange(60), labels, 3, specs[:1], seed=1)
    assert other.validation.losses.tolist() != first.validation.losses.tolist()
    # Were labels sampled otherwise than rows, this head would see nothing.
    (seeing,) = measure_baselines(features, np.arange(60), labels, 3, [spec("c", ("early",), ("std",))], seed=0)
    assert seeing.validation.accuracy > 0.9
    (small,) = measure_baselines(features, np.arange(30), labels[:30], 3, specs[:1], seed=0)
    assert small.pictures == 30


def test_equal_heads_do_not_differ_at_all():
    """The folds are the same for all specs, so the same features give the same losses."""
    features, labels = table()
    first, second = measure_baselines(
        features, np.arange(60), labels, 3, [spec("a", ("late",)), spec("b", ("late",))], seed=1
    )
    comparison = compare(first, second)
    assert (comparison.gain, comparison.error, comparison.z, comparison.accuracy_gain) == (0, 0, 0, 0)


def test_the_comparison_is_paired():
    """Losses vary much between pictures and little between heads; unpaired, this gain would drown."""
    random = np.random.default_rng(0)
    hard, gain = random.exponential(2.0, 100), random.normal(0.1, 0.2, 100)
    comparison = compare(baseline(hard), baseline(hard - gain))
    assert comparison.gain == pytest.approx(gain.mean())
    assert comparison.error == pytest.approx(gain.std(ddof=1) / 10)
    assert comparison.z == pytest.approx(gain.mean() / gain.std(ddof=1) * 10)
    assert comparison.z > 2


def test_pictures_without_a_score_do_not_count():
    first = baseline([1.0, 2.0, np.nan, 4.0], [0, 1, np.nan, 1])
    second = baseline([0.5, 2.5, np.nan, 1.0], [1, 1, np.nan, 1])
    comparison = compare(first, second)
    assert comparison.gain == pytest.approx((0.5 - 0.5 + 3.0) / 3)
    assert comparison.error == pytest.approx(np.std([0.5, -0.5, 3.0], ddof=1) / np.sqrt(3))
    assert comparison.accuracy_gain == pytest.approx(1 / 3)


def test_one_picture_proves_nothing():
    comparison = compare(baseline([3.0, np.nan]), baseline([1.0, np.nan]))
    assert comparison.gain == 2
    assert comparison.z == 0


def test_progress_names_each_spec():
    features, labels = table()
    told = []
    specs = [spec("a", ("late",)), spec("b", ("early",))]
    measure_baselines(features, np.arange(60), labels, 3, specs, 0, lambda *report: told.append(report))
    assert list(dict.fromkeys(task for task, _, _ in told)) == ["Cross-validating a", "Cross-validating b"]
