"""A race as one page that plays, with everything it needs inside."""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from tltool.optimizers.race_picture import FLOOR, height_map, label, last_step, look, loss_range
from tltool.optimizers.surfaces import Surface
from tltool.optimizers.trajectories import Trajectory

if TYPE_CHECKING:
    from plotly.graph_objects import Contour, Figure, Scatter

STOPS = 100  # of the slider at most, and pictures of a play
PLAY_MS = 60  # between them at least
PALE = ((0.0, "#a9cbe6"), (0.5, "#d3ecea"), (1.0, "#f4faf0"))  # of the map: paths stand out on it

# Not by Plotly's own frames: between them the map goes white. Only x and y change: what the legend has hidden stays so.
SCRIPT = """
const plot = document.getElementById("{plot_id}");
const moving = MOVING, stops = STOPS;
const whole = moving.map((index) => ({x: plot.data[index].x, y: plot.data[index].y}));
let playing = 0;
const show = (stop, more) => Plotly.update(plot, {
    x: whole.map((line) => line.x.slice(0, stops[stop] + 1)),
    y: whole.map((line) => line.y.slice(0, stops[stop] + 1)),
}, more, moving);
const play = async () => {
    const mine = ++playing;
    for (let stop = 0; stop < stops.length && mine === playing; stop++) {
        await show(stop, {"sliders[0].active": stop});
        await new Promise((done) => setTimeout(done, PAUSE));
    }
};
plot.on("plotly_buttonclicked", (event) => {event.button.label === "Play" ? play() : playing++});
plot.on("plotly_sliderchange", (event) => {
    if (event.interaction) {
        playing++;
        show(stops.indexOf(Number(event.step.label)), {});
    }
});
"""


def page(trajectories: Sequence[Trajectory], surface: Surface) -> str:
    """A page of HTML that loads nothing: the map with the paths, the curves, a button to play and a slider of steps.

    Args:
        trajectories: Paths over the surface, at least one.
        surface: The surface.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        cols=2,
        column_widths=[0.54, 0.46],
        horizontal_spacing=0.17,  # the map's scale stands between
        subplot_titles=(f"Paths over the surface '{surface.name}'", "Loss by step"),
    )
    figure.add_trace(_map(surface), row=1, col=1)
    moving = []
    for index, path in enumerate(trajectories):
        for column, line in enumerate(_lines(index, path), start=1):
            moving.append(len(figure.data))
            figure.add_trace(line, row=1, col=column)
    _mark(figure, "start", trajectories[0].points[0], "circle", "white", 12)
    if surface.minimum is not None:
        _mark(figure, "minimum", np.array(surface.minimum), "star", "gold", 16)
    left, right, bottom, top = surface.limits
    figure.update_xaxes(title="first weight", range=[left, right], row=1, col=1)
    figure.update_yaxes(title="second weight", range=[bottom, top], row=1, col=1)
    steps = last_step(trajectories)
    figure.update_xaxes(title="step", range=[0, 1.02 * steps], row=1, col=2)
    powers = {"type": "log", "exponentformat": "power", "dtick": 1}
    low, high = np.log10(loss_range(trajectories))
    figure.update_yaxes(title="loss", range=[low, high], **powers, row=1, col=2)
    figure.update_layout(
        template="plotly_white",
        height=640,
        margin={"l": 70, "r": 20, "t": 90, "b": 130},
        legend={"orientation": "h", "y": 1.09, "yanchor": "bottom", "x": 0},
    )
    stops = np.unique(np.linspace(0, steps, min(steps + 1, STOPS)).round().astype(int)).tolist()
    figure.update_layout(_controls(stops))
    script = SCRIPT.replace("MOVING", str(moving)).replace("STOPS", str(stops)).replace("PAUSE", str(PLAY_MS))
    # Without the bar of tools, some of which lead into the network.
    body = figure.to_html(include_plotlyjs=True, full_html=False, post_script=script, config={"displayModeBar": False})
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>tltool: optimizers on the surface '{escape(surface.name)}'</title>\n</head>\n"
        f'<body style="font-family: sans-serif; margin: 1em">\n<p>{escape(surface.summary)} '
        f"A click in the legend hides a path or shows it.</p>\n{body}\n</body>\n</html>\n"
    )


def _map(surface: Surface) -> "Contour":
    from plotly.graph_objects import Contour

    x, y, losses, levels = height_map(surface)
    x, y, losses = x[::2], y[::2], losses[::2, ::2]  # Plotly draws it again whenever a path grows
    heights = np.log10(np.clip(losses, levels[0] / 5, None))
    low, high = np.log10(levels[0]), np.log10(levels[-1])
    powers = range(math.ceil(low), math.floor(high) + 1)
    return Contour(
        x=x.tolist(),
        y=y.tolist(),
        z=heights.round(4).tolist(),
        contours={"start": low, "end": high, "size": (high - low) / (len(levels) - 1)},
        line={"width": 0.6, "color": "#94a3b8"},
        colorscale=PALE,
        colorbar={
            "title": "loss",
            "tickvals": list(powers),
            "ticktext": [f"10<sup>{power}</sup>" for power in powers],
            "x": 0.455,
            "xanchor": "left",
            "thickness": 10,
            "len": 0.9,
        },
        hoverinfo="skip",
        showlegend=False,
    )


def _lines(index: int, path: Trajectory) -> "tuple[Scatter, Scatter]":
    """The path on the map and its curve; one entry of the legend for both."""
    from plotly.graph_objects import Scatter

    how = look(index)
    shared = {
        "name": label(path),
        "legendgroup": str(index),
        "line": {"color": how.colour, "dash": how.plotly_dash, "width": 2},
        "hovertemplate": "step %{customdata[0]}<br>loss %{customdata[1]:.4g}<extra>" + path.name + "</extra>",
        "customdata": list(enumerate(_short(path.losses))),
    }
    xs, ys = map(_short, path.points.T)
    losses = _short(np.clip(path.losses, FLOOR, None))
    dots = {"symbol": how.symbol, "size": 5, "color": how.colour}
    return (
        Scatter(x=xs, y=ys, mode="lines+markers", marker=dots, **shared),
        Scatter(x=list(range(len(losses))), y=losses, mode="lines", showlegend=False, **shared),
    )


def _mark(figure: "Figure", name: str, point: np.ndarray, symbol: str, colour: str, size: int) -> None:
    from plotly.graph_objects import Scatter

    look_of_it = {"symbol": symbol, "color": colour, "size": size, "line": {"color": "black", "width": 1.5}}
    mark = Scatter(x=point[:1], y=point[1:], name=name, mode="markers", marker=look_of_it, hoverinfo="name+x+y")
    figure.add_trace(mark, row=1, col=1)


def _controls(stops: list[int]) -> dict[str, Any]:
    """Buttons and slider, which the script serves. The page opens on the finished race, for those who never play it."""
    buttons = [{"label": label, "method": "skip"} for label in ("Play", "Pause")]
    place = {"type": "buttons", "direction": "left", "x": 0, "xanchor": "left", "y": -0.17, "yanchor": "top"}
    slider = {
        "steps": [{"label": str(step), "method": "skip"} for step in stops],
        "active": len(stops) - 1,
        "currentvalue": {"prefix": "step "},
        "x": 0.16,
        "len": 0.84,
        "y": -0.12,
        "pad": {"t": 10},
    }
    return {"updatemenus": [{**place, "buttons": buttons, "showactive": False}], "sliders": [slider]}


def _short(values: np.ndarray) -> list[float | None]:
    """To six digits, more than a picture shows; a gap where there is no number."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]
