"""Which recipe was taken and why: the table with its cell, the reasons, and what was measured."""

from collections.abc import Mapping
from typing import Any

from tltool.decision import SIMILAR_BELOW, TABLE
from tltool.doctor.markup import Markup, tag
from tltool.report.document import header
from tltool.report.evidence import Evidence
from tltool.report.words import duration, number, share, size

AMOUNTS = {"little": "little data", "a lot": "a lot of data"}
KINSHIPS = {"similar": "similar to what the backbone knows", "different": "different from it"}


def decision_section(evidence: Evidence) -> Markup | None:
    """None where nothing is known of it."""
    decision = evidence.decision
    if not decision:
        return None
    parts = [tag("h2", "Decision")]
    if {"amount", "kinship", "recipe"} <= decision.keys():
        parts.append(tag("div", _words(decision), _table(decision), _reasons(decision), class_="card"))
        parts += _measured(evidence.inspection or {})
    else:
        parts.append(tag("p", str(decision.get("used", "")), class_="card"))
        if evidence.made_of:
            parts.append(_members(evidence.made_of.get("table") or []))
    return tag("section", *parts, id="decision")


def _words(decision: Mapping[str, Any]) -> Markup:
    used, picked = decision.get("used"), decision["recipe"]
    if used and used != picked:
        return tag(
            "p", "You asked for ", tag("b", str(used)), "; the decision would have been ", tag("b", str(picked)), "."
        )
    why = "evidence overruled the table" if decision.get("overruled") else "as the table says"
    return tag("p", tag("b", str(picked)), f", {why}.")


def _table(decision: Mapping[str, Any]) -> Markup:
    head = tag("tr", tag("td", class_="empty"), *(tag("th", words, scope="col") for words in KINSHIPS.values()))
    rows = []
    for amount, words in AMOUNTS.items():
        cells = []
        for kinship in KINSHIPS:
            recipe = TABLE[amount, kinship]
            here = (amount, kinship) == (decision["amount"], decision["kinship"])
            picked = bool(decision.get("overruled")) and recipe == decision["recipe"]
            note = "your pictures" if here else "picked on evidence" if picked else None
            kind = "here" if here else "picked" if picked else None
            cells.append(tag("td", tag("span", recipe), tag("small", note) if note else None, class_=kind))
        rows.append(tag("tr", tag("th", words, scope="row"), *cells))
    return tag("table", tag("thead", head), tag("tbody", *rows), class_="cells")


def _reasons(decision: Mapping[str, Any]) -> Markup:
    return tag("ul", *(tag("li", str(reason)) for reason in decision.get("reasons") or ()), class_="reasons")


def _measured(inspection: Mapping[str, Any]) -> list[Markup]:
    by_stage = (inspection.get("similarity") or {}).get("by_stage") or {}
    baselines = inspection.get("baselines") or []
    parts = []
    if by_stage:
        parts.append(
            tag("div", tag("h3", "Distance from the backbone's own pictures, stage by stage"), _stages(by_stage))
        )
    if baselines:
        parts.append(tag("div", tag("h3", "Cross-validated on the training pictures"), _baselines(baselines)))
    return [tag("div", *parts, class_="card columns")] if parts else []


def _members(table: list[Mapping[str, Any]]) -> Markup:
    """What each run that this one was made of brings and costs, and the whole last."""
    rows = [
        tag(
            "tr",
            tag("th", tag("bdi", str(line.get("name", ""))), scope="row"),
            tag("td", share(line.get("accuracy"))),
            tag("td", number(line.get("log_loss"))),
            tag("td", number(line.get("calibration_error"))),
            tag("td", duration(line.get("seconds"))),
            tag("td", size(line.get("size") or 0)),
            tag("td", f"{1000 * (line.get('latency') or 0):.0f} ms"),
        )
        for line in table
    ]
    heads = header(("model", "score", "log loss", "calibration error", "training", "size", "a picture"))
    return tag("div", tag("div", tag("table", heads, tag("tbody", *rows)), class_="scroll"), class_="card")


def _stages(by_stage: Mapping[str, float]) -> Markup:
    largest = max(*by_stage.values(), SIMILAR_BELOW)
    cells = []
    for stage, value in by_stage.items():
        kind = "near" if value < SIMILAR_BELOW else "far"
        cells += [
            tag("div", stage, class_="name"),
            tag("div", tag("span", class_=kind, style=f"width:{100 * value / largest:.1f}%"), class_="bar"),
            tag("div", number(value), class_="number"),
        ]
    words = f"Nats; the median over all layers decides, below {SIMILAR_BELOW} it is similar (blue)."
    return tag("div", tag("div", *cells, class_="bars"), tag("p", words, class_="quiet"))


def _baselines(baselines: list[Mapping[str, Any]]) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", str(found.get("recipe", "")), scope="row"),
            tag("td", f"{share(found.get('accuracy'))} ± {share(found.get('accuracy_error'))}"),
            tag("td", number(found.get("log_loss"))),
        )
        for found in baselines
    ]
    return tag(
        "div",
        tag("table", header(("recipe", "accuracy", "log loss")), tag("tbody", *rows), class_="scores"),
        class_="scroll",
    )
