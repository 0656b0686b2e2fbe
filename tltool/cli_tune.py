"""`tltool tune`: search the numbers of a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli_options import Columns, Data, Seed, Settings, load, parse_time
from tltool.errors import TltoolError


def tune(
    data: Data,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or file; without it the table decides.")] = None,
    budget: Annotated[str, typer.Option(metavar="TIME", help="Such as 90s, 10m or 2h.")] = "30m",
    trials: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many trials, if the budget holds them.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder, new or empty; runs/NAME-N by default.")] = None,
    seed: Seed = 0,
    settings: Settings = None,
    columns: Columns = None,
) -> None:
    """Search a recipe's rate, layer decay, depth and strength of augmentation; keep the best classifier."""
    from importlib.util import find_spec

    from tltool import console

    seconds = parse_time(budget)
    if find_spec("optuna") is None:
        raise TltoolError('The search needs Optuna: `pip install "tltool[tune]"`.')
    with console.progress() as listener:
        loaded = load(data, columns, console.as_report(listener), seed)
        console.prepare(listener)
        from tltool import pipeline

        about = {"budget": seconds, "trials": trials, "seed": seed, "settings": settings or ()}
        run = pipeline.tune(loaded, recipe, out=out, **about, listener=listener)
    console.show_run(run)
