"""`tltool compare`: finished runs side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli_options import AsJson
from tltool.files import check_new

if TYPE_CHECKING:
    from tltool.report.side_by_side import SideBySide


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two or more finished runs with the same classes.")],
    html: Annotated[Path | None, typer.Option(help="Write a page to this new file as well.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score runs on the pictures that all of them held out, and say whether one is better."""
    from tltool import console
    from tltool.training.run_folder import RunFolder

    for run in runs:
        RunFolder(run).require_done()  # before Keras is loaded, which takes seconds
    if html is not None:
        check_new(html, "another --html")
    with console.progress() as listener:
        console.prepare(listener)
        from tltool.report.side_by_side import put_side_by_side
        from tltool.report.side_page import write_side_page
        from tltool.run import open_run

        found = put_side_by_side([open_run(run) for run in runs], console.as_report(listener))
        if html is not None:
            write_side_page(found, html)
    if html is not None:
        console.remark(f"Page: {html}")
    if as_json:
        print(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
    else:
        show(found)


def show(found: "SideBySide") -> None:
    """Prints the runs, what differs in their recipes, and the comparisons in words."""
    from rich.markup import escape
    from rich.table import Table

    from tltool.console import remark, results
    from tltool.report.scores import main_interval
    from tltool.report.words import between, duration, number, share, size

    name = "top-1" if hasattr(found.sides[0].metrics, "top1") else "mAP"
    heads = ("run", "recipe", f"{name} (95 % interval)", "log loss", "time", "model")
    table = Table(*heads, title=f"On {found.pictures} pictures that all held out", title_justify="left")
    for position, side in enumerate(found.sides):
        table.add_row(
            f"[bold]{escape(side.name)}[/]" if position == found.best else escape(side.name),
            escape(side.recipe),
            f"{share(side.score)} ({between(main_interval(side.metrics))})",
            number(side.metrics.log_loss),
            duration(side.seconds),
            size(side.size),
        )
    results.print(table)
    if found.differences:
        recipes = Table("recipe", *(escape(side.name) for side in found.sides))
        for key, values in found.differences.items():
            recipes.add_row(escape(key), *map(escape, values))
        results.print(recipes)
    for words in found.verdicts:
        results.print(escape(words))
    remark(*found.notes)
