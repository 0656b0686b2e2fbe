"""Charts as SVG inside the page: a few kilobytes each, sharp in print, in the colours of the page's style sheet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tltool.doctor.markup import Markup, joined, tag

WIDTH, HEIGHT = 400, 270  # of the drawing; a page shows it at 0.8 to 1.3 times that, so that text stays legible
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 10, 40  # around the plot
COLOURS = 8  # of lines, as the style sheet has them

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: What it shows, with its unit.
        low, high: Of what is shown, low < high.
        ticks: Where a number stands.
        written: How.
    """

    title: str
    low: float
    high: float
    ticks: Sequence[float]
    written: Callable[[float], str] = "{:g}".format


@dataclass(frozen=True)
class Line:
    """A line, or single points.

    Attributes:
        name: For the legend; "" for none.
        points: In the order in which they are joined.
        colour: 0 to COLOURS - 1, in the order of the style sheet; others begin anew.
        dashed: For what is not measured but a yardstick.
        dots: Whether the points are marked.
    """

    name: str
    points: Sequence[Point]
    colour: int = 0
    dashed: bool = False
    dots: bool = False


SHARE = Axis("", 0.0, 1.0, (0, 0.25, 0.5, 0.75, 1), "{:.0%}".format)


def chart(what: str, x: Axis, y: Axis, lines: Sequence[Line], extra: Sequence[Markup] = ()) -> Markup:
    """A chart of lines with its legend.

    Args:
        what: Said to those who cannot see it.
        x, y: Its axes.
        lines: The later ones on top.
        extra: Drawn below the lines; see `at`.
    """
    drawing = tag(
        "svg",
        tag("title", what),
        *_grid(x, y),
        *extra,
        *(part for line in lines for part in _drawn(line, x, y)),
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )
    keys = [
        tag("span", tag("span", class_=f"stroke c{line.colour % COLOURS}{' dash' if line.dashed else ''}"), line.name)
        for line in lines
        if line.name
    ]
    return tag("div", drawing, tag("div", *keys, class_="legend") if keys else None, class_="plot")


def at(x: Axis, y: Axis, point: Point) -> Point:
    """Where a point of the plot lies in the drawing."""
    across = (point[0] - x.low) / (x.high - x.low)
    up = (point[1] - y.low) / (y.high - y.low)
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def bar(x: Axis, y: Axis, corner: Point, opposite: Point, kind: str, title: str | None = None) -> Markup:
    """A rectangle between two points of the plot."""
    (left, bottom), (right, top) = at(x, y, corner), at(x, y, opposite)
    return tag(
        "rect",
        tag("title", title) if title else None,
        x=_number(min(left, right)),
        y=_number(min(top, bottom)),
        width=_number(abs(right - left)),
        height=_number(abs(bottom - top)),
        class_=kind,
    )


def dot(x: Axis, y: Axis, point: Point, radius: float, title: str) -> Markup:
    """A filled circle, with what a pointer over it is told."""
    across, down = at(x, y, point)
    words = tag("title", title)
    return tag("circle", words, cx=_number(across), cy=_number(down), r=_number(radius), class_="dot c0")


def mark(x: Axis, y: Axis, point: Point, words: str) -> Markup:
    """A ring around a point, with words."""
    across, down = at(x, y, point)
    # On the side where there is room for them, and not over the line below.
    end = across > WIDTH / 2
    place = {"x": _number(across + (-8 if end else 8)), "y": _number(max(down - 9, 12))}
    return joined(
        [
            tag("circle", cx=_number(across), cy=_number(down), r="6", class_="ring"),
            tag("text", words, **place, class_="mark", text_anchor="end" if end else "start"),
        ]
    )


def interval(low: float, value: float, high: float) -> Markup:
    """A share in [0, 1] with its interval, as a small bar."""
    return tag(
        "svg",
        tag("title", f"{value:.1%}, 95 % interval {low:.1%} to {high:.1%}"),
        tag("rect", x="0", y="6", width="100", height="4", rx="2", class_="track"),
        tag("rect", x=_number(100 * low), y="5", width=_number(max(100 * (high - low), 1)), height="6", class_="span"),
        tag("line", x1=_number(100 * value), x2=_number(100 * value), y1="2", y2="14", class_="value"),
        class_="interval",
        viewBox="0 0 100 16",
        preserveAspectRatio="none",
        role="img",
    )


def nice_axis(title: str, values: Sequence[float], written: Callable[[float], str] | None = None) -> Axis:
    """An axis around some values with ticks at round numbers.

    Args:
        title: What it shows.
        values: Finite ones, at least one.
        written: How ticks are written; where None, with as many digits as tell them apart.
    """
    low, high = min(values), max(values)
    room = (high - low or abs(high) or 1.0) * 0.05
    low, high = low - room, high + room
    step = 10.0 ** _exponent((high - low) / 5)
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    first = int(-(-low // step))
    ticks = [index * step for index in range(first, int(high // step) + 1)]
    digits = max(0, -_exponent(step))
    return Axis(title, low, high, ticks, written or f"{{:.{digits}f}}".format)


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def _grid(x: Axis, y: Axis) -> list[Markup]:
    floor, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in y.ticks:
        _, down = at(x, y, (x.low, tick))
        parts.append(tag("line", x1=str(LEFT), y1=_number(down), x2=str(end), y2=_number(down), class_="grid"))
        parts.append(_text(LEFT - 6, down + 4, y.written(tick), "end"))
    for tick in x.ticks:
        across, _ = at(x, y, (tick, y.low))
        parts.append(_text(across, floor + 16, x.written(tick), "middle"))
    parts.append(tag("line", x1=str(LEFT), y1=str(floor), x2=str(end), y2=str(floor), class_="axis"))
    if x.title:
        parts.append(_text((LEFT + end) / 2, HEIGHT - 5, x.title, "middle", "title"))
    if y.title:
        middle = (TOP + floor) / 2
        turned = {"transform": f"rotate(-90 11 {middle:g})", "text_anchor": "middle"}
        parts.append(tag("text", y.title, x="11", y=_number(middle), class_="title", **turned))
    return parts


def _drawn(line: Line, x: Axis, y: Axis) -> list[Markup]:
    places = [at(x, y, point) for point in line.points]
    path = " ".join(f"{_number(across)},{_number(down)}" for across, down in places)
    kind = f"line c{line.colour % COLOURS}{' dash' if line.dashed else ''}"
    parts = [tag("polyline", points=path, class_=kind)]
    if line.dots:
        dot = f"dot c{line.colour % COLOURS}"
        parts += [tag("circle", cx=_number(a), cy=_number(d), r="3", class_=dot) for a, d in places]
    return parts


def _text(across: float, down: float, words: str, anchor: str, kind: str | None = None) -> Markup:
    return tag("text", words, x=_number(across), y=_number(down), text_anchor=anchor, class_=kind)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
