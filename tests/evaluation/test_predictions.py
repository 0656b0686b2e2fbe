import numpy as np
import pytest

from tltool.evaluation.predictions import PREDICTIONS_FILE, Predictions, read_predictions, write_predictions


def test_they_come_back(tmp_path):
    rows, prob = np.array([3, 5, 8]), np.random.default_rng(0).random((3, 4))
    write_predictions(tmp_path / PREDICTIONS_FILE, Predictions(rows, prob))
    found = read_predictions(tmp_path / PREDICTIONS_FILE)
    assert found.rows.tolist() == [3, 5, 8]
    np.testing.assert_array_equal(found.prob, prob.astype(np.float32))
    assert [path.name for path in tmp_path.iterdir()] == [PREDICTIONS_FILE]


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn", b"no archive at all"])
def test_none_or_damaged(tmp_path, content):
    if content is not None:
        (tmp_path / PREDICTIONS_FILE).write_bytes(content)
    assert read_predictions(tmp_path / PREDICTIONS_FILE) is None


def test_what_does_not_fit_is_not_believed(tmp_path):
    write_predictions(tmp_path / PREDICTIONS_FILE, Predictions(np.arange(3), np.ones((2, 4))))
    assert read_predictions(tmp_path / PREDICTIONS_FILE) is None
