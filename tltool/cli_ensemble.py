"""`tltool ensemble`: finished runs as one model."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from tltool.cli_options import AsJson

if TYPE_CHECKING:
    from tltool.ensembles.diversity import Diversity
    from tltool.ensembles.ensemble import Ensemble
    from tltool.ensembles.soup_of_runs import Soup


class Kind(StrEnum):
    AVERAGE = "average"
    SOUP = "soup"


def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs with the same classes, two or more.")],
    out: Annotated[
        Path | None, typer.Option(help="The new run's folder, new or empty; runs/ensemble-N by default.")
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="The mean of the probabilities of any runs; or the mean of the weights of fine-tuned ones that share "
            "a start, as small and fast as one."
        ),
    ] = Kind.AVERAGE,
    as_json: AsJson = False,
) -> None:
    """Make one model of finished runs, and say what it brings and what it costs."""
    from tltool import console
    from tltool.training.run_folder import RunFolder

    for run in runs:
        RunFolder(run).require_done()  # before Keras is loaded, which takes seconds
    with console.progress() as listener:
        console.prepare(listener)
        from tltool import pipeline

        made = pipeline.ensemble(runs, kind=kind.value, out=out, report=console.as_report(listener))
    if as_json:
        print(json.dumps(made.to_json(), indent=1, ensure_ascii=False))
    else:
        _show(made)


def _show(made: "Ensemble | Soup") -> None:
    from tltool import console

    console.results.print(f"Run: {escape(str(made.run.path))}")
    console.results.print(f"Report: {escape(str(made.run.folder.report))}")
    accuracy = "top-1" if made.run.labels.threshold is None else "mAP"
    heads = accuracy, "log loss", "calibration error", "training", "size", "a picture"
    table = Table(Column("model", no_wrap=True), *heads)
    for price in (*made.members, made.whole):
        table.add_row(escape(price.name), *price.cells)
    console.results.print(table)
    console.results.print(escape(made.in_words()))
    temperature = str(made.temperature)
    console.results.print(f"{temperature[0].upper()}{escape(temperature[1:])}.")
    if hasattr(made, "diversity"):
        _show_diversity(made.diversity)


def _show_diversity(diversity: "Diversity") -> None:
    from tltool import console

    console.results.print(
        f"Entropy {diversity.entropy:.3f} nats a picture, of which {diversity.mutual_information:.3f} are the members' "
        "being of different minds."
    )
    table = Table(Column("most uncertain", no_wrap=True), "answer", "disagreement", "entropy", "mutual information")
    for unsure in diversity.most_uncertain:
        numbers = f"{unsure.disagreement:.0%}", f"{unsure.entropy:.3f}", f"{unsure.mutual_information:.3f}"
        table.add_row(escape(unsure.file), escape(unsure.said), *numbers)
    console.results.print(table)
