import importlib

import numpy as np
import pytest

import tltool as tl
from tests.augment.test_augmenter import smooth_pictures
from tltool.augment.grid import draw_grid, preview
from tltool.errors import AugmentError


def test_the_original_comes_first_and_every_draw_is_another():
    pictures = smooth_pictures(3)
    grid = preview(pictures, "photographs", draws=4)
    assert grid.shape == (3, 5, *pictures.shape[1:])
    np.testing.assert_array_equal(grid[:, 0], pictures)
    assert len({column.tobytes() for column in grid.swapaxes(0, 1)}) == 5
    np.testing.assert_array_equal(grid, preview(pictures, "photographs", draws=4))


def test_a_page_has_a_row_a_picture_under_the_captions():
    grid = preview(smooth_pictures(2), "none", draws=2)
    page = np.asarray(draw_grid(grid, ["a", "b", "c"]))
    assert page.shape == (16 + 2 * 36 - 4, 3 * 36 - 4, 3)
    np.testing.assert_array_equal(page[16:48, :32], grid[0, 0])
    np.testing.assert_array_equal(page[16 + 36 :, 72:], grid[1, 2])


def test_a_single_picture_cannot_be_mixed():
    with pytest.raises(AugmentError, match="one picture"):
        preview(smooth_pictures(1), {"mix_up": 1.0})


@pytest.mark.parametrize("package", [tl.augment, tl.layers])
def test_what_a_package_names_is_what_it_gives(package):
    for name in package.__all__:
        # A module of the same name would take the place of the function as soon as it is imported.
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"{package.__name__}.{name}")
        assert getattr(package, name).__class__.__name__ != "module"
