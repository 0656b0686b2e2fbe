"""Logits to calibrate on: what counts once, and what a temperature does to them."""

import numpy as np

from tltool.training.held_out import HeldOut


def test_pictures_that_were_not_held_out_do_not_count():
    logits = np.arange(12.0).reshape(2, 3, 2)
    logits[0, 1] = np.nan
    held_out = HeldOut("cross-validation", np.array([4, 7, 9]), np.array([0, 1, 1]), logits)
    rows, labels, once = held_out.once
    np.testing.assert_array_equal(rows, [4, 9])
    np.testing.assert_array_equal(once, [[0, 1], [4, 5]])
    np.testing.assert_array_equal(labels, [0, 1])
    _, _, once = held_out.divided(2.0).once
    np.testing.assert_array_equal(once, [[0, 0.5], [2, 2.5]])
