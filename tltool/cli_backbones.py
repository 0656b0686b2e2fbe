"""`tltool backbones`: list them, and rank them on your pictures."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.cli_options import AsJson, Columns, Data, Seed, Settings, load

if TYPE_CHECKING:
    from tltool.inspection.ranking import Ranking

backbones_app = typer.Typer(help="List backbones, and rank them on your pictures.", invoke_without_command=True)


@backbones_app.callback()
def backbones_default(context: typer.Context) -> None:
    """List backbones, unless another command is named."""
    if context.invoked_subcommand is None:
        list_backbones()


@backbones_app.command("list")
def list_backbones(as_json: AsJson = False) -> None:
    """Names, sizes and licences; those whose weights are on this machine come first."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Column, Table

    from tltool.backbones.offers import offers
    from tltool.console import remark, results

    found = offers()
    if as_json:
        print(json.dumps({"backbones": [offer.to_json() for offer in found]}, indent=1, ensure_ascii=False))
        return
    numbers = [Column(name, justify="right", no_wrap=True) for name in ("parameters", "MB", "pixels")]
    table = Table(Column("backbone", no_wrap=True), *numbers, "weights", box=SIMPLE_HEAD, pad_edge=False)
    for offer in found:
        name = f"[bold]{offer.name}[/]" if offer.offline else offer.name
        sizes = f"{offer.parameters / 1e6:.1f} M", f"{offer.megabytes:.0f}", str(offer.image_size)
        table.add_row(name, *sizes, escape(offer.how))
    results.print(table)
    for licence in dict.fromkeys(offer.licence for offer in found):
        first = next(offer.name for offer in found if offer.licence == licence)
        results.print(escape(f"{first} and its like: {licence}"), style="dim")
    remark("In bold: ready on this machine. `tltool backbones rank DATA` compares those on your pictures.")


@backbones_app.command("rank")
def rank(
    data: Data,
    backbones: Annotated[
        str | None, typer.Option(help="Comma-separated names; without it all whose weights are on this machine.")
    ] = None,
    seed: Seed = 0,
    settings: Settings = None,
    columns: Columns = None,
    as_json: AsJson = False,
) -> None:
    """Cross-validate a probe on each backbone's features of your pictures, and say which one to take."""
    from tltool import console

    names = None if backbones is None else [name.strip() for name in backbones.split(",") if name.strip()]
    with console.progress() as listener:
        report = console.as_report(listener)
        loaded = load(data, columns, report, seed)
        console.prepare(listener)
        from tltool import pipeline

        ranking = pipeline.rank_backbones(loaded, names, seed=seed, settings=settings or (), report=report)
    if as_json:
        print(json.dumps(ranking.to_json(), indent=1))
    else:
        show(ranking, data)


def show(ranking: "Ranking", data: str) -> None:
    """Prints a table, the best by log loss first, and the pick."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from tltool.console import remark, results

    title = f"Linear probes, cross-validated on {ranking.pictures} pictures"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for head in ("backbone", "accuracy, %", "log loss", "behind", "LogME", "ms", "MB"):
        table.add_column(head, no_wrap=True, justify="left" if head == "backbone" else "right")
    for each in ranking.backbones:
        table.add_row(
            f"[bold]{each.name}[/]" if each.name == ranking.pick else each.name,
            f"{each.accuracy * 100:.1f} ± {each.accuracy_error * 100:.1f}",
            f"{each.log_loss:.3f}",
            "" if each is ranking.backbones[0] else f"{each.behind:.3f} ± {each.behind_error:.3f}",
            f"{each.log_evidence:.3f}",
            f"{each.milliseconds:.1f}",
            f"{each.megabytes:.1f}",
        )
    results.print(table)
    results.print(escape(ranking.reason))
    remark("Behind: log loss more than the best one's, on the same pictures. ms: a picture, once decoded. MB: weights.")
    remark(*(f"Left out: {name}: {why}" for name, why in ranking.left_out.items()))
    remark(f"`tltool fit {data} --set backbone={ranking.pick}` trains with it; backbone=auto ranks and takes the pick.")
