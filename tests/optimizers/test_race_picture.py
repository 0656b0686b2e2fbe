"""Pictures of races, opened by those who show them: Pillow, and a browser where there is one."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from tltool.errors import OptimizerError
from tltool.optimizers.race_picture import COLOURS, GOLD, draw_race, label, look, loss_range
from tltool.optimizers.surfaces import SURFACES
from tltool.optimizers.trajectories import Trajectory, race

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NAMES = ["sgd", "momentum", "adam"]
STEPS = 30


@pytest.fixture(scope="module")
def paths() -> list[Trajectory]:
    return race(NAMES, "bowl", steps=STEPS)


@pytest.fixture(scope="module")
def page(paths, tmp_path_factory) -> Path:
    return draw_race(paths, "bowl", tmp_path_factory.mktemp("page") / "race.html")


def count(picture: Image.Image, colour: str, within: int = 3) -> int:
    """Pixels of a colour."""
    distance = np.abs(np.asarray(picture.convert("RGB")).astype(int) - ImageColor.getrgb(colour)).max(axis=-1)
    return int((distance <= within).sum())


def test_a_png_shows_each_path_in_its_colour(paths, tmp_path):
    file = draw_race(paths, "bowl", tmp_path / "race.png")
    assert file.stat().st_size < 200_000
    with Image.open(file) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height
        left, right = (picture.crop((side, 0, side + picture.width // 2, picture.height)) for side in (0, 525))
    for half in (left, right):  # on the map, and as a curve
        assert all(count(half, COLOURS[index]) > 50 for index in range(3))
        assert count(half, COLOURS[3]) == 0
    assert count(left, GOLD) > 50


def test_a_gif_moves_and_starts_anew(paths, tmp_path):
    file = draw_race(paths, "bowl", str(tmp_path / "race.gif"))
    assert file.stat().st_size < 1_500_000
    with Image.open(file) as picture:
        assert (picture.format, picture.n_frames, picture.info["loop"]) == ("GIF", STEPS + 1, 0)
        seen = []
        for index in (0, STEPS // 2, STEPS):
            picture.seek(index)
            seen.append([count(picture, colour) for colour in (*COLOURS[:3], GOLD)])
        assert picture.info["duration"] > 1000
    for path in range(3):
        assert seen[0][path] < seen[1][path]
    assert seen[1][0] < seen[2][0]
    assert seen[0][3] > 50


def test_a_gif_of_many_steps_keeps_its_size(tmp_path):
    file = draw_race(race(["adagrad", "rmsprop"], "ravine", steps=400), "ravine", tmp_path / "long.gif")
    with Image.open(file) as picture:
        assert 60 < picture.n_frames < 100
    assert file.stat().st_size < 1_500_000


class Loads(HTMLParser):
    """What a page asks the network for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def figure_of(page: Path) -> tuple[list, dict]:
    """Traces and layout, as the page hands them to Plotly."""
    (call,) = re.findall(r"Plotly\.newPlot\((.*?)\)\.then", page.read_text("utf-8"), re.DOTALL)
    decoder, parts, at = json.JSONDecoder(), [], call.index(",")
    while len(parts) < 2:
        at = re.compile(r"[\[{]").search(call, at).start()
        part, at = decoder.raw_decode(call, at)
        parts.append(part)
    return parts[0], parts[1]


def test_a_page_loads_nothing_and_says_everything(paths, page):
    text = page.read_text("utf-8")
    loads = Loads()
    loads.feed(text)
    assert loads.found == []
    assert "plotly.js v" in text
    traces, layout = figure_of(page)
    assert [trace["type"] for trace in traces] == ["contour", *["scatter"] * 8]
    assert [trace["name"] for trace in traces[1:] if trace.get("showlegend", True)] == [
        *("sgd, rate 0.036", "momentum, rate 0.01", "adam, rate 0.2"),
        *("start", "minimum"),
    ]
    for index, path in enumerate(paths):
        on_map, curve = traces[1 + 2 * index : 3 + 2 * index]
        assert on_map["legendgroup"] == curve["legendgroup"] == str(index)
        assert on_map["x"] == pytest.approx(path.points[:, 0], rel=1e-5)
        assert on_map["y"] == pytest.approx(path.points[:, 1], rel=1e-5)
        assert curve["y"] == pytest.approx(path.losses, rel=1e-5)
        told = np.array(on_map["customdata"])
        assert told[:, 0].tolist() == list(range(STEPS + 1))
        assert told[:, 1] == pytest.approx(path.losses, rel=1e-5)
    assert (layout["xaxis"]["title"]["text"], layout["yaxis"]["title"]["text"]) == ("first weight", "second weight")
    assert (layout["yaxis2"]["type"], layout["yaxis2"]["title"]["text"]) == ("log", "loss")
    assert [stop["label"] for stop in layout["sliders"][0]["steps"]] == [str(step) for step in range(STEPS + 1)]
    assert [button["label"] for button in layout["updatemenus"][0]["buttons"]] == ["Play", "Pause"]


