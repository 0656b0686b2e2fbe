"""The three files that the browser gets fit each other, and the two that write numbers agree."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from tltool.ui.drop_area import HERE
from tltool.ui.words import duration, size

HTML, CSS, JS = (HERE.with_suffix(ending).read_text("utf-8") for ending in (".html", ".css", ".js"))


class Elements(HTMLParser):
    """Selectors that find something: names of elements, `.class` and `#id`."""

    def __init__(self):
        super().__init__()
        self.selectors: set[str] = set()
        self.tags: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        self.selectors |= {tag, *(f".{name}" for name in (given.get("class") or "").split())}
        if "id" in given:
            self.selectors.add(f"#{given['id']}")


@pytest.fixture(scope="module")
def elements() -> Elements:
    parser = Elements()
    parser.feed(HTML)
    return parser


def test_what_the_script_looks_for_is_there(elements):
    looked_for = set(re.findall(r"find\(\"(.+?)\"\)", JS))
    assert len(looked_for) > 10
    assert looked_for <= elements.selectors


def test_what_is_styled_is_there(elements):
    styled = set(re.findall(r"[.#][a-z]+(?=[\s{:,])", re.sub(r"/\*.*?\*/|\{.*?\}", "{", CSS, flags=re.DOTALL)))
    assert len(styled) > 8
    assert styled - {".over"} <= elements.selectors  # the script adds it while a file is held over the area
    assert '"over"' in JS


def test_it_can_be_used_without_seeing_it(elements):
    by_class = {given.get("class"): (tag, given) for tag, given in elements.tags}
    assert [by_class[name][0] for name in ("choose", "cancel")] == ["button", "button"]
    bar = by_class["bar"][1]
    assert (bar["role"], bar["aria-valuemin"], bar["aria-valuemax"]) == ("progressbar", "0", "100")
    assert (by_class["error"][1]["role"], by_class["said"][1]["role"]) == ("alert", "status")
    for tag, given in elements.tags:
        for name in ("aria-labelledby", "aria-describedby"):
            if name in given:
                assert f"#{given[name]}" in elements.selectors, (tag, given)


def test_nothing_is_fetched_from_elsewhere():
    for text in (HTML, CSS, JS):
        assert "://" not in text
        assert "@import" not in text


@pytest.mark.skipif(not shutil.which("node"), reason="needs node on the path: runs again where it is installed")
def test_numbers_are_right_and_written_as_the_page_writes_them():
    sizes, times = [1, 320_000, 999_999_999, 14_200_000, 2_100_000_000], [0.2, 59, 99, 160, 5900, 7500]
    speed = "[secondsLeft([[0, 0], [1000, 10]], 100), secondsLeft([[500, 10], [4500, 30]], 100)]"
    script = JS.replace("export default function", "function start")
    script += f"; console.log(JSON.stringify([{sizes}.map(size), {times}.map(duration), {speed}]))"
    ended = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    written, spoken, left = json.loads(ended.stdout)
    assert written == [size(bytes_) for bytes_ in sizes]
    assert spoken == [duration(seconds) for seconds in times]
    assert left == [None, 14]  # too early to tell; then 5 a second, and 70 to come
