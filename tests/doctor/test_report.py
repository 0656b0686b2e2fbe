"""The report in HTML: complete in itself, bounded, and deaf to what files are called."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.doctor.sets import data_of, scan_of
from tests.page import Page
from tests.pictures import make_class_folders
from tltool.data import load_dataset
from tltool.data.dataset import Row
from tltool.data.scan import scan
from tltool.doctor import report
from tltool.doctor.findings import Finding
from tltool.doctor.report import write_report
from tltool.errors import DataError


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_class_folders(tmp_path / "photos", {"cat": 12, "dog": 5}, size=80)


def written(folder: Path, findings: list[Finding]) -> Page:
    data = load_dataset(folder)
    path = folder.parent / "report.html"
    write_report(path, data, scan(data.root, data.files), findings)
    return Page(path.read_text("utf-8"))


def test_a_report_shows_classes_findings_and_pictures(folder):
    findings = [
        Finding("leak", "error", "Two leak.", "Remove them.", ("cat/cat_0001.png",), (), ("copy of cat_0002.png",)),
        Finding("near-copies", "note", "Many.", "Look.", groups=(("dog/dog_0001.png", "dog/dog_0002.png"),)),
        Finding("empty", "warning", "One is empty.", "Copy it.", ("dog/gone.png",), (), ("0 bytes",)),
        Finding(
            "suspected-labels", "warning", "One.", "Look.", ("cat/cat_0003.png",), (), ("97 %",), (), (("cat", "dog"),)
        ),
    ]
    page = written(folder, findings)
    for finding in findings:
        assert finding.message in page.text
        assert finding.fix in page.text
        assert finding.severity in page.text
        assert all(detail in page.text for detail in finding.details)
    assert "→ dog" in page.text
    assert "17" in page.text
    pictures = page.named("img")
    # Six of cat and five of dog in the gallery; one and one of the findings, and two side by side.
    assert len(pictures) == 6 + 5 + 2 + 2
    assert all(picture["src"].startswith("data:image/jpeg;base64,") for picture in pictures)
    assert {picture["alt"] for picture in pictures} >= {"cat/cat_0001.png", "dog/dog_0002.png", "cat/cat_0003.png"}
    bars = [attributes for attributes in page.named("span") if attributes.get("title")]
    widths = [float(re.fullmatch(r"width:([\d.]+)%", bar["style"])[1]) for bar in bars]
    assert len(widths) == 6
    assert sum(widths[:3]) == pytest.approx(100, abs=0.1)
    assert sum(widths[3:]) == pytest.approx(100 * 5 / 12, abs=0.1)


def test_a_clean_set_is_told_so(folder):
    assert "Nothing to complain about." in written(folder, []).text


def test_a_report_needs_nothing_else(folder):
    page = written(folder, [])
    assert not {"script", "link", "iframe", "object", "base", "form", "a"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value.startswith("data:")
    style = report.STYLE.read_text("utf-8")
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy


EVIL = "<script>alert(1)<"  # a name may hold all of it but the slash
QUOTED = "\"><img src=x onerror='alert(2)'>&amp;"


def test_names_cannot_break_out(tmp_path):
    folder = tmp_path / f"photos {EVIL}"
    make_class_folders(folder, {EVIL: 3, QUOTED: 3})
    (folder / EVIL / f"{EVIL}.png").write_bytes((folder / EVIL / f"{EVIL}_0000.png").read_bytes())
    data = load_dataset(folder)
    files = tuple(data.files)
    words = f"{EVIL}/script>{QUOTED}"
    findings = [
        Finding("dark", "note", words, words, files, (), (words,) * len(files), (), ((words, words),) * len(files)),
        Finding("near-copies", "note", words, words, groups=(files,)),
        Finding(words, "error", words, words, (words,), (), (words,)),
    ]
    path = tmp_path / "report.html"
    write_report(path, data, scan(data.root, data.files), findings)
    page = Page(path.read_text("utf-8"))
    tags = {tag for tag, _ in page.tags}
    assert "script" not in tags
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(picture["src"].startswith("data:") for picture in page.named("img"))
    assert "<script" not in path.read_text("utf-8")
    assert words in page.text
    assert files[0] in {picture["alt"] for picture in page.named("img")}


def test_a_report_on_very_many_pictures_stays_small(tmp_path, monkeypatch):
    rows = [Row(f"{label:03}/{n:06}.jpg", f"class {label:03}") for label in range(500) for n in range(40)]
    data = data_of(*rows)
    asked = []

    def icons(root, files):
        asked.extend(files)
        return dict.fromkeys(files, "data:image/jpeg;base64," + "A" * 6000)

    monkeypatch.setattr(report, "read_icons", icons)
    names = data.files
    groups = tuple(tuple(names[start : start + 500]) for start in range(0, len(names), 500))
    findings = [Finding("near-copies", "note", "m", "f", names, groups=groups)]
    findings += [Finding(f"kind {n}", "note", "m", "f", names, details=names) for n in range(10)]
    path = tmp_path / "report.html"
    write_report(path, data, scan_of(data), findings)
    assert len(asked) < 500
    assert path.stat().st_size < 5_000_000
    page = Page(path.read_text("utf-8"))
    assert "and 496 more copies" in page.text
    assert "and 19,800 more, which tltool doctor --json lists" in page.text
    assert "and 476 more classes" in page.text
    assert "The largest and the smallest 30 of 500 classes." in page.text


def test_pictures_that_are_gone_leave_a_gap(folder):
    data = load_dataset(folder)
    seen = scan(data.root, data.files)
    (folder / "cat" / "cat_0000.png").unlink()
    finding = Finding("dark", "note", "m", "f", ("cat/cat_0000.png", "cat/cat_0001.png"))
    path = folder.parent / "report.html"
    write_report(path, data, seen, [finding])
    page = Page(path.read_text("utf-8"))
    assert "no picture" in page.text
    assert "cat/cat_0000.png" not in {picture["alt"] for picture in page.named("img")}


def test_icons_are_small_and_keep_their_proportions(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 1600, 3)).astype(np.uint8)).save(tmp_path / "a.jpg")
    Image.new("RGB", (20, 10), (9, 9, 200)).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_text("no picture")
    icons = report.read_icons(tmp_path, ["a.jpg", "b.png", "c.png", "a.jpg"])
    assert set(icons) == {"a.jpg", "b.png"}
    assert len(icons["a.jpg"]) < 20_000
    assert icons["b.png"].startswith("data:image/png;base64,")


def test_nothing_is_overwritten(folder, tmp_path):
    data = load_dataset(folder)
    seen = scan(data.root, data.files)
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    with pytest.raises(DataError, match="exists already and is not overwritten"):
        write_report(mine, data, seen, [])
    assert mine.read_text() == "mine"
    with pytest.raises(DataError, match="there is no folder"):
        write_report(tmp_path / "none" / "report.html", data, seen, [])


def test_an_empty_set_has_a_report(tmp_path):
    """All its files may be unreadable."""
    data = data_of(Row("cat/a.jpg", "cat"), Row("dog/b.jpg", "dog"))
    path = tmp_path / "report.html"
    write_report(path, data, scan_of(data, {"cat/a.jpg": {"keys": None}, "dog/b.jpg": {"keys": None}}), [])
    assert "none" in Page(path.read_text("utf-8")).text
