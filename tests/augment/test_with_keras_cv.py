"""keras-cv's form against the same references."""

from importlib.util import find_spec

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not find_spec("keras_cv"), reason="needs keras-cv: runs again once it is installed")

from tests.augment.operations import CASES, PICTURES, check_jpeg, check_operation, run  # noqa: E402


@pytest.fixture(scope="module")
def forms():
    from tltool.augment import with_keras_cv

    return with_keras_cv


@pytest.mark.parametrize("name", CASES)
def test_does_what_the_reference_does(forms, name: str):
    check_operation(forms, name)


def test_jpeg_is_the_codec_to_the_last_bit(forms):
    check_jpeg(forms.jpeg, 0.0, 0.0)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (3, 3), (1000, 2)])
@pytest.mark.parametrize("name", [*CASES, "jpeg"])
def test_takes_pictures_of_any_shape(forms, name: str, size: tuple[int, int]):
    given = CASES[name].given if name in CASES else (np.float32([10, 50, 90, 0]),)
    pictures = np.random.default_rng(0).uniform(0, 255, (4, *size, 3))
    result = run(getattr(forms, name), pictures, *given)
    assert result.shape == pictures.shape
    assert result.min() >= 0
    assert result.max() <= 255 + 1e-3


@pytest.mark.parametrize("name", ["blur", "jpeg"])
def test_a_batch_in_which_nothing_changes_stays_as_it_is(forms, name: str):
    np.testing.assert_array_equal(run(getattr(forms, name), PICTURES, np.zeros(len(PICTURES))), PICTURES)


@pytest.mark.parametrize("name", [*CASES, "jpeg"])
def test_works_in_the_graph_of_a_pipeline(forms, name: str):
    import tensorflow as tf

    given = CASES[name].given if name in CASES else (np.float32([10, 50, 90, 0]),)
    rows = tf.data.Dataset.from_tensor_slices((PICTURES.astype(np.float32), *given)).batch(3)
    done = rows.map(lambda *batch: getattr(forms, name)(*batch), num_parallel_calls=2)  # of 3 pictures, then of 1
    np.testing.assert_allclose(
        np.concatenate(list(done)), run(getattr(forms, name), PICTURES, *given), rtol=0, atol=1e-3
    )


def test_keras_cvs_own_equalization_leaves_out_the_wrong_grey_level(forms):
    import keras_cv
    import tensorflow as tf

    own = keras_cv.layers.Equalization(value_range=(0, 255), seed=1, dtype="float32")
    paper = tf.constant(PICTURES[3:].astype(np.float32))
    # The reason for not taking it; when this fails their layer can be looked at again.
    assert np.abs(own.augment_images(paper).numpy() - forms.equalize(paper).numpy()).max() > 5
