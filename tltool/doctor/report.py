"""The doctor's report: one HTML file with pictures in it that needs nothing else, neither network nor scripts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tltool.data.dataset import PARTS, Dataset
from tltool.data.scan import Scan
from tltool.doctor.findings import SEVERITIES, Finding, by_severity, counted
from tltool.doctor.icons import figure, read_icons
from tltool.doctor.markup import Markup, joined, tag
from tltool.errors import DataError
from tltool.files import check_new

# Pictures are about 6 kB each in the file: with these bounds it stays below 5 MB, however large the set.
PICTURES_SHOWN = 24  # of a finding
GROUPS_SHOWN = 8  # of a finding
OF_GROUP_SHOWN = 4
CLASSES_SHOWN = 24  # in the gallery
OF_CLASS_SHOWN = 6
NAMES_SHOWN = 200  # of a finding's files, without pictures
BARS_SHOWN = 60  # classes in the chart
STYLE = Path(__file__).with_name("report.css")
# Whatever a file is called, and should escaping fail: a browser that reads this runs no script and loads nothing.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(path: Path, data: Dataset, scan: Scan, findings: Sequence[Finding]) -> None:
    """Writes the report.

    Args:
        path: A new file.
        data: The data set.
        scan: Row i is picture i of it.
        findings: What the doctor said of it.

    Raises:
        DataError: if the file exists already, or cannot be written.
    """
    path = Path(path)
    check_new(path, fault=DataError)
    findings = by_severity(findings)
    gallery = _gallery_files(data, scan)
    shown = [file for files in gallery.values() for file in files]
    for finding in findings:
        shown += [file for group in _groups_shown(finding) for file in group] or finding.files[:PICTURES_SHOWN]
    icons = read_icons(data.root, shown)
    body = tag(
        "main",
        _head(data),
        _facts(data, scan, findings),
        tag("h2", "Findings"),
        joined([_finding(finding, icons) for finding in findings])
        if findings
        else tag("p", "Nothing to complain about.", class_="card"),
        tag("h2", "Pictures by class"),
        _balance(data, scan),
        _gallery(data, gallery, icons),
        tag("footer", "Made by tltool doctor. The pictures are small copies; the data set itself was only read."),
    )
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", f"{data.name}: data doctor"),
            tag("style", Markup(STYLE.read_text("utf-8"))),
        ),
        tag("body", body),
        lang="en",
    )
    try:
        # "x": what another process has written there since the check is not overwritten either.
        file = path.open("x", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with file:
            file.write(f"<!doctype html>\n{page}\n")
    except OSError as error:
        path.unlink(missing_ok=True)  # the disk is full: half a report would pass for a whole one
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be written ({error.strerror}). Give another name.")


def _head(data: Dataset) -> Markup:
    return tag("header", tag("h1", data.name), tag("p", tag("bdi", data.source), class_="quiet"))


def _facts(data: Dataset, scan: Scan, findings: Sequence[Finding]) -> Markup:
    seen = scan.width > 0
    tally = Counter(finding.severity for finding in findings)
    facts = {
        "readable pictures": (f"{np.count_nonzero(seen):,}", None),
        "classes": (f"{len(data.class_names):,}", None),
        **{f"{severity}s": (str(tally[severity]), None) for severity in SEVERITIES},
        "formats": (", ".join(sorted({name for name in scan.formats if name})) or "none", "wide"),
        "width x height": (_sizes(scan, seen), "wide"),
    }
    cells = [tag("div", tag("dt", name), tag("dd", value), class_=kind) for name, (value, kind) in facts.items()]
    return tag("dl", *cells, class_="facts")


def _sizes(scan: Scan, seen: np.ndarray) -> str:
    if not seen.any():
        return "none"
    widths, heights = scan.width[seen], scan.height[seen]
    least, most = f"{widths.min()} x {heights.min()}", f"{widths.max()} x {heights.max()}"
    if least == most:
        return least
    return f"{least} to {most}, typically {np.median(widths):.0f} x {np.median(heights):.0f}"


def _groups_shown(finding: Finding) -> list[tuple[str, ...]]:
    return [group[:OF_GROUP_SHOWN] for group in finding.groups[:GROUPS_SHOWN]]


def _finding(finding: Finding, icons: Mapping[str, str]) -> Markup:
    header = tag(
        "header",
        tag("span", finding.severity, class_="badge"),
        tag("h3", finding.kind.replace("-", " ").capitalize()),
    )
    parts = [header, tag("p", finding.message), tag("p", finding.fix, class_="quiet")]
    seen = any(file in icons for file in finding.files[:PICTURES_SHOWN])
    if finding.groups:
        parts.append(_group_figures(finding, icons))
    elif seen:
        parts.append(_figures(finding, icons))
    if finding.files:
        # Of files that cannot be shown, the names and reasons are all there is to see.
        parts.append(_names(finding, unfolded=not seen and not finding.groups))
    return tag("article", *parts, class_=f"card finding {finding.severity}")


def _group_figures(finding: Finding, icons: Mapping[str, str]) -> Markup:
    details = dict(zip(finding.files, finding.details, strict=True)) if finding.details else {}
    shown = []
    for group, whole in zip(_groups_shown(finding), finding.groups, strict=False):
        figures = [figure(file, icons, *_quiet(details.get(file))) for file in group]
        more = len(whole) - len(group)
        rest = tag("p", f"and {counted(more, 'more copy', 'more copies')}", class_="quiet") if more else None
        shown.append(tag("div", tag("div", *figures, class_="pictures"), rest, class_="group"))
    more = len(finding.groups) - len(shown)
    if more:
        shown.append(tag("p", f"and {counted(more, 'more such picture')}", class_="quiet"))
    return tag("div", *shown, class_="groups")


def _figures(finding: Finding, icons: Mapping[str, str]) -> Markup:
    figures = []
    for row, file in enumerate(finding.files[:PICTURES_SHOWN]):
        caption = _quiet(finding.details[row] if finding.details else None)
        if finding.labels:
            given, suggested = finding.labels[row]
            caption = (tag("span", f"{given} ", tag("b", f"→ {suggested}"), class_="quiet swap"),)
        figures.append(figure(file, icons, *caption))
    return tag("div", *figures, class_="pictures")


def _quiet(text: str | None) -> tuple[Markup, ...]:
    return (tag("span", text, class_="quiet"),) if text else ()


def _names(finding: Finding, unfolded: bool) -> Markup:
    """All file names; of very many, the first."""
    details = finding.details or ("",) * len(finding.files)
    listed = zip(finding.files[:NAMES_SHOWN], details, strict=False)
    lines = [tag("li", tag("bdi", file), f": {detail}" if detail else None) for file, detail in listed]
    more = len(finding.files) - len(lines)
    if more:
        lines.append(tag("li", f"and {more:,} more, which tltool doctor --json lists", class_="quiet"))
    return tag(
        "details",
        tag("summary", counted(len(finding.files), "file")),
        tag("ul", *lines, class_="names"),
        open="" if unfolded else None,
    )


def _balance(data: Dataset, scan: Scan) -> Markup:
    """Bars of readable pictures a class, by part."""
    counts = [Counter() for _ in data.class_names]
    for row in np.flatnonzero(scan.width > 0):
        for label in data.labels[row]:
            counts[label][data.parts[row]] += 1
    order = sorted(range(len(counts)), key=lambda label: (-counts[label].total(), label))
    cut = len(order) > BARS_SHOWN
    if cut:
        order = order[: BARS_SHOWN // 2] + order[-BARS_SHOWN // 2 :]
    largest = max((count.total() for count in counts), default=1) or 1
    cells = []
    for label in order:
        segments = [
            tag("span", class_=part, style=f"width:{100 * counts[label][part] / largest:.2f}%", title=part)
            for part in PARTS
        ]
        numbers = " / ".join(f"{counts[label][part]:,}" for part in PARTS)
        cells += [
            tag("div", tag("bdi", data.class_names[label]), class_="name"),
            tag("div", *segments, class_="bar"),
            tag("div", numbers, class_="number"),
        ]
    legend = [tag("span", tag("span", class_=f"key {part}"), part) for part in PARTS]
    whole = f"The largest and the smallest {BARS_SHOWN // 2} of {len(counts):,} classes." if cut else None
    return tag(
        "div",
        tag("div", *legend, class_="legend"),
        tag("p", whole, class_="quiet") if whole else None,
        tag("div", *cells, class_="bars"),
        class_="card",
    )


def _gallery_files(data: Dataset, scan: Scan) -> dict[int, list[str]]:
    """Some pictures of each class, spread over its files, by label."""
    rows: dict[int, list[int]] = {label: [] for label in range(min(len(data.class_names), CLASSES_SHOWN))}
    for row in np.flatnonzero(scan.width > 0):
        for label in data.labels[row]:
            if label in rows:
                rows[label].append(row)
    chosen = {}
    for label, of_class in rows.items():
        places = np.unique(np.linspace(0, len(of_class) - 1, min(OF_CLASS_SHOWN, len(of_class))).astype(int))
        chosen[label] = [data.files[of_class[place]] for place in places]
    return chosen


def _gallery(data: Dataset, gallery: Mapping[int, Sequence[str]], icons: Mapping[str, str]) -> Markup:
    cards = [
        tag(
            "section",
            tag("h3", tag("bdi", data.class_names[label])),
            tag("div", *[figure(file, icons) for file in files], class_="pictures"),
            class_="card",
        )
        for label, files in gallery.items()
    ]
    more = len(data.class_names) - len(gallery)
    if more:
        cards.append(tag("p", f"and {counted(more, 'more class', 'more classes')}", class_="quiet"))
    return joined(cards)
