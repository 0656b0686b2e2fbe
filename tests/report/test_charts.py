import math

import pytest

from tests.page import Page
from tltool.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, SHARE, TOP, WIDTH, Line, at, chart, interval, nice_axis


def test_corners_of_the_plot_are_where_the_axes_end():
    assert at(SHARE, SHARE, (0, 0)) == (LEFT, HEIGHT - BOTTOM)
    assert at(SHARE, SHARE, (1, 1)) == (WIDTH - RIGHT, TOP)
    across, down = at(SHARE, SHARE, (0.5, 0.25))
    assert across == pytest.approx((LEFT + WIDTH - RIGHT) / 2)
    assert down == pytest.approx(TOP + 0.75 * (HEIGHT - TOP - BOTTOM))


@pytest.mark.parametrize(
    "values", [[0.1, 0.9], [1.59, 1.61], [3, 3], [0, 0], [1e-6, 2e-6], [-5, 400], [123456, 654321]]
)
def test_ticks_are_round_and_inside(values):
    axis = nice_axis("loss", values)
    assert axis.low < min(values) <= max(values) < axis.high
    assert 2 <= len(axis.ticks) <= 8
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    written = [axis.written(tick) for tick in axis.ticks]
    assert len(set(written)) == len(written)
    for tick, text in zip(axis.ticks, written, strict=True):
        assert float(text) == pytest.approx(tick, abs=1e-9)
    step = axis.ticks[1] - axis.ticks[0]
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in (1, 2, 5)


def test_a_chart_has_its_lines_legend_and_words():
    lines = [Line("measured <b>", [(0, 0), (0.5, 1)], 0, dots=True), Line("", [(0, 0), (1, 1)], 9, dashed=True)]
    page = Page(chart("A chart & more", SHARE, SHARE, lines))
    assert "A chart & more" in page.text
    assert "measured <b>" in page.text
    first, second = page.named("polyline")
    assert first["points"] == f"{LEFT},{HEIGHT - BOTTOM} {(LEFT + WIDTH - RIGHT) / 2:g},{TOP}"
    assert second["class"] == "line c1 dash"  # colours begin anew
    assert len(page.named("circle")) == 2
    assert len(page.of_class("stroke")) == 1


def test_an_interval_spans_from_low_to_high():
    page = Page(interval(0.25, 0.5, 0.75))
    _, span = page.named("rect")
    assert (span["x"], span["width"]) == ("25", "50")
    assert page.named("line")[0]["x1"] == "50"
    assert "25.0% to 75.0%" in page.text
