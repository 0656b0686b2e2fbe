"""The divergence of what BatchNorm layers see from what they remember."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tltool.features.moments import LayerMoments
from tltool.inspection.similarity import layer_divergence, measure_similarity

EPSILON = 1e-3


def layer(remembered, seen, stage="top", epsilon=EPSILON):
    """From pairs (mean, variance), one a channel."""
    (old_mean, old_variance), (mean, variance) = (np.array(moments, np.float64).T for moments in (remembered, seen))
    return LayerMoments(stage, old_mean, old_variance, mean, variance, epsilon)


def integrated(seen, remembered):
    """Kullback-Leibler divergence of two Gaussians (mean, variance) by its definition."""
    p, q = (norm(mean, np.sqrt(variance + EPSILON)) for mean, variance in (seen, remembered))
    low, high = p.mean() - 12 * p.std(), p.mean() + 12 * p.std()
    return quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), low, high, epsabs=1e-12)[0]


PAIRS = [((0.0, 1.0), (0.0, 1.0)), ((0.0, 1.0), (0.7, 1.0)), ((-1.0, 2.0), (0.5, 0.3)), ((3.0, 0.1), (2.8, 4.0))]


@pytest.mark.parametrize(("seen", "remembered"), PAIRS)
def test_the_divergence_is_that_of_the_definition(seen, remembered):
    found = layer_divergence(layer([remembered], [seen]))
    assert found == pytest.approx(integrated(seen, remembered), abs=1e-8)


def test_it_is_of_the_seen_from_the_remembered_and_not_the_other_way_round():
    wide, narrow = (0.0, 4.0), (0.0, 0.25)
    assert integrated(wide, narrow) > 3 * integrated(narrow, wide)
    assert layer_divergence(layer([narrow], [wide])) == pytest.approx(integrated(wide, narrow), abs=1e-8)


def test_channels_are_averaged():
    seen, remembered = zip(*PAIRS, strict=True)
    expected = np.mean([integrated(*pair) for pair in PAIRS])
    assert layer_divergence(layer(remembered, seen)) == pytest.approx(expected, abs=1e-8)


def test_equal_moments_do_not_diverge():
    moments = [(0.3, 2.0), (-5.0, 1e-9), (0.0, 0.0)]
    assert layer_divergence(layer(moments, moments)) == 0


@pytest.mark.parametrize(
    ("seen", "remembered"), [((0.0, 1e-6), (0.0, 0.0)), ((0.0, 0.0), (0.0, 1e-6)), ((0.001, 0.0), (0.0, 0.0))]
)
def test_a_channel_that_never_moved_does_not_count_without_bound(seen, remembered):
    assert 0 <= layer_divergence(layer([remembered], [seen])) < 0.001


def shifted(stage, divergence, channels=2):
    """A layer of that divergence: by a shift of the mean alone it is shift^2 / (2 * variance)."""
    shift = np.sqrt(2 * divergence * (1 + EPSILON))
    return layer([(0.0, 1.0)] * channels, [(shift, 1.0)] * channels, stage)


def test_the_median_over_layers_and_by_stage():
    layers = [shifted("stem", 0.5), shifted("stem", 9.0), shifted("top", 0.1), shifted("top", 0.2), shifted("top", 7.0)]
    similarity = measure_similarity(layers, np.array([0.2, 0.4, 0.9]), 17)
    assert similarity.divergence == pytest.approx(0.5)
    assert similarity.by_stage == pytest.approx({"stem": 4.75, "top": 0.2})
    assert similarity.confidence == pytest.approx(0.5)
    assert similarity.pictures == 17


def test_each_layer_counts_once_whatever_its_width():
    wide = shifted("top", 5.0, channels=200)
    layers = [shifted("stem", 0.1), shifted("stem", 0.1), wide]
    assert measure_similarity(layers, np.ones(1), 1).divergence == pytest.approx(0.1)


def test_a_network_without_batchnorm_has_no_divergence():
    similarity = measure_similarity([], np.array([0.25, 0.75]), 2)
    assert similarity.divergence is None
    assert similarity.by_stage == {}
    assert similarity.confidence == 0.5
