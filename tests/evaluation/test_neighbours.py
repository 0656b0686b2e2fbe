import numpy as np
import pytest

from tltool.errors import ShapeError
from tltool.evaluation.neighbours import nearest


def test_the_nearest_are_those_with_the_smallest_angle():
    random = np.random.default_rng(0)
    features, known = random.normal(size=(5, 8)), random.normal(size=(40, 8))
    found = nearest(features, known, 3)
    cosine = (features @ known.T) / np.linalg.norm(features, axis=1)[:, None] / np.linalg.norm(known, axis=1)
    expected = np.argsort(-cosine, axis=1)[:, :3]
    assert found.positions.tolist() == expected.tolist()
    np.testing.assert_allclose(found.similarity, np.take_along_axis(cosine, expected, axis=1), atol=1e-9)
    # Length says nothing: the same picture with more contrast is the same.
    assert nearest(7 * features, known, 3).positions.tolist() == expected.tolist()


def test_of_few_known_pictures_all_are_neighbours():
    assert nearest(np.eye(3), np.eye(3)[:2], 5).positions.shape == (3, 2)
    assert nearest(np.empty((0, 3)), np.eye(3), 2).positions.shape == (0, 2)
    assert np.isfinite(nearest(np.zeros((1, 3)), np.eye(3), 1).similarity).all()  # nothing shows in it


@pytest.mark.parametrize("known", [np.empty((0, 3)), np.ones((4, 2)), np.ones(3)])
def test_features_that_cannot_be_compared(known):
    with pytest.raises(ShapeError, match="no neighbours"):
        nearest(np.ones((2, 3)), known, 1)
