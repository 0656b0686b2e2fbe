"""Pictures of a race: paths on a map of the loss, beside the loss by step; still, moving, or as a page."""

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tltool.errors import OptimizerError
from tltool.files import check_new
from tltool.optimizers.surfaces import Surface, find_surface
from tltool.optimizers.trajectories import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe & Ito's colours, which the colour-blind tell apart, without the yellow that white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
GOLD = "#FFD700"  # of the minimum's star
# Matplotlib's and Plotly's words for the same. Eight beside seven colours: 56 paths before two look alike.
MARKERS = (
    *(("o", "circle"), ("s", "square"), ("^", "triangle-up"), ("D", "diamond")),
    *(("v", "triangle-down"), ("P", "cross"), ("X", "x"), ("p", "pentagon")),
)
DASHES = (("-", "solid"), ("--", "dash"), ("-.", "dashdot"), (":", "dot"))

NEEDS = {".png": "matplotlib", ".gif": "matplotlib", ".html": "plotly"}
FLOOR = 1e-10  # losses below are drawn at it: float32 weights come no nearer on most surfaces, and 0 has no logarithm
GRID = 241  # points along each side of the map
DOTS = 60  # on a path at most; each shows a step as long as there are fewer steps


class Look(NamedTuple):
    """How a path is drawn: colour, then marker and dash in Matplotlib's words, then in Plotly's."""

    colour: str
    marker: str
    dash: str
    symbol: str
    plotly_dash: str


def look(index: int) -> Look:
    """The look of the path at a place in the race."""
    marker, symbol = MARKERS[index % len(MARKERS)]
    dash, plotly_dash = DASHES[index % len(DASHES)]
    return Look(COLOURS[index % len(COLOURS)], marker, dash, symbol, plotly_dash)


def check_picture(path: Path) -> None:
    """Checks that a race can be drawn to a file, before anything is computed.

    Raises:
        OptimizerError: if the ending is none of .png, .gif and .html, its package is missing, or the file exists.
    """
    needed = NEEDS.get(path.suffix.lower())
    if needed is None:
        raise OptimizerError(f"{path}: a race is drawn to a file that ends in {', '.join(NEEDS)}.")
    if find_spec(needed) is None:
        raise OptimizerError(f'{path}: needs {needed}, which the extra `plots` brings: `pip install "tltool[plots]"`.')
    check_new(path, fault=OptimizerError)


def draw_race(trajectories: Sequence[Trajectory], surface: str | Surface, path: str | Path) -> Path:
    """Draws paths over a surface to a new file.

    Args:
        trajectories: Paths, all over `surface`, at least one.
        surface: A surface or its name.
        path: Ends in .png (one picture), .gif (it moves, and starts anew) or .html (one page that needs no network:
            play, a slider, paths to switch on and off, step and loss under the pointer).

    Raises:
        OptimizerError: if there is nothing to draw, or the file cannot be written; see `check_picture`.
    """
    surface, path = find_surface(surface), Path(path)
    if not trajectories:
        raise OptimizerError("draw_race: there is no trajectory to draw.")
    check_picture(path)
    if path.suffix.lower() == ".html":
        from tltool.optimizers.race_page import page

        content = page(trajectories, surface).encode()
    elif path.suffix.lower() == ".gif":
        from tltool.optimizers.race_gif import animation

        content = animation(trajectories, surface)
    else:
        content = _png(trajectories, surface)
    try:
        with path.open(
            "xb"
        ) as file:  # what another process has written there since the check is not overwritten either
            file.write(content)
    except OSError as error:
        raise OptimizerError(f"{path}: cannot be written ({error.strerror}). Give another name.") from None
    return path


def label(path: Trajectory) -> str:
    """Name and rate, and where it diverged."""
    rate = "" if path.learning_rate is None else f", rate {path.learning_rate:.3g}"
    return f"{path.name}{rate}" + ("" if path.diverged_at is None else f" (diverged at step {path.diverged_at})")


