"""How the command line shows progress and results: progress and remarks on standard error, results on the other."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tltool.progress import Report
from tltool.startup import load_keras_quietly

if TYPE_CHECKING:
    from tltool.decision import Decision
    from tltool.doctor.diagnosis import Diagnosis
    from tltool.doctor.findings import Finding
    from tltool.evaluation.evaluate import CertaintyScores
    from tltool.evaluation.metrics import Metrics
    from tltool.evaluation.multi_label import MultiLabelMetrics
    from tltool.export.predictor import Prediction
    from tltool.inspection.inspection import Inspection
    from tltool.recipes import Recipe
    from tltool.run import Run

Listener = Callable[[dict[str, Any]], None]
# Without emoji=False a file called ":cat:.png" is shown as a cat.
results = Console(soft_wrap=True, highlight=False, emoji=False)
remarks = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


@contextmanager
def progress() -> Iterator[Listener]:
    """Bars with the time left for each task; yields a listener for a run's events."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=remarks, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def listen(event: dict[str, Any]) -> None:
            kind = event["event"]
            if kind == "progress":
                name = event["task"]
                if name not in tasks:
                    tasks[name] = bars.add_task(escape(name), total=event["total"])
                bars.update(tasks[name], completed=event["done"], total=event["total"])
            elif kind in ("stage", "note"):
                bars.console.print(escape(event["text"]), style="bold" if kind == "stage" else "dim")
            elif kind == "decision":
                used = "" if event["used"] == event["recipe"] else f" (you asked for {event['used']})"
                bars.console.print(escape(f"Decision: {event['cell']}: {event['recipe']}{used}"), style="bold")
                for reason in event["reasons"]:
                    bars.console.print(f"  {escape(reason)}", style="dim")
            elif kind == "epoch":
                bars.console.print(
                    f"  {escape(event['stage'])}, epoch {event['epoch']}: loss {event['loss']:.4f}, "
                    f"validation log loss {event['valid_log_loss']:.4f}",
                    style="dim",
                )

        yield listen


def as_report(listener: Listener) -> Report:
    """A report that is shown as a bar."""
    return lambda task, done, total: listener({"event": "progress", "task": task, "done": done, "total": total})


def prepare(listener: Listener) -> None:
    """Loads Keras, which takes seconds, and says so."""
    listener({"event": "stage", "text": "Starting Keras"})
    load_keras_quietly()


def remark(*lines: str) -> None:
    """Prints lines to standard error."""
    for line in lines:
        remarks.print(escape(line))


def show_inspection(facts: "Inspection", decision: "Decision | None") -> None:
    """Prints facts and, where there is a decision, the table with the data set's cell in it and the reasons."""
    from tltool.decision import TABLE

    results.print(f"[bold]{escape(facts.source)}[/]: {facts.health.readable} readable pictures")
    for problem in facts.health.problems:
        results.print(f"  left out: {escape(str(problem))}")
    for note in facts.health.notes:
        results.print(f"  {escape(note)}")
    told = {problem.path for problem in facts.health.problems}
    findings = [finding for finding in facts.health.findings if not finding.files or set(finding.files) - told]
    show_findings(findings)
    if findings:
        remark(f"`tltool doctor {facts.source} --html FILE` shows all of it with pictures.")
    counts = Table("class", "training pictures", title="Size", title_justify="left")
    for name, count in facts.size.per_class.items():
        counts.add_row(escape(name), str(count))
    results.print(counts)
    if decision is None:
        return
    if facts.similarity and facts.similarity.by_stage:
        stages = Table("stage", "divergence", title="Distance from ImageNet by stage (nats)", title_justify="left")
        for stage, divergence in facts.similarity.by_stage.items():
            stages.add_row(stage, f"{divergence:.3f}")
        results.print(stages)
    table = Table("", "similar", "different", title="Data-set size x similarity", title_justify="left")
    for amount in ("little", "a lot"):
        cells = []
        for kinship in ("similar", "different"):
            here = (amount, kinship) == (decision.amount, decision.kinship)
            name = TABLE[amount, kinship]  # type: ignore[index]
            cells.append(f"[bold]> {name} <[/]" if here else name)
        table.add_row(amount, *cells)
    results.print(table)
    for reason in decision.reasons:
        results.print(f"- {escape(reason)}")
    results.print(f"Recipe: [bold]{decision.recipe}[/]")


