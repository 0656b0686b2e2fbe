"""What RandAugment, TrivialAugment and AugMix draw: which operations, how strongly, how often."""

import numpy as np
import pytest
import scipy.stats

from tltool.augment.rand_augment import (
    AUG_MIX,
    OPERATIONS,
    RAND_AUGMENT,
    TRIVIAL_AUGMENT,
    draw_aug_mix,
    draw_rand_augment,
    draw_trivial_augment,
)
from tltool.errors import AugmentError

DRAWS = 4000
# A test of a distribution fails by chance once in a thousand seeds; the seeds are fixed.
LEAST_P = 1e-3


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def magnitudes_by_name(drawn) -> dict[str, np.ndarray]:
    operations = np.concatenate([each.operations.ravel() for each in drawn])
    magnitudes = np.concatenate([each.magnitudes.ravel() for each in drawn])
    return {name: magnitudes[operations == place] for place, name in enumerate(OPERATIONS)}


def test_operations_are_the_fourteen_of_the_paper():
    assert len(set(OPERATIONS)) == len(OPERATIONS) == 14
    assert set(RAND_AUGMENT) == set(TRIVIAL_AUGMENT) == set(OPERATIONS)


@pytest.mark.parametrize(
    ("magnitude", "expected"),
    [
        (0, {"rotate": {0}, "shear_x": {0}, "color": {1}, "sharpness": {1}, "posterize": {8}, "solarize": {256}}),
        (10, {"rotate": {-10, 10}, "shear_y": {-0.1, 0.1}, "contrast": {0.7, 1.3}, "posterize": {7}}),
        (
            30,
            {
                "rotate": {-30, 30},
                "shear_x": {-0.3, 0.3},
                "translate_x": {-150 / 331, 150 / 331},
                "brightness": {0.1, 1.9},
                "posterize": {4},
                "solarize": {0},
                "identity": {0},
                "equalize": {0},
            },
        ),
    ],
)
def test_rand_augment_takes_one_magnitude_for_all_either_way(magnitude: float, expected: dict):
    random = generator()
    drawn = magnitudes_by_name([draw_rand_augment(random, 2, magnitude) for _ in range(500)])
    for name, values in expected.items():
        np.testing.assert_allclose(np.unique(drawn[name]), sorted(values), rtol=1e-6, atol=1e-6)


def test_rand_augment_draws_all_operations_as_often_and_both_signs():
    random = generator(1)
    drawn = [draw_rand_augment(random, 3, 9) for _ in range(DRAWS)]
    counts = np.bincount(np.concatenate([each.operations for each in drawn]), minlength=14)
    assert scipy.stats.chisquare(counts).pvalue > LEAST_P
    for name, values in magnitudes_by_name(drawn).items():
        if RAND_AUGMENT[name].either_way:
            above = int((values > RAND_AUGMENT[name].neutral).sum())
            assert scipy.stats.binomtest(above, len(values)).pvalue > LEAST_P, name


def test_layers_are_drawn_apart():
    random = generator(2)
    pairs = np.stack([draw_rand_augment(random, 2, 9).operations for _ in range(20 * DRAWS)])
    table = np.histogram2d(*pairs.T, bins=14)[0]
    assert scipy.stats.chi2_contingency(table).pvalue > LEAST_P


def test_shapes_and_types_are_fixed():
    for layers in (1, 2, 5):
        drawn = draw_rand_augment(generator(), layers, 9)
        assert drawn.operations.shape == drawn.magnitudes.shape == (layers,)
        assert (drawn.operations.dtype, drawn.magnitudes.dtype) == (np.int32, np.float32)
    mixture = draw_aug_mix(generator(), 9, chains=4, depth=2)
    assert mixture.operations.shape == mixture.magnitudes.shape == (4, 2)
    assert mixture.shares.shape == (5,)
    assert {each.dtype for each in mixture} == {np.dtype(np.int32), np.dtype(np.float32)}


def test_the_same_generator_draws_the_same():
    for draw in (lambda r: draw_rand_augment(r, 3, 9), draw_trivial_augment, lambda r: draw_aug_mix(r, 9)):
        for one, other in zip(draw(generator(7)), draw(generator(7)), strict=True):
            np.testing.assert_array_equal(one, other)
        assert any(not np.array_equal(*pair) for pair in zip(draw(generator(7)), draw(generator(8)), strict=True))


