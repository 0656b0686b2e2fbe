"""Views: the three orientations as pixels, and that what differs is cached apart."""

import numpy as np
import pytest
from PIL import Image

from tltool.features.views import MIRRORED, ORIENTATIONS, TURNED, UPSIDE_DOWN

TRANSPOSED = {
    MIRRORED: Image.Transpose.FLIP_LEFT_RIGHT,
    UPSIDE_DOWN: Image.Transpose.FLIP_TOP_BOTTOM,
    TURNED: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("view", ORIENTATIONS, ids=lambda view: view.name)
def test_orientations_are_those_of_pillow(view):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 7, 7, 3), dtype=np.uint8)
    before = pixels.copy()
    changed = view.change(pixels, ["a", "b", "c"])
    expected = np.stack([np.asarray(Image.fromarray(picture).transpose(TRANSPOSED[view])) for picture in pixels])
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, expected)
    np.testing.assert_array_equal(pixels, before)


def test_orientations_are_cached_apart_and_called_by_different_words():
    assert len({view.name for view in ORIENTATIONS}) == len({view.label for view in ORIENTATIONS}) == 3
