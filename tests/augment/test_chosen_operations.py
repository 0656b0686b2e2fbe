"""Drawn operations, done: against Pillow and SciPy, each picture its own, grouped or selected in a graph."""

from functools import partial

import numpy as np
import pytest

from tests.augment.operations import CHOSEN, PICTURES, check_chosen, compiled, run
from tltool.augment import with_keras
from tltool.augment.chosen_operations import KINDS, apply_chosen, apply_mixture
from tltool.augment.forms import operations as forms_that_are_there
from tltool.augment.rand_augment import OPERATIONS, draw_aug_mix, draw_rand_augment, draw_trivial_augment

IDENTITY = OPERATIONS.index("identity")


def batch(count: int) -> np.ndarray:
    return np.stack([np.roll(PICTURES[place % 4], place, axis=1) for place in range(count)])


def drawn(draw, count: int) -> list[np.ndarray]:
    columns = zip(*(draw(np.random.default_rng((3, place))) for place in range(count)), strict=True)
    return [np.stack(column) for column in columns]


def test_every_operation_is_of_one_kind():
    assert sorted([*sum((kind.names for kind in KINDS), ()), "identity"]) == sorted(OPERATIONS) == sorted(CHOSEN)


@pytest.mark.parametrize("compile", [False, True], ids=["grouped", "selected"])
@pytest.mark.parametrize("name", CHOSEN)
def test_does_what_the_reference_does(name: str, compile: bool):
    check_chosen(with_keras, name, compile)


@pytest.mark.parametrize("name", CHOSEN)
def test_does_so_with_the_form_that_is_there(name: str):
    check_chosen(forms_that_are_there(), name)


@pytest.mark.parametrize("draw", [partial(draw_rand_augment, layers=2, magnitude=9), draw_trivial_augment])
def test_a_graph_selects_what_groups_do(draw):
    import tensorflow as tf

    pictures, given = batch(24), drawn(draw, 24)
    function = partial(apply_chosen, forms=with_keras)
    grouped = run(function, pictures, *given)
    np.testing.assert_allclose(run(compiled(function), pictures, *given), grouped, rtol=0, atol=0.05)
    # Batches of any size in the graph of a pipeline.
    layers = given[0].shape[1]
    traced = tf.function(function).get_concrete_function(
        tf.TensorSpec((None, *pictures.shape[1:]), tf.float32), *[tf.TensorSpec((None, layers), tf.float32)] * 2
    )
    tensors = [tf.constant(each, tf.float32) for each in (pictures, *given)]
    np.testing.assert_allclose(traced(*tensors), grouped, rtol=0, atol=0.05)
    assert (np.abs(grouped - pictures).max(axis=(1, 2, 3)) > 5).mean() > 0.5


def test_what_a_picture_becomes_does_not_depend_on_its_batch():
    pictures, given = batch(12), drawn(partial(draw_rand_augment, layers=3, magnitude=20), 12)
    function = partial(apply_chosen, forms=forms_that_are_there())
    together = run(function, pictures, *given)
    for place in range(12):
        alone = run(function, pictures[place, None], *(each[place, None] for each in given))
        np.testing.assert_allclose(alone[0], together[place], rtol=0, atol=1e-3)


def test_layers_follow_each_other():
    names, values = ["solarize", "posterize", "brightness"], [100.0, 3.0, 0.5]
    chosen = np.tile([OPERATIONS.index(name) for name in names], (len(PICTURES), 1))
    magnitudes = np.tile(values, (len(PICTURES), 1))
    picture = PICTURES.astype(np.float64)
    expected = np.where(picture < 100, picture, 255 - picture) // 32 * 32 * 0.5
    result = run(partial(apply_chosen, forms=with_keras), PICTURES, chosen, magnitudes)
    np.testing.assert_allclose(result, expected, atol=1e-3)


@pytest.mark.parametrize("compile", [False, True], ids=["grouped", "selected"])
def test_identity_changes_nothing(compile: bool):
    function = partial(apply_chosen, forms=with_keras)
    nothing = np.full((len(PICTURES), 2), IDENTITY), np.zeros((len(PICTURES), 2))
    result = run(compiled(function) if compile else function, PICTURES, *nothing)
    np.testing.assert_array_equal(result, PICTURES)


def test_a_mixture_is_the_weighted_sum_of_its_chains():
    pictures = batch(6)
    operations, magnitudes, shares = drawn(partial(draw_aug_mix, severity=9.0), 6)
    mixed = run(partial(apply_mixture, forms=with_keras), pictures, operations, magnitudes, shares)
    chosen = partial(apply_chosen, forms=with_keras)
    chains = [run(chosen, pictures, operations[:, chain], magnitudes[:, chain]) for chain in range(3)]
    parts = np.stack([pictures, *chains], axis=1).astype(np.float64)
    np.testing.assert_allclose(mixed, np.einsum("bc,bchwd->bhwd", shares, parts), atol=1e-2)
    assert mixed.min() >= 0
    assert mixed.max() <= 255.001
    selected = run(compiled(partial(apply_mixture, forms=with_keras)), pictures, operations, magnitudes, shares)
    np.testing.assert_allclose(selected, mixed, rtol=0, atol=0.05)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (10_000, 10)])
def test_takes_pictures_of_any_shape(size: tuple[int, int]):
    pictures = np.random.default_rng(0).uniform(0, 255, (14, *size, 3))
    chosen = np.arange(14)[:, None]
    magnitudes = np.array([[CHOSEN[name].given[0][1]] for name in OPERATIONS])
    result = run(partial(apply_chosen, forms=forms_that_are_there()), pictures, chosen, magnitudes)
    assert result.shape == pictures.shape
    assert np.isfinite(result).all()
