"""A set in all its forms gives the same examples at every pass; what cannot is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tltool.errors import OptimizerError
from tltool.optimizers.batches import Batches

X, Y, WEIGHT = np.arange(20.0).reshape(10, 2), np.arange(10), np.linspace(1, 2, 10)


class Cut(keras.utils.PyDataset):
    """Batches of four; beyond the end it gives empty ones instead of an error."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(4 * index, 4 * index + 4)
        return X[part], Y[part], WEIGHT[part]


def cut(size=4):
    return [(X[at : at + size], Y[at : at + size], WEIGHT[at : at + size]) for at in range(0, 10, size)]


FORMS = {
    "arrays": lambda: (X, Y, WEIGHT),
    "list": cut,
    "function": lambda: lambda: iter(cut()),
    "PyDataset": Cut,
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices((X, Y, WEIGHT)).batch(4),
    "lists as batches": lambda: [list(batch) for batch in cut()],
    "an empty batch": lambda: [*cut(), (X[:0], Y[:0], WEIGHT[:0])],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_pass_gives_all_examples(form):
    batches = Batches("Mine", FORMS[form](), 4)
    assert batches.rows == 10
    for _ in range(2):
        found = list(batches)
        assert [rows for _, rows in found] == [4, 4, 2]
        for column, expected in enumerate((X, Y, WEIGHT)):
            np.testing.assert_allclose(np.concatenate([batch[column] for batch, _ in found]), expected, rtol=1e-7)
    for part, expected in zip(batches.example(), (X, Y, WEIGHT), strict=True):
        np.testing.assert_allclose(part, expected[:1], rtol=1e-7)


def test_double_precision_becomes_what_keras_computes_in():
    x, y, weight = Batches("Mine", (X, Y, WEIGHT), 4).example()
    assert (x.dtype, y.dtype, weight.dtype) == (np.float32, Y.dtype, np.float32)


def test_weights_may_be_missing_and_inputs_may_be_several():
    ((x, y, weight), rows), *others = Batches("Mine", ({"a": X, "b": Y}, Y), 7)
    assert weight is None
    assert (rows, len(others)) == (7, 1)
    np.testing.assert_array_equal(x["b"], y)


class Shrinking:
    """One example fewer each time."""

    def __init__(self):
        self.left = 11

    def __call__(self):
        self.left -= 1
        yield X[: self.left], Y[: self.left]


def test_passes_that_differ_are_told():
    batches = Batches("Mine", Shrinking(), 4)
    with pytest.raises(OptimizerError, match=r"Mine: the data gave 10 examples at first and 9 later\. Every pass must"):
        list(batches)


def test_a_function_that_gives_one_iterator_again_is_told():
    iterator = iter(cut())
    batches = Batches("Mine", lambda: iterator, 4)
    with pytest.raises(OptimizerError, match=r"10 examples at first and 0 later.*must make a new iterator"):
        list(batches)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ((X[:0], Y[:0]), r"the set is empty\. At least one example is needed"),
        ([], "the set is empty"),
        (lambda: iter([]), "the set is empty"),
        (iter(cut()), r"gone through only once.*a function that makes a new iterator each time"),
        ((X, Y[:7]), r"hold 10, 7 examples\. They must be equally many"),
        ([(X, Y, WEIGHT[:3])], "hold 10, 10, 3 examples"),
        ((X,), r"a batch is a tuple\. Give \(x, y\) or \(x, y, sample_weight\)"),
        ([X, Y], r"a batch is a ndarray\. Give"),
        ((X, None), "something other than arrays"),
        ((X, 3), "something other than arrays"),
        (3, "cannot go through a int as data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_set_is_refused(data, fault):
    with pytest.raises(OptimizerError, match=f"Mine: .*{fault}"):
        Batches("Mine", data, 4)


@pytest.mark.parametrize("batch_size", [0, -3, 2.0])
def test_a_wrong_batch_size_is_refused(batch_size):
    with pytest.raises(OptimizerError, match=r"Mine: `batch_size` = .*: must be a whole number, 1 or above"):
        Batches("Mine", (X, Y), batch_size)
