"""Residual branches of the offered families, counted in their papers, and of graphs that only look like it."""

import keras
import pytest
from keras import layers, ops

from tltool.backbones import load_backbone
from tltool.backbones.applications import APPLICATIONS
from tltool.layers.residual_branches import residual_branches

# Blocks with a shortcut. ResNet: table 1 of He et al., 2015. MobileNetV2, EfficientNet and their kin: repeats of a
# stage less the first, whose shape changes. Xception: figure 5. ConvNeXt: 3 + 3 + 9 + 3.
COUNTS = {
    "efficientnet_lite0": 9,
    "efficientnet_b0": 9,
    "efficientnet_v2_b0": 15,
    "resnet50": 16,
    "resnet50_v2": 16,
    "mobilenet_v2": 10,
    "mobilenet_v3_small": 6,
    "mobilenet_v3_large": 10,
    "convnext_tiny": 18,
    "xception": 12,
    "mobilenet": 0,
}
# As Keras itself builds them, which takes half as long. Inception-ResNet-v2: 10 + 20 + 10. NASNet: in each of its 12
# normal and 4 reduction cells one of the sums is of a branch and what goes past it.
BUILT_BY_KERAS = {"inception_resnet_v2": 40, "nasnet_mobile": 16}
DROPS_ITS_OWN = ("efficientnet_b0", "efficientnet_v2_b0")
SMALL = 75  # pixels; what the Inception family takes at least


@pytest.mark.parametrize("name", COUNTS)
def test_the_offered_backbones_have_those_of_their_papers(name):
    size = SMALL if name == "xception" else 32
    branches = residual_branches(load_backbone(name, None, size).network)
    assert len(branches) == COUNTS[name]
    for branch in branches:
        assert branch.trainable
        assert (branch.own_drop is not None) == (name in DROPS_ITS_OWN)
    own = [layer.name for branch in branches for layer in branch.layers]
    assert len(set(own)) == len(own)  # no layer is in two branches


@pytest.mark.parametrize("name", BUILT_BY_KERAS)
def test_the_largest_too(name):
    size = SMALL if name == "inception_resnet_v2" else 32
    build = getattr(keras.applications, APPLICATIONS[name].attribute)
    model = build(weights=None, input_shape=(size, size, 3), classes=2)
    assert len(residual_branches(model)) == BUILT_BY_KERAS[name]


def test_they_come_in_order_and_hold_the_layers_of_their_block():
    branches = residual_branches(load_backbone("resnet50", None, 32).network)
    names = [branch.addition.operation.name for branch in branches]
    stages = [(2, 3), (3, 4), (4, 6), (5, 3)]
    assert names == [f"conv{n}_block{b}_add" for n, count in stages for b in range(1, count + 1)]
    # The first block of a stage projects its shortcut (0); what is dropped is the other way.
    assert {layer.name for layer in branches[0].layers} == {
        f"conv2_block1_{part}" for part in ("1_conv", "1_bn", "1_relu", "2_conv", "2_bn", "2_relu", "3_conv", "3_bn")
    }
    assert branches[0].output._keras_history.operation.name == "conv2_block1_3_bn"


def branch_names(inputs, outputs) -> list[str]:
    found = residual_branches(keras.Model(inputs, outputs))
    return [branch.output._keras_history.operation.name for branch in found]


def block(x, name):
    return layers.Conv2D(4, 3, padding="same", activation="relu", name=name)(x)


@pytest.fixture
def x():
    return keras.Input((8, 8, 4))


def test_either_order_and_either_way_of_adding(x):
    y = layers.Add()([x, block(x, "one")])
    y = layers.Add()([block(y, "two"), y])
    y = y + block(y, "three")
    y = ops.add(block(y, "four"), y)
    assert branch_names(x, layers.ReLU()(layers.BatchNormalization()(y))) == ["one", "two", "three", "four"]


def test_a_shortcut_may_be_projected_but_has_no_activation(x):
    def projection(y):
        return layers.BatchNormalization()(layers.Conv2D(4, 1)(layers.AveragePooling2D(1)(y)))

    y = layers.Add()([projection(x), block(x, "branch")])
    assert branch_names(x, y) == ["branch"]
    y = layers.Add()([layers.Conv2D(4, 1, activation="relu")(x), block(x, "no")])
    assert branch_names(x, y) == []
    y = layers.Add()([projection(x), projection(x)])
    assert branch_names(x, y) == []


def test_sums_that_are_no_branch(x):
    flat = layers.Flatten()
    assert branch_names(x, flat(x + 3.0)) == []
    assert branch_names(x, flat(layers.Add()([x, x]))) == []
    assert branch_names(x, flat(layers.Add()([x, block(x, "a"), block(x, "b")]))) == []
    assert branch_names(x, flat(layers.Concatenate()([x, block(x, "c")]))) == []


def test_trainable_is_what_can_be_trained_in_the_branch(x):
    inner = layers.Conv2D(4, 3, padding="same", name="inner")
    model = keras.Model(x, layers.Add()([x, layers.ReLU()(inner(block(x, "outer")))]))
    (branch,) = residual_branches(model)
    assert branch.trainable
    model.get_layer("outer").trainable = False
    assert branch.trainable
    inner.trainable = False
    assert not branch.trainable


def test_a_layer_that_drops_whole_branches_is_known_by_its_noise(x):
    for noise, drops in (((None, 1, 1, 1), True), ((None, 1, 1, 4), False), (None, False)):
        dropped = layers.Dropout(0.5, noise_shape=noise)(block(x, None))
        (branch,) = residual_branches(keras.Model(x, layers.Add()([x, dropped])))
        assert (branch.own_drop is not None) == drops