def show_diagnosis(diagnosis: "Diagnosis") -> None:
    """Prints what the doctor found, with the first files of each finding."""
    data = diagnosis.checkup.data
    results.print(f"[bold]{escape(data.source)}[/]: {len(data)} readable pictures, {len(data.class_names)} classes")
    for note in data.notes:
        results.print(f"  {escape(note)}")
    show_findings(diagnosis.findings)
    if not diagnosis.findings:
        results.print("Nothing is wrong with it.")
    else:
        remark("--html FILE shows all of it with pictures, --json lists every file.")


def show_findings(findings: "Sequence[Finding]") -> None:
    """Prints each finding with its first files and what to do about it."""
    for finding in findings:
        style = {"error": "bold red", "warning": "yellow", "note": "dim"}[finding.severity]
        results.print(f"[{style}]{finding.severity}[/] {escape(finding.message)}")
        for line in finding.lines():
            results.print(f"    {escape(line)}")
        if finding.fix:
            results.print(f"    [dim]{escape(finding.fix)}[/]")


def show_run(run: "Run") -> None:
    """Prints where the run lies and how good it is."""
    results.print(f"Run: {escape(str(run.path))}")
    results.print(f"Recipe: {escape(run.decision['used'])}")
    if run.folder.report.exists():
        results.print(f"Report: {escape(str(run.folder.report))}")
    if run.tuning is not None:
        results.print(str(run.tuning))
    show_metrics(run.metrics, run.certainty_scores)
    if run.metrics_without_leaks is not None:
        results.print(f"Without the {run.leaked} of them that leaked: {run.metrics_without_leaks}")
    elif run.leaked:
        results.print(f"All {run.leaked} of them leaked: it learned from copies, so this says nothing of new pictures.")
    if run.searched:
        remark(f"`tltool fit {run.data.source} --recipe {run.folder.recipe}` trains by the same numbers again.")


def show_metrics(metrics: "Metrics | MultiLabelMetrics", certainty: "CertaintyScores") -> None:
    """Prints scores and, for up to 12 classes, the confusion matrix or the scores by class."""
    results.print(f"Held out: {metrics}")
    remark(*metrics.warnings)
    if said := str(certainty):
        results.print(said)
    if len(metrics.class_names) > 12:
        return
    if hasattr(metrics, "confusion"):
        table = Table("true \\ predicted", *map(escape, metrics.class_names), title="Confusion", title_justify="left")
        for name, row in zip(metrics.class_names, metrics.confusion, strict=True):
            right = metrics.class_names.index(name)
            table.add_row(escape(name), *(f"[bold]{n}[/]" if i == right else str(n) for i, n in enumerate(row)))
    else:
        table = Table("class", "pictures", "average precision", "precision", "recall", title="Classes")
        rows = zip(metrics.support, metrics.average_precision, metrics.precision, metrics.recall, strict=True)
        for name, (support, *shares) in zip(metrics.class_names, rows, strict=True):
            shown = ("" if share is None else f"{share:.1%}" for share in shares)
            table.add_row(escape(name), str(support), *shown)
    results.print(table)


def show_runs(states: Sequence[dict[str, Any]], folder: Any) -> None:
    """Prints a table of runs."""
    if not states:
        remark(f"No runs in {folder}. `tltool fit DATA` makes one.")
        return
    table = Table("run", "state", "recipe", "score", "seconds")
    for state in states:
        scores = (("top1", "top-1"), ("mean_average_precision", "mAP"))
        score = " ".join(f"{state[key]:.1%} {name}" for key, name in scores if state.get(key) is not None)
        seconds = f"{state['seconds']:.0f}" if state.get("seconds") is not None else ""
        table.add_row(escape(state["folder"]), state["state"], escape(state["recipe"]), score, seconds)
    results.print(table)


def show_recipes(recipes: Sequence["Recipe"]) -> None:
    """Prints names and summaries, one a line."""
    width = max(len(recipe.name) for recipe in recipes)
    for recipe in recipes:
        results.print(f"[bold]{escape(recipe.name):{width}}[/]  {escape(recipe.summary)}")


def show_predictions(predictions: Sequence["Prediction"]) -> None:
    """Prints path, label, confidence, set and whether it is known, one picture a line, separated by tabs."""
    for prediction in predictions:
        # Not through Rich, which turns tabs into spaces; and not every terminal takes a name that is not valid UTF-8.
        path = str(prediction.path).encode(errors="backslashreplace").decode()
        likely = ", ".join(prediction.label_set or ())
        known = {True: "known", False: "unknown", None: ""}[prediction.known]
        print(path, prediction.label, f"{prediction.confidence:.4f}", likely, known, sep="\t")
