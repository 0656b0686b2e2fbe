"""The two forms have the same functions and give the same pictures, within what is stated here."""

import inspect
from importlib.util import find_spec

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not find_spec("keras_cv"), reason="needs keras-cv: runs again once it is installed")

from tests.augment.operations import CASES, PICTURES, run  # noqa: E402

# Grey levels, at most. Both forms compute in float32, in an order of their own.
TOLERANCES = {
    "blur": 1e-3,
    "erase": 0.0,
    "grid_mask": 0.0,
    "autocontrast": 1e-3,
    "equalize": 0.0,
    "posterize": 0.0,
    "solarize": 0.0,
    "sharpness": 1e-3,
}
# Of JPEG on average: where a cosine lies half-way between two steps, it may go either way.
JPEG_ON_AVERAGE = 0.75


@pytest.fixture(scope="module")
def forms():
    from tltool.augment import with_keras, with_keras_cv

    return with_keras, with_keras_cv


def test_have_the_same_functions_with_the_same_arguments(forms):
    keras_form, keras_cv_form = forms
    assert set(keras_form.__all__) == set(keras_cv_form.__all__) == {*TOLERANCES, "jpeg", "project", "LARGEST_SIGMA"}
    for name in {*TOLERANCES, "jpeg", "project"}:
        one, other = (inspect.signature(getattr(form, name)).parameters for form in forms)
        assert [(each.name, each.default) for each in one.values()] == [
            (each.name, each.default) for each in other.values()
        ]


@pytest.mark.parametrize("name", TOLERANCES)
def test_give_the_same_pictures(forms, name: str):
    rng = np.random.default_rng(0)
    # Parts of grey levels as well, as they come out of a warp.
    pictures = np.clip(PICTURES + rng.uniform(-0.5, 0.5, PICTURES.shape), 0, 255)
    one, other = (run(getattr(form, name), pictures, *CASES[name].given) for form in forms)
    np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCES[name])
    assert np.abs(one - pictures).max() > 5


def test_give_the_same_compressed_pictures(forms):
    pictures = np.repeat(PICTURES, 4, axis=0)
    qualities = np.tile([0, 20, 60, 95], len(PICTURES))
    one, other = (run(form.jpeg, pictures, qualities) for form in forms)
    assert (np.abs(one - other).mean(axis=(1, 2, 3)) <= JPEG_ON_AVERAGE).all()
    np.testing.assert_array_equal(one[qualities == 0], PICTURES)


def test_the_adapter_takes_keras_cv_where_it_is_there_and_tensorflow_computes(forms, monkeypatch):
    from tltool.augment import forms as adapter

    try:
        adapter.operations.cache_clear()
        assert adapter.operations() is forms[1]
        adapter.operations.cache_clear()
        monkeypatch.setattr(adapter, "_is_there", lambda package: False)
        assert adapter.operations() is forms[0]
    finally:
        adapter.operations.cache_clear()
