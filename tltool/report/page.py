"""A run's report: one HTML file with all that there is to know of it, that needs neither network nor scripts."""

from pathlib import Path

from tltool.data.dataset import PARTS
from tltool.doctor.findings import counted
from tltool.doctor.markup import Markup, tag
from tltool.errors import DataError, RunError, TltoolError
from tltool.files import check_new, write_text
from tltool.progress import Report, silent
from tltool.report.answers import Answers, answers_of
from tltool.report.classes import classes_section
from tltool.report.closer_look import CloserLook, look_closer
from tltool.report.confusion import confusion_section
from tltool.report.document import document
from tltool.report.evidence import Evidence, gather
from tltool.report.gallery import mistakes_section
from tltool.report.origin import origin_section
from tltool.report.pictures import data_section
from tltool.report.scores import headline, metrics_section
from tltool.report.training import training_section
from tltool.report.trust import curves_section, trust_section
from tltool.report.verdict import decision_section
from tltool.run import Run

CHAPTERS = {
    "score": "Score",
    "confusion": "Confusion",
    "classes": "Classes",
    "trust": "Trust",
    "curves": "Trade-offs",
    "mistakes": "Mistakes",
    "scores": "All scores",
    "data": "Data",
    "decision": "Decision",
    "training": "Training",
    "again": "Do it again",
}


def write_report(run: Run, report: Report = silent, out: Path | None = None) -> Path:
    """Writes what there is to know of a finished run, for people, into one file.

    Args:
        run: Done. Where its pictures have been moved away, or files of its folder are missing, the report says what it
            lacks and why.
        report: Told how many pictures are done.
        out: A new file; `report.html` in the run's folder where None, which is written anew.

    Returns:
        The file.

    Raises:
        RunError: if the run is not done, or the file cannot be written.
        TltoolError: if `out` exists already.
    """
    if out is not None:
        check_new(out, "another --out")
    evidence = gather(run)
    remarks, answers, looks = _ask(evidence, report)
    path = run.folder.report if out is None else out
    try:
        write_text(path, page(evidence, answers, looks, remarks))
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}). Give another --out.") from None
    return path


def _ask(
    evidence: Evidence, report: Report
) -> tuple[list[str], Answers | None, tuple[list[CloserLook], list[CloserLook]]]:
    """What the model says of the held-out pictures, and what could not be asked, in words."""
    data, nothing = evidence.data, ([], [])
    if data is None:
        return ["The index of the data set cannot be read, so no pictures are shown."], None, nothing
    try:
        answers = answers_of(evidence.run, report)
        if answers is None:
            raise DataError(f"none of the {len(data.indices(PARTS[2]))} held-out pictures can be read at {data.root}")
        looks = look_closer(evidence.run.model, answers)
    except TltoolError as error:
        reason = str(error).rstrip(".")
        words = f"What needs the pictures is missing here: {reason}. Put them back, and `tltool report` shows it."
        return [words], None, nothing
    remarks = []
    if answers.missing:
        number = counted(answers.missing, "held-out picture")
        remarks.append(
            f"{number} can no longer be read: curves and mistakes are those of the other {len(answers.rows)}."
        )
    return remarks, answers, looks


def page(
    evidence: Evidence,
    answers: Answers | None,
    looks: tuple[list[CloserLook], list[CloserLook]],
    remarks: list[str],
) -> str:
    """The whole page."""
    metrics = evidence.metrics
    sections = {
        "score": headline(evidence),
        "confusion": confusion_section(metrics),
        "classes": classes_section(metrics),
        "trust": trust_section(evidence, answers) if answers else None,
        "curves": curves_section(answers) if answers else None,
        "mistakes": mistakes_section(answers, *looks, evidence.run.labels.threshold) if answers else None,
        "scores": metrics_section(evidence),
        "data": data_section(evidence),
        "decision": decision_section(evidence),
        "training": training_section(evidence),
        "again": origin_section(evidence),
    }
    shown = {name: section for name, section in sections.items() if section is not None}
    links = [tag("a", CHAPTERS[name], href=f"#{name}") for name in shown]
    score, *rest = shown.values()
    warnings = [*_warnings(evidence), *remarks]
    title = f"{evidence.name}: {evidence.recipe_name}"
    told = tag("div", *(tag("p", words) for words in warnings), class_="card finding warning") if warnings else None
    return document(title, _head(evidence), tag("nav", *links), score, told, *rest)


def _head(evidence: Evidence) -> Markup:
    about = tag("p", f"{evidence.recipe_name} · ", tag("bdi", str(evidence.run.path)), class_="quiet")
    return tag("header", tag("h1", tag("bdi", evidence.name)), about)


def _warnings(evidence: Evidence) -> list[str]:
    """What keeps the score from meaning what it seems to."""
    found = list(evidence.metrics.warnings)
    leaked, clean = evidence.run.leaked, evidence.run.metrics_without_leaks
    if leaked:
        them = f"{counted(leaked, 'held-out picture has', 'held-out pictures have')} a copy among what was learned from"
        found.append(f"{them}: the score without {'it' if leaked == 1 else 'them'} is below." if clean else f"{them}.")
    return found
