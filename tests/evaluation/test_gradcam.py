"""Heat where the class is: against the closed form of a linear head, and by taking away what is hot."""

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from tests.ensembles.members import CLASSES, member
from tltool.backbones import load_backbone
from tltool.data import load_dataset
from tltool.data.decoding import Framing, decode, prepare
from tltool.errors import ShapeError
from tltool.evaluation.gradcam import grad_cam, on_picture, overlay
from tltool.evaluation.last_maps import last_maps
from tltool.features.taps import pooled
from tltool.heads.logistic import LinearHead, LogisticProblem
from tltool.heads.network import LOGITS, attach_head, picture_model, prepared_model
from tltool.training.averaged_model import averaged_model

DATA = Path(__file__).parents[3] / "shared" / "data"
# Of keras.applications, small ones: residual, with gates, and without BatchNorm.
FAMILIES = ("resnet50_v2", "mobilenet_v3_small", "convnext_tiny")


def noise(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def probe(backbone, stages=("top",), poolings=("mean",), seed=0) -> keras.Model:
    width = pooled(backbone, stages, poolings).shape[-1]
    random = np.random.default_rng(seed)
    kernel = random.normal(0, 3 / np.sqrt(width), (width, 3)).astype(np.float32)
    head = LinearHead(kernel, np.zeros(3, np.float32), 1.0)
    return picture_model(attach_head(backbone, stages, poolings, head), backbone.framing)


def closed_form(model: keras.Model, pictures: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Of a linear head on means: the channels weighted by the head, which is where class activation maps began."""
    maps = prepared_model(model, last_maps(model).last).predict_on_batch(pictures.astype(np.float32))
    maps = np.asarray(maps[0] if isinstance(maps, list) else maps, np.float64)
    kernel = model.get_layer(LOGITS).get_weights()[0][: maps.shape[-1]].astype(np.float64)  # what reads the means
    heat = np.maximum(np.einsum("nhwc,cn->nhw", maps, kernel[:, classes]), 0)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-300)


def test_a_linear_head_on_means_has_a_closed_form():
    model = probe(load_backbone("tiny_random", image_size=128))
    pictures, classes = noise(4, 128), np.array([0, 1, 2, 1])
    heat = grad_cam(model, [pictures], classes)
    assert heat.shape == (4, 4, 4)
    np.testing.assert_allclose(heat, closed_form(model, pictures, classes), atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_graph_of_the_registry(name):
    backbone = load_backbone(name, weights=None, image_size=96)
    model = probe(backbone, (backbone.stage_names[-1],))
    pictures, classes = noise(2, 96), np.array([2, 0])
    assert last_maps(model).earlier == ()
    heat = grad_cam(model, [pictures], classes)
    assert heat.shape == (2, 3, 3)
    np.testing.assert_allclose(heat, closed_form(model, pictures, classes), atol=1e-4)


def test_of_several_stages_the_last_one_is_asked():
    backbone = load_backbone("tiny_random", image_size=96)
    model = probe(backbone, ("stage2", "stage5", "top"), ("mean", "std"))
    maps = last_maps(model)
    top = backbone.network.get_layer(backbone.stages[-1].layer).output
    assert [tensor.shape for tensor in maps.last] == [top.shape]
    assert len(maps.earlier) == 2
    assert grad_cam(model, [noise(2, 96)], np.array([0, 1])).shape == (2, 3, 3)


def test_patches_of_a_transformer_beside_its_class_token():
    """The class token comes from all patches, past the map; the map itself is asked all the same."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    pixels = keras.Input((32, 32, 3))
    patches = layers.Reshape((16, 8))(layers.Conv2D(8, 8, strides=8)(layers.Rescaling(1 / 255)(pixels)))
    tokens = layers.ZeroPadding1D((1, 0))(patches)
    tokens = layers.MultiHeadAttention(2, 4)(tokens, tokens)
    feature_map = layers.Reshape((4, 4, 8))(layers.Cropping1D((1, 0))(tokens))
    token = layers.Flatten()(layers.Cropping1D((0, 16))(tokens))
    features = layers.Concatenate()([layers.GlobalAveragePooling2D()(feature_map), token])
    model = picture_model(keras.Model(pixels, layers.Dense(3, name=LOGITS)(features)), Framing(32))
    maps = last_maps(model)
    assert [tuple(tensor.shape[1:]) for tensor in maps.last] == [(4, 4, 8)]
    pictures, classes = noise(3, 32), np.array([0, 1, 2])
    heat = grad_cam(model, [pictures], classes)
    assert heat.any()
    np.testing.assert_allclose(heat, closed_form(model, pictures, classes), atol=1e-5)


def test_networks_of_an_ensemble_are_asked_each():
    model = averaged_model([member(0, 96), member(1, 128)], CLASSES)
    assert len(last_maps(model).last) == 2
    heat = grad_cam(model, [noise(2, 96), noise(2, 128)], np.array([0, 2]))
    assert heat.shape == (2, 4, 4)
    assert heat.max(axis=(1, 2)).tolist() == [1, 1]
    with pytest.raises(ShapeError, match="2 classes"):
        grad_cam(model, [noise(3, 96), noise(3, 128)], np.array([0, 2]))


def test_what_speaks_for_no_class_is_cold():
    backbone = load_backbone("tiny_random", image_size=64)
    head = LinearHead(np.zeros((64, 3), np.float32), np.zeros(3, np.float32), 1.0)
    model = picture_model(attach_head(backbone, ("top",), ("mean",), head), backbone.framing)
    assert not grad_cam(model, [noise(1, 64)], np.array([0])).any()


def patches(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a patch somewhere, whose colour is the class."""
    random = np.random.default_rng(seed)
    pictures = random.integers(90, 160, (count, size, size, 3)).astype(np.uint8)
    labels, side = random.integers(0, 3, count), size // 4
    for picture, label in zip(pictures, labels, strict=True):
        top, left = random.integers(0, size - side, 2)
        picture[top : top + side, left : left + side] = 40
        picture[top : top + side, left : left + side, label] = 220
    return pictures, labels


def drops(model: keras.Model, squares: np.ndarray, share: float) -> tuple[float, float]:
    """How much of the answer's probability goes with the hottest square region, and with one anywhere; means."""
    before = model.predict(squares, verbose=0)
    answers, rows = before.argmax(axis=1), np.arange(len(squares))
    heats, random, size = grad_cam(model, [squares], answers), np.random.default_rng(0), squares.shape[1]
    side, lost = round(share * size), []
    for hot in (True, False):
        erased = squares.copy()
        for picture, heat in zip(erased, heats, strict=True):
            sums = sliding_window_view(on_picture(heat, Framing(size), size, size), (side, side)).sum(axis=(2, 3))
            place = np.unravel_index(sums.argmax(), sums.shape) if hot else random.integers(0, size - side, 2)
            top, left = map(int, place)
            picture[top : top + side, left : left + side] = picture.mean(axis=(0, 1))
        after = model.predict(erased, verbose=0)
        lost.append(float((before - after)[rows, answers].mean()))
    return lost[0], lost[1]


def test_erasing_what_is_hot_hurts_more_than_erasing_something_else():
    backbone = load_backbone("tiny_random", image_size=128)
    reader = keras.Model(backbone.network.input, pooled(backbone, ["stage4"], ["mean"]))
    pictures, labels = patches(300, 128, 0)
    head = LogisticProblem(reader.predict(pictures.astype(np.float32), verbose=0), labels, 3).fit(0.001)
    model = picture_model(attach_head(backbone, ["stage4"], ["mean"], head), backbone.framing)
    hot, anywhere = drops(model, patches(60, 128, 100)[0], 0.3)
    assert hot > 1.5 * anywhere  # 0.19 and 0.06 where it was written


@pytest.mark.realdata
def test_erasing_what_is_hot_hurts_more_with_real_weights_and_pictures():
    backbone = load_backbone("efficientnet_lite0")
    data = load_dataset(DATA / "flowers")
    framing = backbone.framing

    def read(part: str, step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = data.indices(part)[::step]
        return np.stack([prepare(decode(data.paths[row], framing.size), framing) for row in rows]), data.labels_of(rows)

    reader = keras.Model(backbone.network.input, pooled(backbone, ["top"], ["mean"]))
    pictures, labels = read("train", 3)
    head = LogisticProblem(reader.predict(pictures.astype(np.float32), verbose=0), labels, 5).fit(0.03)
    model = picture_model(attach_head(backbone, ["top"], ["mean"], head), framing)
    hot, anywhere = drops(model, read("test", 6)[0], 0.3)
    assert hot > 1.5 * anywhere  # 0.10 and 0.04 where it was written


@pytest.mark.parametrize(("height", "width"), [(60, 90), (90, 60), (64, 64)])
def test_heat_is_laid_where_the_network_looked(height, width):
    heat = np.ones((4, 4))
    assert on_picture(heat, Framing(32), height, width).shape == (height, width)
    assert on_picture(heat, Framing(32), height, width).min() == 1
    cropped = on_picture(heat, Framing(32, "crop"), height, width)
    assert cropped.sum() == min(height, width) ** 2
    assert cropped[height // 2, width // 2] == 1
    padded = np.zeros((4, 4))
    padded[:2] = 1  # the upper half of the square
    laid = on_picture(padded, Framing(32, "pad"), height, width)
    assert laid.shape == (height, width)
    assert laid[0].mean() == pytest.approx(1, abs=0.01)
    assert laid[-1].mean() == pytest.approx(0, abs=0.01)


def test_an_overlay_is_bright_where_it_is_hot():
    picture = np.full((4, 8, 3), 100, np.uint8)
    heat = np.zeros((4, 8))
    heat[:, 4:] = 1
    seen = overlay(picture, heat)
    assert seen.dtype == np.uint8
    assert seen[:, 4:].mean() > seen[:, :4].mean() + 50
    assert seen[0, -1, 0] > seen[0, -1, 2]  # yellow, not blue
