"""Runs side by side as a page: one HTML file that needs neither network nor scripts."""

from pathlib import Path

from tltool.doctor.findings import counted
from tltool.doctor.markup import Markup, tag
from tltool.errors import RunError
from tltool.files import check_new, write_text
from tltool.report.charts import interval
from tltool.report.document import document, header
from tltool.report.scores import main_interval
from tltool.report.side_by_side import SideBySide
from tltool.report.words import between, duration, number, share, size


def write_side_page(found: SideBySide, out: Path) -> None:
    """Writes the page.

    Args:
        found: The runs.
        out: A new file.

    Raises:
        TltoolError: if the file exists already.
        RunError: if it cannot be written.
    """
    check_new(out, "another --html")
    try:
        write_text(out, side_page(found))
    except OSError as error:
        raise RunError(f"{out}: cannot be written ({error.strerror}). Give another --html.") from None


def side_page(found: SideBySide) -> str:
    """The page as text."""
    words = f"On {counted(found.pictures, 'picture')} that all of them held out."
    body = [
        tag("header", tag("h1", f"{len(found.sides)} runs side by side"), tag("p", words, class_="quiet")),
        _scores(found),
        tag("h2", "Is one of them better?"),
        tag(
            "div",
            *(tag("p", tag("bdi", words)) for words in found.verdicts),
            *(tag("p", note, class_="quiet") for note in found.notes),
            class_="card",
        ),
        tag("h2", "What differs in the recipes"),
        _differences(found),
    ]
    return document(f"{len(found.sides)} runs", *body)


def _scores(found: SideBySide) -> Markup:
    rows = []
    for position, side in enumerate(found.sides):
        bounds = main_interval(side.metrics)
        best = tag("span", "best", class_="badge") if position == found.best else None
        drawn = interval(bounds[0], side.score, bounds[1]) if bounds else None
        rows.append(
            tag(
                "tr",
                tag("th", tag("bdi", side.name), " ", best, class_="note", scope="row"),
                tag("td", side.recipe),
                tag("td", tag("b", share(side.score)), tag("br"), tag("span", between(bounds), class_="quiet")),
                tag("td", drawn, class_="drawn"),
                tag("td", number(side.metrics.log_loss)),
                tag("td", number(side.metrics.expected_calibration_error)),
                tag("td", duration(side.seconds)),
                tag("td", size(side.size)),
            )
        )
    name = "top-1" if hasattr(found.sides[0].metrics, "top1") else "mAP"
    head = header(("run", "recipe", name, "", "log loss", "calibration error", "training", "model"))
    return tag("div", tag("div", tag("table", head, tag("tbody", *rows)), class_="scroll"), class_="card")


def _differences(found: SideBySide) -> Markup:
    if not found.differences:
        return tag("p", "Nothing: seeds, data or versions make the difference.", class_="card")
    head = tag("tr", tag("th", "key"), *(tag("th", tag("bdi", side.name), scope="col") for side in found.sides))
    rows = [
        tag("tr", tag("th", tag("code", key), scope="row"), *(tag("td", value, class_="value") for value in values))
        for key, values in found.differences.items()
    ]
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("div", tag("div", table, class_="scroll"), class_="card")
