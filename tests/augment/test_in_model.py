import keras
import numpy as np
import pytest

from tests.augment.test_augmenter import SIZE, smooth_pictures
from tltool.augment import with_keras
from tltool.augment.augmenter import Augmenter
from tltool.augment.in_model import augmenting
from tltool.augment.policies import POLICIES


@pytest.fixture
def network() -> keras.Model:
    picture = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.HeNormal(seed=0))(picture)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(picture, keras.layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(seed=1))(x))


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("policy", [*POLICIES, {"aug_mix": 9, "grid_mask": 0.4, "cutout": 0.3, "mix_up": 0.4}], ids=str)
def test_a_training_step_sees_the_pictures_of_the_pipeline(policy, jit, network):
    pictures = smooth_pictures(6)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    augmenter = Augmenter(policy, seed=1)
    model = augmenting(keras.Model(network.input, network.input), augmenter, SIZE)
    model.compile(jit_compile=jit)
    given, soft = augmenter.inputs(pictures, targets, range(6), epoch=2)
    seen = model.predict_on_batch(given)
    # The pipeline, made of the same operations.
    expected = augmenter.apply(
        keras.ops.convert_to_tensor(pictures, "float32"),
        [keras.ops.convert_to_tensor(v) for v in augmenter.draw(range(6), 2, SIZE, SIZE)],
        with_keras,
    )
    expected = keras.ops.convert_to_numpy(expected)
    expected_targets = targets
    if augmenter.mixing:
        mix = augmenter._draw_mix(range(6), 2, 6, SIZE, SIZE)
        expected, expected_targets = augmenter.mixing.mix(expected, targets, mix)
    different = np.abs(seen - np.rint(expected))
    # A value near a half may be rounded either way, and a contrast be stretched from there.
    assert different.max() <= 3
    assert (different > 0).mean() < 0.02
    np.testing.assert_allclose(soft, expected_targets, atol=1e-6)


def test_it_trains_the_network_s_own_weights_and_leaves_no_trace_in_it(network):
    before = network.get_weights()
    names = [layer.name for layer in network.layers]
    augmenter = Augmenter("strong")
    model = augmenting(network, augmenter, SIZE)
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    given, soft = augmenter.inputs(smooth_pictures(4), targets, range(4), epoch=0)
    assert np.isfinite(model.train_on_batch(given, soft))
    assert any(np.abs(a - b).max() > 0 for a, b in zip(before, network.get_weights(), strict=True))
    assert [layer.name for layer in network.layers] == names


def test_a_batch_of_one_class_is_left_unmixed(network):
    augmenter = Augmenter({"mix_up": 1.0})
    targets = np.ones((4, 3), np.float32)
    pictures = smooth_pictures(4)
    model = augmenting(keras.Model(network.input, network.input), augmenter, SIZE)
    given, same = augmenter.inputs(pictures, targets, range(4), epoch=0)
    np.testing.assert_array_equal(model.predict_on_batch(given), pictures)
    np.testing.assert_array_equal(same, targets)
