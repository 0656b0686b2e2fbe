"""Several models in one graph: the outputs of each, and nothing computed twice."""

import keras
import numpy as np
import pytest

from tests.ensembles.members import member, new_member, pictures, said
from tltool.errors import ShapeError
from tltool.heads.network import PICTURE
from tltool.training.merged_graph import merged

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def convolutions(model):
    return sum(isinstance(layer, CONVOLUTIONS) for layer in model.layers)


def assert_gives_what_each_gives(together, models, batch):
    for output, model in zip(together(batch, training=False), models, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(output), said(model, batch), atol=1e-6)


def test_a_frozen_backbone_is_computed_once_and_each_head_by_itself():
    models = [member(seed) for seed in range(3)]
    together = merged(models)
    assert_gives_what_each_gives(together, models, pictures())
    assert convolutions(together) == convolutions(models[0])
    assert sum(isinstance(layer, keras.layers.Dense) for layer in together.layers) == 3


def test_models_part_at_the_first_weight_that_differs():
    names = [layer.name for layer in member(0).layers if isinstance(layer, CONVOLUTIONS)]
    count, halfway = len(names), len(names) // 2
    models = [member(0), new_member(0, moved=names[halfway])]
    together = merged(models)
    assert_gives_what_each_gives(together, models, pictures())
    assert np.abs(said(models[0], pictures()) - said(models[1], pictures())).max() > 1e-4
    assert convolutions(together) == count + (count - halfway)


def test_what_was_frozen_in_one_of_them_alone_is_still_shared():
    models = [member(0), new_member(1)]
    for layer in models[1].layers:
        layer.trainable = False
    assert convolutions(merged(models)) == convolutions(models[0])


def test_each_keeps_its_own_resizing():
    models = [member(0, 32), member(0, 48), member(1, 32)]
    together = merged(models)
    assert_gives_what_each_gives(together, models, pictures())
    sizes = [layer.height for layer in together.layers if isinstance(layer, keras.layers.Resizing)]
    assert sorted(sizes) == [32, 48]
    assert [tensor.name for tensor in together.inputs] == [PICTURE]


def test_the_models_stay_as_they_are():
    model = member(0)
    before = said(model, pictures())
    together = merged([model, member(1)])
    for weight in together.weights:
        weight.assign(np.zeros(weight.shape, np.float32))
    np.testing.assert_array_equal(said(model, pictures()), before)


def test_names_are_kept_where_they_are_free_and_numbered_where_not():
    names = [layer.name for layer in merged([member(0), member(1)], taken={"probabilities"}).layers]
    assert len(set(names)) == len(names)
    assert {"picture", "resize", "clip", "logits", "logits_2", "probabilities_2", "probabilities_3"} <= set(names)
    assert "probabilities" not in names


def test_a_layer_that_is_called_twice_stays_one_layer():
    number = keras.Input((4,), name="number")
    dense = keras.layers.Dense(4, bias_initializer="ones", name="twice")
    twice = keras.Model(number, dense(keras.ops.tanh(dense(number))))
    once = keras.Model(number, dense(number))
    together = merged([twice, once])
    values = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert_gives_what_each_gives(together, [twice, once], values)
    assert sum(isinstance(layer, keras.layers.Dense) for layer in together.layers) == 1


def test_arguments_tell_calls_apart():
    number = keras.Input((4,), name="number")
    models = [keras.Model(number, keras.ops.sum(number, axis=1, keepdims=keep)) for keep in (True, False)]
    outputs = merged(models)(np.ones((2, 4), np.float32))
    assert [tuple(output.shape) for output in outputs] == [(2, 1), (2,)]


def test_no_models_and_other_inputs_are_refused():
    number = keras.Input((4,))
    with pytest.raises(ShapeError, match="no model"):
        merged([])
    with pytest.raises(ShapeError, match="share no picture"):
        merged([member(0), keras.Model(number, number * 2.0)])