def test_trivial_augment_draws_31_magnitudes_as_often_in_wide_ranges():
    random = generator(3)
    drawn = [draw_trivial_augment(random) for _ in range(10 * DRAWS)]
    assert {each.operations.shape for each in drawn} == {(1,)}
    by_name = magnitudes_by_name(drawn)
    assert scipy.stats.chisquare([len(values) for values in by_name.values()]).pvalue > LEAST_P
    turns, counts = np.unique(np.abs(by_name["rotate"]), return_counts=True)
    np.testing.assert_allclose(turns, np.linspace(0, 135, 31), rtol=1e-6)
    assert scipy.stats.chisquare(counts).pvalue > LEAST_P
    assert set(by_name["posterize"]) == {2, 3, 4, 5, 6, 7, 8}
    for name, lowest, highest in (
        ("shear_x", -0.99, 0.99),
        ("translate_y", -1 / 7, 1 / 7),
        ("color", 0.01, 1.99),
        ("solarize", 0, 256),
    ):
        np.testing.assert_allclose([by_name[name].min(), by_name[name].max()], [lowest, highest], rtol=1e-4)


def test_aug_mix_shares_follow_the_beta_and_the_dirichlet_distribution():
    random = generator(4)
    for alpha in (0.5, 1.0, 3.0):
        shares = np.stack([draw_aug_mix(random, 9, chains=3, alpha=alpha).shares for _ in range(DRAWS)])
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
        assert scipy.stats.kstest(shares[:, 0], scipy.stats.beta(alpha, alpha).cdf).pvalue > LEAST_P
        # One weight of a Dirichlet distribution of three is Beta(alpha, 2 alpha). A tiny rest has lost its digits.
        rest = shares[shares[:, 0] < 0.999]
        weight = rest[:, 2] / (1 - rest[:, 0])
        assert scipy.stats.kstest(weight, scipy.stats.beta(alpha, 2 * alpha).cdf).pvalue > LEAST_P


def test_aug_mix_chains_are_of_any_length_and_without_what_robustness_is_measured_by():
    random = generator(5)
    operations = np.concatenate([draw_aug_mix(random, 9).operations for _ in range(DRAWS)])
    done = operations != OPERATIONS.index("identity")
    assert done[:, 0].all()
    assert (done[:, 1] >= done[:, 2]).all()
    lengths = np.bincount(done.sum(axis=1), minlength=4)[1:]
    assert scipy.stats.chisquare(lengths).pvalue > LEAST_P
    drawn = np.bincount(operations[done], minlength=14)
    names = {OPERATIONS[place] for place in np.flatnonzero(drawn)}
    assert names == set(AUG_MIX) == set(OPERATIONS) - {"identity", "color", "contrast", "brightness", "sharpness"}
    assert scipy.stats.chisquare(drawn[drawn > 0]).pvalue > LEAST_P


def test_aug_mix_goes_up_to_its_severity_and_never_to_a_black_picture():
    random = generator(6)
    for severity, most in ((9, 9.0), (30, 30.0)):
        by_name = magnitudes_by_name([draw_aug_mix(random, severity) for _ in range(DRAWS)])
        turns = np.abs(by_name["rotate"])
        assert scipy.stats.kstest(turns, scipy.stats.uniform(0.3, most - 0.3).cdf).pvalue > LEAST_P
        assert by_name["posterize"].min() >= 1
    mild = magnitudes_by_name([draw_aug_mix(random, 0.0) for _ in range(200)])
    assert set(mild["rotate"]) == {0}


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda r: draw_rand_augment(r, 2, 30.5), "`rand_augment` = 30.5: must be from 0 to 30"),
        (lambda r: draw_rand_augment(r, 2, -1), "`rand_augment` = -1: must be from 0 to 30"),
        (lambda r: draw_rand_augment(r, 2, float("nan")), "`rand_augment` = nan: must be from 0 to 30"),
        (lambda r: draw_rand_augment(r, 0, 9), "`rand_augment.layers` = 0: must be a whole number, 1 or above"),
        (lambda r: draw_rand_augment(r, 1.5, 9), "`rand_augment.layers` = 1.5: must be a whole number"),
        (lambda r: draw_aug_mix(r, 31), "`aug_mix` = 31: must be from 0 to 30"),
        (lambda r: draw_aug_mix(r, 9, chains=0), "`aug_mix.chains` = 0: must be a whole number"),
        (lambda r: draw_aug_mix(r, 9, depth=0), "`aug_mix.depth` = 0: must be a whole number"),
        (lambda r: draw_aug_mix(r, 9, alpha=0), "`aug_mix.alpha` = 0: must be above 0"),
    ],
)
def test_numbers_out_of_range_are_named(draw, message: str):
    with pytest.raises(AugmentError, match=message):
        draw(generator())
