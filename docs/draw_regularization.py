"""Draws the pictures of docs/regularization.md that show layers: what they drop in training, and what they give."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import norm
from sklearn.datasets import load_sample_image

from tltool import layers
from tltool.backbones import load_backbone
from tltool.layers.feature_maps import last_maps
from tltool.optimizers.race_picture import COLOURS

DROPPED = "0.92"  # the grey of what is left out


def draw_regularization(folder: Path) -> None:
    """All of them, as PNG files in a folder."""
    backbone = load_backbone("efficientnet_lite0")
    draw_drop_connect(folder)
    draw_test_time(folder)
    draw_masks(folder, backbone.network)
    draw_fractional_pooling(folder)
    draw_stochastic_depth(folder, backbone.network)


def _flower(size: int) -> np.ndarray:
    """Shape (1, size, size, 3), float32, in [0, 255]."""
    square = Image.fromarray(load_sample_image("flower.jpg")).crop((106, 0, 533, 427))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS), np.float32)[None]


def _array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def _show(axes: Axes, picture: np.ndarray, title: str, **how) -> None:
    axes.imshow(picture, interpolation="nearest", **how)
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def draw_drop_connect(folder: Path) -> None:
    """The weights of a head as they are, and as two pictures see them under DropConnect and under dropout."""
    features, classes = 20, 12
    kernel = np.random.default_rng(0).normal(size=(features, classes)).astype(np.float32)
    dense = keras.layers.Dense(classes, use_bias=False)
    layer = layers.DropConnect(dense, 0.5, seed=1)
    # One feature at each position: what comes out is the kernel, row by row, and positions of a picture share its mask.
    one_by_one = np.tile(np.eye(features, dtype=np.float32), (2, 1, 1))
    layer.build(one_by_one.shape)
    dense.set_weights([kernel])
    connections = _array(layer(one_by_one, training=True))
    seen = _array(keras.layers.Dropout(0.5, seed=1)(np.ones((1, features, 1), np.float32), training=True))
    shown = {
        "all weights (mean field)": kernel,
        "DropConnect, one picture": connections[0],
        "DropConnect, another": connections[1],
        "dropout": seen[0] * kernel,
    }
    figure = Figure(figsize=(9, 2.0), dpi=100, layout="constrained")
    for axes, (title, weights) in zip(figure.subplots(1, 4), shown.items(), strict=True):
        dropped = np.ma.masked_equal(weights.T, 0.0)
        axes.set_facecolor(DROPPED)
        _show(axes, dropped, title, cmap="PuOr", vmin=-4, vmax=4)
        axes.set_xlabel(f"{features} features", fontsize=9)
    figure.axes[0].set_ylabel(f"{classes} classes", fontsize=9)
    figure.savefig(folder / "drop-connect.png")


def draw_test_time(folder: Path) -> None:
    """One ReLU unit under 20,000 masks, the normal distribution that stands in for them, and three answers."""
    random = np.random.default_rng(1)
    x, kernel = random.uniform(0, 1, (1, 64)).astype(np.float32), random.normal(0, 0.35, (64, 1)).astype(np.float32)
    kernel -= (x @ kernel + 0.4) / x.sum()  # the unit's value is -0.4: the mean field has it off
    rate, copies = 0.5, np.tile(x, (20_000, 1))

    def unit(activation: str, **more) -> layers.DropConnect:
        dense = keras.layers.Dense(1, activation=activation, use_bias=False)
        layer = layers.DropConnect(dense, rate, seed=0, **more)
        layer.build(x.shape)
        dense.set_weights([kernel])
        return layer

    values = _array(unit("linear")(copies, training=True))[:, 0]
    answers = {
        "mean over 20,000 masks": _array(unit("relu")(copies, training=True)).mean(),
        'test="gaussian"': _array(unit("relu", test="gaussian")(x)).item(),
        'test="mean-field"': _array(unit("relu")(x)).item(),
    }
    spread = np.sqrt((x**2 @ kernel**2).item() * rate / (1 - rate))
    figure = Figure(figsize=(9, 3.0), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    axis = np.linspace(values.min(), values.max(), 200)
    left.hist(values, 60, density=True, color=COLOURS[6], label="under the masks")
    left.plot(axis, norm.pdf(axis, (x @ kernel).item(), spread), color="black", label="normal, same mean and variance")
    left.axvline(0, color="0.5", linewidth=0.8)
    left.set(title="what goes into the ReLU", xlabel="value of the unit", yticks=[])
    left.set_ylim(0, 1.5 * left.get_ylim()[1])
    left.legend(fontsize=9, loc="upper left", frameon=False)
    bars = right.barh(list(answers), list(answers.values()), color=[COLOURS[6], "black", COLOURS[1]])
    right.bar_label(bars, [f"{value:.2f}" for value in answers.values()], padding=3, fontsize=9)
    right.set(title="what comes out, on average", xlim=(0, 1.2 * max(answers.values())))
    right.invert_yaxis()
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "drop-connect-test.png")


def draw_masks(folder: Path, network: keras.Model) -> None:
    """One feature map of a photograph, under dropout and DropBlock of the same rate."""
    maps = _array(keras.Model(network.input, last_maps(network)[2])(_flower(224)))
    channel = maps[..., [int(np.argmax(maps.var(axis=(1, 2))))]]
    ways = {
        "a feature map": None,
        "dropout": keras.layers.Dropout(0.25, seed=1),
        "DropBlock, 3 x 3": layers.DropBlock2D(0.25, block_size=3, seed=1),
        "DropBlock, 7 x 7": layers.DropBlock2D(0.25, block_size=7, seed=1),
    }
    figure = Figure(figsize=(9, 2.6), dpi=100, layout="constrained")
    for axes, (title, layer) in zip(figure.subplots(1, 4), ways.items(), strict=True):
        kept = np.ones(channel.shape) if layer is None else _array(layer(np.ones_like(channel), training=True))
        axes.set_facecolor("#D55E00")
        _show(axes, np.ma.masked_where(kept == 0, channel)[0, ..., 0], title, cmap="Greys_r")
        if layer is not None:
            axes.set_xlabel(f"{np.mean(kept == 0):.0%} dropped", fontsize=9)
    figure.savefig(folder / "drop-block.png")


def draw_fractional_pooling(folder: Path) -> None:
    """Regions on a small photograph, what they leave of it, and a larger one that is pooled eight times."""
    small, large = _flower(28), _flower(192)
    ways = {
        "random": {"regions": "random", "seed": 3},
        "random, next step": {"regions": "random", "seed": 4},
        "pseudo-random": {"regions": "pseudo-random", "seed": 1},
    }
    figure = Figure(figsize=(9, 7.9), dpi=90, layout="constrained")
    columns = figure.subplots(3, 4).T
    for column, title in zip(columns, (*ways, "at test time"), strict=True):
        more, training = ways.get(title, {}), title in ways
        _show(column[0], small[0] / 255, title)
        for borders, across in zip(_borders(28, 2**0.5, training, more), (True, False), strict=True):
            for border in borders:
                (column[0].axvline if across else column[0].axhline)(border - 0.5, color="white", linewidth=0.7)
        pooled = _array(layers.FractionalMaxPooling2D(2**0.5, overlapping=False, **more)(small, training=training))
        _show(column[1], pooled[0] / 255, f"{pooled.shape[1]} x {pooled.shape[2]}")
        layer, many = layers.FractionalMaxPooling2D(2 ** (1 / 4), overlapping=False, **more), large
        for _ in range(4):
            many = layer(many, training=training)
        _show(column[2], _array(many)[0] / 255, f"192 to {many.shape[1]} in four layers")
    figure.savefig(folder / "fractional-max-pooling.png", pil_kwargs={"optimize": True})


def _borders(size: int, ratio: float, training: bool, more: dict) -> Sequence[np.ndarray]:
    """Where regions begin, read off what the layer does to a ramp: the last unit of each region is its largest."""
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    ramps = np.stack([x, y], axis=-1)[None].astype(np.float32)
    last = _array(layers.FractionalMaxPooling2D(ratio, overlapping=False, **more)(ramps, training=training))[0]
    return last[0, :-1, 0] + 1, last[:-1, 0, 1] + 1


def draw_stochastic_depth(folder: Path, network: keras.Model) -> None:
    """How often each residual branch of EfficientNet-Lite0 is kept at 0.5, and which 24 pictures keep."""
    trained = layers.regularized(network, {"stochastic_depth": 0.5}, seed=0)
    drops = [layer for layer in trained.layers if isinstance(layer, layers.StochasticDepth)]
    kept = [_array(layer(np.ones((24, 1), np.float32), training=True))[:, 0] > 0 for layer in drops]
    places = np.arange(1, len(drops) + 1)
    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
    bars = left.bar(places, [1 - layer.rate for layer in drops], color=COLOURS[0])
    left.bar_label(bars, [f"{1 - layer.rate:.2f}" for layer in drops], padding=2, fontsize=8)
    left.set(xlabel="residual branch", ylabel="probability that it is kept", ylim=(0, 1.1), xticks=places)
    left.spines[["top", "right"]].set_visible(False)
    shade = np.where(np.array(kept)[..., None], [0.0, 0.447, 0.698], float(DROPPED))
    right.imshow(shade, aspect="auto", origin="lower", extent=(0.5, 24.5, 0.5, len(drops) + 0.5))
    right.set(xlabel="24 pictures of a batch", ylabel="residual branch", xticks=[], yticks=places)
    right.set_title("kept in one training step", fontsize=10)
    for line in range(1, 24):
        right.axvline(line + 0.5, color="white", linewidth=0.8)
    for line in range(1, len(drops)):
        right.axhline(line + 0.5, color="white", linewidth=0.8)
    figure.savefig(folder / "stochastic-depth.png")