def height_map(surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grid of both weights, the losses on it, and levels that are equally far apart in the logarithm of the loss."""
    left, right, bottom, top = surface.limits
    x, y = np.linspace(left, right, GRID), np.linspace(bottom, top, GRID)
    losses = np.clip(surface.loss(np.stack(np.meshgrid(x, y), axis=-1)), FLOOR, None)
    # From the lowest 2 % of the map upwards: the minimum alone would claim half of the levels.
    levels = np.geomspace(np.quantile(losses, 0.02), losses.max(), 16)
    return x, y, losses, levels


def loss_range(trajectories: Sequence[Trajectory]) -> tuple[float, float]:
    """Lowest and highest loss to be shown, with a margin; the highest is not that of a path about to diverge."""
    seen = np.concatenate([np.clip(path.losses[np.isfinite(path.losses)], FLOOR, None) for path in trajectories])
    first = max(path.losses[0] for path in trajectories)
    return seen.min() / 2, min(seen.max(), 1e3 * max(first, FLOOR)) * 2


def last_step(trajectories: Sequence[Trajectory]) -> int:
    """Steps of the longest path."""
    return max(len(path.losses) for path in trajectories) - 1


def _png(trajectories: Sequence[Trajectory], surface: Surface) -> bytes:
    figure, _, _ = drawn(trajectories, surface, dpi=100)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", pil_kwargs={"optimize": True})
    return stream.getvalue()


def drawn(
    trajectories: Sequence[Trajectory], surface: Surface, dpi: int
) -> "tuple[Figure, list[Line2D], list[Line2D]]":
    """The figure, all lines (each path on the map and as a curve), and the mark at the end of each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.6), dpi=dpi, layout="constrained")
    chart, curve = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_map(chart, surface, trajectories[0].points[0])
    lines, ends = [], []
    for index, path in enumerate(trajectories):
        how = look(index)
        dots = {"marker": how.marker, "markersize": 3.2, "markevery": max(1, len(path.points) // DOTS)}
        style = {"color": how.colour, "linestyle": how.dash, "linewidth": 1.5}
        losses = np.clip(path.losses, FLOOR, None)
        for axes, x, y, marks in (
            (chart, path.points[:, 0], path.points[:, 1], dots),
            (curve, np.arange(len(losses)), losses, {}),
        ):
            (line,) = axes.plot(x, y, label=label(path), **style, **marks)
            last = np.flatnonzero(np.isfinite(y))[-1:]
            (end,) = axes.plot(x[last], y[last], how.marker, color=how.colour, markersize=8, markeredgecolor="white")
            lines.append(line)
            ends.append(end)
    curve.set(xlabel="step", ylabel="loss", yscale="log", ylim=loss_range(trajectories), title="Loss by step")
    curve.set_xlim(0, 1.02 * last_step(trajectories))
    curve.grid(alpha=0.3)
    curve.legend(*curve.get_legend_handles_labels(), fontsize=8)
    return figure, lines, ends


def _draw_map(chart: "Axes", surface: Surface, start: np.ndarray) -> None:
    from matplotlib.colors import LogNorm

    x, y, losses, levels = height_map(surface)
    # Wider than the levels, and pale: paths stand out on it.
    norm = LogNorm(levels[0] / 10, levels[-1] * 3)
    lowest = levels[0] / 5
    shown = np.clip(losses, lowest, None)
    chart.contourf(x, y, shown, [lowest, *levels], cmap="GnBu_r", norm=norm, alpha=0.35)
    chart.contour(x, y, losses, levels, colors="#64748b", linewidths=0.5, alpha=0.6)
    chart.plot(*start, "o", color="white", markeredgecolor="black", markersize=10, label="start", zorder=3)
    if surface.minimum is not None:
        chart.plot(*surface.minimum, "*", color=GOLD, markeredgecolor="black", markersize=15, label="minimum", zorder=3)
    left, right, bottom, top = surface.limits
    chart.set(xlim=(left, right), ylim=(bottom, top), xlabel="first weight", ylabel="second weight")
    chart.set_title(f"Paths over the surface '{surface.name}'")
    chart.legend(loc="upper right", fontsize=8)
