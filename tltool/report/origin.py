"""How to get the same again: the command, the recipe, the versions."""

from tltool.doctor.markup import Markup, tag
from tltool.report.evidence import Evidence


def origin_section(evidence: Evidence) -> Markup:
    parts = [tag("h2", "Do it again")]
    command = evidence.command
    if command:
        parts.append(tag("pre", tag("code", command), class_="card command"))
    else:
        parts.append(tag("p", "The run's folder does not hold what would repeat it.", class_="quiet"))
    if evidence.recipe:
        parts.append(_folded("The recipe, complete", tag("pre", tag("code", evidence.recipe))))
    if evidence.versions:
        parts.append(_folded("Versions and machine", _versions(evidence)))
    return tag("section", *parts, id="again")


def _folded(title: str, content: Markup) -> Markup:
    return tag("details", tag("summary", title), content, class_="card")


def _versions(evidence: Evidence) -> Markup:
    values = dict(evidence.versions or {})
    packages = values.pop("packages", None) or {}
    rows = {**{name: str(value) for name, value in packages.items()}, "python": values.pop("python", None)}
    for name, value in values.items():
        rows[name.replace("_", " ")] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    lines = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows.items() if value]
    return tag("div", tag("table", tag("tbody", *lines), class_="versions"), class_="scroll")