COUNT = """
<script>
const plot = document.querySelector(".plotly-graph-div");
const count = (what) => plot.querySelectorAll(what).length;
const look = () => [count(".contourlevel path"), count(".scatterlayer .trace"), count(".points path"),
    count(".legend .traces")];
const wait = (time) => new Promise((done) => setTimeout(done, time));
const seen = [];
addEventListener("load", () => setTimeout(async () => {
    try {
        seen.push(look());
        await Plotly.restyle(plot, {visible: "legendonly"}, [1, 2]);
        plot.emit("plotly_sliderchange", {interaction: true, step: {label: "10"}});
        await wait(1000);
        seen.push(look());
        plot.emit("plotly_buttonclicked", {button: {label: "Play"}});
        await wait(300);
        plot.emit("plotly_buttonclicked", {button: {label: "Pause"}});
        await wait(1000);
        const paused = look();
        await wait(1000);
        seen.push(JSON.stringify(look()) === JSON.stringify(paused) ? paused : "went on");
        plot.emit("plotly_buttonclicked", {button: {label: "Play"}});
        await wait(10000);
        seen.push([...look(), plot.layout.sliders[0].active]);
    } catch (error) {seen.push(String(error))}
    document.title = JSON.stringify(seen);
}, 500));
</script>
"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on the path: runs again once one is installed")
def test_a_browser_draws_the_page_without_a_network(page, tmp_path):
    (tmp_path / "count.html").write_text(page.read_text("utf-8").replace("</body>", f"{COUNT}</body>"), "utf-8")
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=40000", "--dump-dom"),
        (tmp_path / "count.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    told = re.search(r"<title>(.*?)</title>", done.stdout)[1]  # the first: Plotly's script has more of them
    first, slid, paused, played = json.loads(told)
    lines_of_map = first[0]
    assert lines_of_map > 5
    assert first[1:] == [8, 3 * (STEPS + 1) + 2, 5]
    # SGD has been switched off, and stays so; the map stays; the others stand at step 10, on their way, at the end.
    assert slid == [lines_of_map, 6, 2 * 11 + 2, 5]
    assert paused[:2] == [lines_of_map, 6]
    assert 2 + 2 <= paused[2] < 2 * (STEPS + 1) + 2
    assert played == [lines_of_map, 6, 2 * (STEPS + 1) + 2, 5, STEPS]


def test_a_path_that_diverged_is_drawn_and_said(tmp_path):
    paths = race(["sgd", "adam"], "bowl", {"sgd": 0.5}, steps=20)
    assert label(paths[0]) == f"sgd, rate 0.5 (diverged at step {paths[0].diverged_at})"
    low, high = loss_range(paths)
    assert low < paths[1].losses.min()
    assert paths[0].losses[0] < high < np.nanmax(paths[0].losses)
    for ending in ("png", "gif", "html"):
        assert draw_race(paths, "bowl", tmp_path / f"race.{ending}").stat().st_size > 10_000


def test_losses_of_zero_are_drawn(tmp_path):
    still = Trajectory("still", np.zeros((4, 2)), np.zeros(4), None, None)
    assert label(still) == "still"
    for ending in ("png", "html"):
        draw_race([still], replace(SURFACES["bowl"], minimum=None), tmp_path / f"race.{ending}")


def test_many_paths_look_different():
    looks = [look(index) for index in range(22)]  # as many as the catalogue has
    assert len(set(looks)) == 22
    assert len({how.colour for how in looks[:7]}) == 7


def test_a_file_that_exists_is_left_alone(paths, tmp_path):
    for name in ("mine.png", "mine.gif", "mine.html"):
        (tmp_path / name).write_text("years of work")
        with pytest.raises(OptimizerError, match=r"mine\.\w+: exists already and is not overwritten"):
            draw_race(paths, "bowl", tmp_path / name)
        assert (tmp_path / name).read_text() == "years of work"


def test_what_cannot_be_drawn(paths, tmp_path, monkeypatch):
    with pytest.raises(OptimizerError, match=r"race.jpg: a race is drawn to a file that ends in .png, .gif, .html"):
        draw_race(paths, "bowl", tmp_path / "race.jpg")
    with pytest.raises(OptimizerError, match="there is no trajectory to draw"):
        draw_race([], "bowl", tmp_path / "race.png")
    with pytest.raises(OptimizerError, match=r"race.png: there is no folder "):
        draw_race(paths, "bowl", tmp_path / "missing" / "race.png")
    for name, needed in (("race.png", "matplotlib"), ("race.gif", "matplotlib"), ("race.html", "plotly")):
        monkeypatch.setitem(sys.modules, needed, None)
        with pytest.raises(OptimizerError, match=rf'{name}: needs {needed}.*pip install "tltool\[plots\]"'):
            draw_race(paths, "bowl", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_same_race_gives_the_same_picture(paths, tmp_path):
    first, again = (draw_race(paths, "bowl", tmp_path / f"{index}.png").read_bytes() for index in range(2))
    assert np.array_equal(*(np.asarray(Image.open(BytesIO(content))) for content in (first, again)))
