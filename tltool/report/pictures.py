"""The data that went in: counts by class and part, a few pictures of each class, and what the doctor said."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tltool.data import Dataset
from tltool.data.dataset import PARTS
from tltool.doctor.findings import counted
from tltool.doctor.icons import read_icons
from tltool.doctor.markup import Markup, tag
from tltool.report.evidence import Evidence

CLASSES_SHOWN, OF_CLASS_SHOWN = 12, 8
BARS_SHOWN = 60  # classes in the chart
FINDINGS_SHOWN, FILES_SHOWN = 12, 5
SOUND = ("error", "warning", "note")  # what a finding's severity may be, and a class of the style sheet


def data_section(evidence: Evidence) -> Markup | None:
    """None where the index cannot be read."""
    data = evidence.data
    if data is None:
        return None
    chosen = _samples(data)
    icons = read_icons(data.root, [file for files in chosen.values() for file in files])
    counts = data.counts("train"), data.counts("valid"), data.counts("test")
    parts = [tag("h2", "Data"), _summary(data), _bars(data.class_names, counts)]
    if icons:
        parts.append(_grid(data, chosen, icons))
    findings = ((evidence.inspection or {}).get("health") or {}).get("findings") or []
    if findings:
        parts += [tag("h3", "What the doctor said"), *(_finding(finding) for finding in findings[:FINDINGS_SHOWN])]
    return tag("section", *parts, id="data")


def _summary(data: Dataset) -> Markup:
    held = counted(len(data.indices("test")), "picture")
    origin = "parts as they came" if data.given_parts else f"split by chance, seed {data.seed}"
    classes = counted(len(data.class_names), "class", "classes")
    words = f"{counted(len(data), 'picture')} in {classes}; {held} held out, {origin}."
    left_out = f" {counted(len(data.problems), 'file was', 'files were')} left out." if data.problems else ""
    return tag("p", words, left_out or None, " From ", tag("bdi", tag("code", data.source)), class_="quiet")


def _bars(names: Sequence[str], counts: Sequence[Mapping[str, int]]) -> Markup:
    """As in the doctor's report: a bar a class, the parts after each other."""
    total = {name: sum(count[name] for count in counts) for name in names}
    order = sorted(names, key=lambda name: -total[name])
    cut = len(order) > BARS_SHOWN
    if cut:
        order = order[: BARS_SHOWN // 2] + order[-BARS_SHOWN // 2 :]
    largest, cells = max(total.values(), default=1) or 1, []
    for name in order:
        values = [count[name] for count in counts]
        segments = [
            tag("span", class_=part, style=f"width:{100 * value / largest:.2f}%", title=f"{part}: {value}")
            for part, value in zip(PARTS, values, strict=True)
        ]
        cells += [
            tag("div", tag("bdi", name), class_="name"),
            tag("div", *segments, class_="bar"),
            tag("div", " / ".join(f"{value:,}" for value in values), class_="number"),
        ]
    legend = [tag("span", tag("span", class_=f"key {part}"), part) for part in PARTS]
    whole = f"The largest and the smallest {BARS_SHOWN // 2} of {len(names):,} classes." if cut else None
    return tag(
        "div",
        tag("div", *legend, class_="legend"),
        tag("p", whole, class_="quiet") if whole else None,
        tag("div", *cells, class_="bars"),
        class_="card",
    )


def _samples(data: Dataset) -> dict[int, list[str]]:
    """Some pictures that were learned from, of each of the first classes, spread over its files."""
    rows: dict[int, list[int]] = {label: [] for label in range(min(len(data.class_names), CLASSES_SHOWN))}
    for row in data.indices("train", "valid").tolist():
        for label in data.labels[row]:
            if label in rows:
                rows[label].append(row)
    chosen = {}
    for label, found in rows.items():
        if found:
            places = np.unique(np.linspace(0, len(found) - 1, min(OF_CLASS_SHOWN, len(found))).astype(int))
            chosen[label] = [data.files[found[place]] for place in places]
    return chosen


def _grid(data: Dataset, chosen: Mapping[int, Sequence[str]], icons: Mapping[str, str]) -> Markup:
    rows = []
    for label, files in chosen.items():
        shown = [tag("div", tag("img", src=icons[file], alt=file), class_="frame") for file in files if file in icons]
        rows.append(
            tag("div", tag("p", tag("bdi", data.class_names[label])), tag("div", *shown, class_="row"), class_="sample")
        )
    more = len(data.class_names) - len(chosen)
    rest = tag("p", f"and {counted(more, 'more class', 'more classes')}", class_="quiet") if more else None
    return tag("div", *rows, rest, class_="card samples")


def _finding(finding: Mapping[str, Any]) -> Markup:
    severity = finding.get("severity") if finding.get("severity") in SOUND else "note"
    files = list(finding.get("files") or [])
    lines = [tag("li", tag("bdi", str(file))) for file in files[:FILES_SHOWN]]
    if len(files) > FILES_SHOWN:
        lines.append(tag("li", f"and {len(files) - FILES_SHOWN:,} more", class_="quiet"))
    listed = (
        tag("details", tag("summary", counted(len(files), "file")), tag("ul", *lines, class_="names"))
        if files
        else None
    )
    return tag(
        "article",
        tag(
            "header",
            tag("span", severity, class_="badge"),
            tag("h4", str(finding.get("kind", "")).replace("-", " ").capitalize()),
        ),
        tag("p", str(finding.get("message", ""))),
        tag("p", str(finding.get("fix", "")), class_="quiet"),
        listed,
        class_=f"card finding {severity}",
    )
