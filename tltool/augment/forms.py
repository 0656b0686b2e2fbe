"""The adapter: which package's layers an operation on pixels is made of."""

import importlib.util
from functools import cache
from types import ModuleType

import keras


@cache
def operations() -> ModuleType:
    """keras-cv's where it can be imported and TensorFlow computes, else Keras's own.

    Both modules have the same functions, and give the same pictures within a grey level or two
    (tests/augment/test_forms.py says what for each). Inside a compiled graph only Keras's own can be used.
    """
    if keras.backend.backend() == "tensorflow" and _is_there("keras_cv"):
        from tltool.augment import with_keras_cv

        return with_keras_cv
    from tltool.augment import with_keras

    return with_keras


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
