"""The last map of each resolution, on graphs small enough to see it, and on a backbone."""

import keras
from keras import layers

from tltool.backbones import load_backbone
from tltool.features.taps import pooled
from tltool.layers.feature_maps import last_maps


def names(inputs, outputs) -> list[str]:
    return [tensor._keras_history.operation.name for tensor in last_maps(keras.Model(inputs, outputs))]


def conv(name, strides=1):
    return layers.Conv2D(8, 3, strides=strides, padding="same", name=name)


def test_from_the_last_to_the_first_without_pixels():
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(x)
    for name, strides in (("a", 1), ("b", 1), ("c", 2), ("d", 1), ("e", 2)):
        x = conv(name, strides)(x)
    assert names(inputs, layers.GlobalAveragePooling2D()(x)) == ["e", "d", "b"]


def test_a_branch_is_none_but_what_it_is_added_to_is():
    inputs = keras.Input((16, 16, 3))
    x = conv("stem")(inputs)
    x = layers.Add(name="add")([x, conv("inside")(x)])
    down = conv("down", 2)(x)
    x = layers.Add(name="end")([layers.AveragePooling2D(2, name="shortcut")(x), down])
    assert names(inputs, layers.Flatten()(x)) == ["end", "add"]


def test_gates_of_squeeze_and_excitation_and_frames_of_zeros_do_not_count():
    inputs = keras.Input((16, 16, 3))
    x = conv("stem")(inputs)
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply(name="gated")([x, gate])
    x = layers.ZeroPadding2D(1, name="frame")(x)
    x = layers.Conv2D(8, 3, strides=2, name="down")(x)
    assert names(inputs, layers.Flatten()(x)) == ["down", "gated"]


def test_unpadded_convolutions_stay_at_their_resolution():
    x = inputs = keras.Input((31, 31, 3))
    for number in range(3):  # 29, 27, 25
        x = layers.Conv2D(8, 3, name=f"conv{number}")(x)
    assert names(inputs, layers.Flatten()(layers.MaxPooling2D(2, name="pool")(x))) == ["pool", "conv2"]


def test_what_has_no_maps_of_a_known_size_has_none():
    inputs = keras.Input((None, None, 3))
    assert names(inputs, layers.GlobalAveragePooling2D()(conv("any")(inputs))) == []
    inputs = keras.Input((5,))
    assert names(inputs, layers.Dense(2)(inputs)) == []


def test_a_head_that_reads_several_stages_changes_nothing():
    backbone = load_backbone("tiny_random")
    found = []
    for stages in (("top",), ("stage2", "stage5", "top")):
        features = pooled(backbone, stages, ("mean", "std"))
        found.append(names(backbone.network.input, layers.Dense(2)(features)))
    assert found[0] == found[1]
    assert found[0][:2] == ["top", "stage6_block1_expand_relu"]
