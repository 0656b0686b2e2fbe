"""Draws the pictures of docs/regularization.md that show terms of the loss: penalties on weights, smoothed labels."""

from pathlib import Path

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tltool import layers
from tltool.optimizers.race_picture import COLOURS, GOLD

PRETRAINED, BEST = (
    np.array([1.5, 1.5]),
    np.array([1.7, 0.35]),
)  # two weights: before training, and where the data want them
STRETCH = np.array([[1.0, 0.6], [0.6, 1.0]])  # the shape of the valley around BEST
VIEW = {"xlim": (-0.35, 2.45), "ylim": (-0.35, 1.85)}
STRENGTHS = (0.0, 0.3, 1.0, 3.0)
STEPS, RATE = 80, 0.05


def draw_penalties(folder: Path) -> None:
    """All of them, as PNG files in a folder."""
    draw_paths(folder)
    draw_shapes(folder)
    draw_label_smoothing(folder)


def draw_paths(folder: Path) -> None:
    """Two weights on their way from the pretrained point, under L2 and under L2-SP of several strengths."""
    figure = Figure(figsize=(9, 4.3), dpi=100, layout="constrained")
    for axes, (key, title) in zip(
        figure.subplots(1, 2, sharey=True),
        {"l2": "l2 pulls to 0", "l2_sp": "l2_sp pulls to the pretrained point"}.items(),
        strict=True,
    ):
        _draw_valley(axes)
        for colour, strength in zip(COLOURS, STRENGTHS, strict=False):
            path = _path({key: strength})
            axes.plot(*path.T, color=colour, marker="o", markersize=2.5, linewidth=1.2)
            axes.plot(
                *path[-1], "s", color=colour, markersize=9, markeredgecolor="white", label=f"{key} = {strength:g}"
            )
        _mark(axes)
        axes.set(title=title, xlabel="first weight", **VIEW)
        axes.legend(loc="upper left", fontsize=8, title="where training ends", title_fontsize=8)
        axes.label_outer()
    figure.axes[0].set_ylabel("second weight")
    figure.savefig(folder / "l2-sp.png")


def _path(table: dict[str, float]) -> np.ndarray:
    """The weights after each step of plain gradient descent, shape (STEPS + 1, 2)."""
    # The loss mean((x w - y)^2) has its minimum at BEST and the Hessian 2 STRETCH.
    x = np.linalg.cholesky(STRETCH).T * np.sqrt(2)
    dense = keras.layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((2,)), dense])
    dense.set_weights([PRETRAINED[:, None]])
    path = [PRETRAINED]
    with layers.penalized(model, table):
        model.compile(keras.optimizers.SGD(RATE), "mse")
        for _ in range(STEPS):
            model.train_on_batch(x, x @ BEST[:, None])
            path.append(keras.ops.convert_to_numpy(dense.kernel)[:, 0])
    return np.array(path)


def draw_shapes(folder: Path) -> None:
    """Lines of equal L1, elastic net and L2, and where loss and penalty together are lowest as it gets stronger."""
    axis = np.linspace(-0.35, 2.35, 541)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    loss = np.einsum("...i,ij,...j", grid - BEST, STRETCH, grid - BEST)
    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    ways = {"l1": (1.0, 0.0), "l1 and l2: elastic net": (0.5, 1.0), "l2": (0.0, 2.0)}
    for axes, (title, (l1, l2)) in zip(figure.subplots(1, 3, sharey=True), ways.items(), strict=True):
        # A sum over all weights, so each axis by itself.
        alone = np.array([float(layers.elastic_net(l1, l2)(keras.ops.array([weight]))) for weight in axis])
        penalty = alone[:, None] + alone[None, :]
        ends = np.array(
            [grid.reshape(-1, 2)[np.argmin(loss + strength * penalty)] for strength in np.linspace(0, 4.5, 60)]
        )
        _draw_valley(axes)
        axes.contour(axis, axis, penalty, levels=6, colors=COLOURS[1], linewidths=0.8, alpha=0.7)
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.plot(*ends.T, color=COLOURS[0], marker="o", markersize=3.5, linewidth=1)
        axes.plot(*BEST, "*", color=GOLD, markeredgecolor="black", markersize=13)
        axes.set(title=title, xlabel="first weight", **VIEW)
        axes.label_outer()
    figure.axes[0].set_ylabel("second weight")
    figure.savefig(folder / "penalties.png")


def _draw_valley(axes: Axes) -> None:
    axis = np.linspace(-0.5, 2.5, 200)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1)
    loss = np.einsum("...i,ij,...j", grid - BEST, STRETCH, grid - BEST)
    axes.contour(axis, axis, loss, levels=np.geomspace(0.02, 6, 9), colors="#64748b", linewidths=0.6, alpha=0.6)
    axes.set_aspect("equal")


def _mark(axes: Axes) -> None:
    points = {
        "pretrained": (PRETRAINED, "o", "white"),
        "best for the data": (BEST, "*", GOLD),
        "0": (np.zeros(2), "P", "white"),
    }
    for words, (point, marker, colour) in points.items():
        axes.plot(
            *point, marker, color=colour, markeredgecolor="black", markersize=13 if marker == "*" else 9, zorder=3
        )
        axes.annotate(words, point, (8, 7), textcoords="offset points", fontsize=9, zorder=4)


def draw_label_smoothing(folder: Path) -> None:
    """Targets of five classes, and what the right logit costs, for three smoothings."""
    smoothings, classes = (0.0, 0.1, 0.3), 5
    figure = Figure(figsize=(9, 3.2), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    margins = np.linspace(0, 10, 201)
    logits = np.pad(margins[:, None], ((0, 0), (0, classes - 1)))
    target = np.eye(classes)[0]
    for place, (colour, smoothing) in enumerate(zip(COLOURS, smoothings, strict=False)):
        smoothed = (1 - smoothing) * target + smoothing / classes
        bars = left.bar(np.arange(classes) + 0.28 * (place - 1), smoothed, 0.26, color=colour, label=f"{smoothing:g}")
        left.bar_label(bars, [f"{value:.2f}".lstrip("0") for value in smoothed], fontsize=7, padding=1)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
        costs = keras.ops.convert_to_numpy(loss(np.tile(target, (len(logits), 1)), logits))
        right.plot(margins, costs, color=colour)
        if smoothing:
            right.plot(margins[np.argmin(costs)], costs.min(), "o", color=colour)
    left.set(title="targets", xticks=range(classes), ylim=(0, 1.12))
    left.set_xticklabels(["the right class", "others", "", "", ""], fontsize=9)
    left.legend(title="label_smoothing", fontsize=9, title_fontsize=9)
    right.set(title="loss", xlabel="logit of the right class over the others", ylabel="nats", ylim=(0, None))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "label-smoothing.png")
