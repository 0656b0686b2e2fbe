"""The frame of a page that is complete in itself: its style is inside, and it loads nothing."""

from collections.abc import Sequence
from pathlib import Path

from tltool.doctor.markup import Markup, tag
from tltool.doctor.report import POLICY
from tltool.doctor.report import STYLE as SHARED_STYLE

STYLE = Path(__file__).with_name("report.css")


def document(title: str, *body: Markup | None) -> str:
    """An HTML file.

    Args:
        title: Of the page.
        body: Its elements, one after the other; None is left out.
    """
    style = SHARED_STYLE.read_text("utf-8") + STYLE.read_text("utf-8")
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("style", Markup(style)),
        ),
        tag("body", tag("main", *body, tag("footer", "Made by tltool. Nothing on this page is loaded from anywhere."))),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def header(titles: Sequence[str]) -> Markup:
    """The first row of a table."""
    return tag("thead", tag("tr", *(tag("th", title, scope="col") for title in titles)))
