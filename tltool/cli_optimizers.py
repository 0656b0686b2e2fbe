"""`tltool optimizers`: list them, show one's arguments, race them over a surface and draw it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tltool.errors import OptimizerError
from tltool.seed import LARGEST_SEED

if TYPE_CHECKING:
    from tltool.optimizers.trajectories import Trajectory

RACE = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
SURFACE = "bowl"
STEPS = 100


def optimizers(
    name: Annotated[str | None, typer.Argument(help="An optimizer, to show its arguments; without it, all.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Race, and draw the race to this new file: .png, .gif (moves) or .html (plays).")
    ] = None,
    surface: Annotated[
        str | None,
        typer.Option(help="bowl, saddle, ravine, local-minimum, rosenbrock or beale.", show_default=SURFACE),
    ] = None,
    race: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Who races: comma-separated, repeatable.", show_default=",".join(RACE)),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the race.", show_default=str(STEPS))] = None,
    rate: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Another rate for one of them; repeatable.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Standard deviation of the noise on each slope.", show_default="0")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=LARGEST_SEED, help="Of the noise.", show_default="0")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """List optimizers, show one's arguments, or race them over a surface."""
    if any(option is not None for option in (plot, surface, race, steps, rate, noise, seed)):
        _race(
            names=_names(name, race),
            surface=surface or SURFACE,
            rates=_rates(rate or ()),
            settings={"steps": STEPS if steps is None else steps, "noise": noise or 0.0, "seed": seed or 0},
            plot=plot,
            as_json=as_json,
        )
    elif name is not None:
        _show(name, as_json)
    else:
        _list(as_json)


def _list(as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    from tltool import console
    from tltool.optimizers.catalogue import OPTIMIZERS

    if as_json:
        _print_json({"optimizers": [_entry(name) for name in OPTIMIZERS]})
        return
    table = Table(Column("name", no_wrap=True), "what it does", "when to use it")
    for name, entry in OPTIMIZERS.items():
        table.add_row(f"[bold]{name}[/]", escape(entry.summary), escape(entry.use))
    console.results.print(table)
    console.remark("`tltool optimizers NAME` shows its arguments, `tltool optimizers --plot race.html` how they move.")


def _show(name: str, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from tltool import console
    from tltool.optimizers.catalogue import COMMON, find

    known, entry = find(name)
    with console.progress() as listener:
        console.prepare(listener)
        arguments = _arguments(known)
    if as_json:
        _print_json({**_entry(known), "arguments": arguments})
        return
    console.results.print(f"[bold]{known}[/]: {escape(entry.summary)}\nWhen to use it: {escape(entry.use)}")
    own = Table("argument", "default", "must be")
    common = Table("argument", "default", "must be", title="What every Keras optimizer takes", title_justify="left")
    for argument in arguments:
        table = common if argument["name"] in COMMON else own
        table.add_row(argument["name"], escape(str(argument["default"])), escape(argument["rule"]))
    for table in (own, common):
        if table.row_count:
            console.results.print(table)


def _arguments(name: str) -> list[dict[str, Any]]:
    """Name, default and rule of each argument, the rate first; those that this version of Keras lacks are left out."""
    import importlib
    import inspect

    from tltool.optimizers.catalogue import OPTIMIZERS, get, rules_of

    get(name)  # says so where this version of Keras lacks the whole optimizer
    entry = OPTIMIZERS[name]
    given = inspect.signature(getattr(importlib.import_module(entry.home), entry.class_name)).parameters
    # Ours pass on what every Keras optimizer takes, with the defaults that Keras' own name.
    common = inspect.signature(importlib.import_module("keras").optimizers.SGD).parameters
    rules = {name: rule.words for name, rule in rules_of(entry).items()}
    if not entry.full_batch:
        rules = {"learning_rate": "a number above 0, or a schedule", **rules}
    return [
        {
            "name": argument,
            "default": entry.preset.get(argument, _default({**common, **given}[argument])),
            "rule": words,
        }
        for argument, words in rules.items()
        if argument in given or argument in common
    ]


def _default(parameter: Any) -> Any:
    return None if parameter.default is parameter.empty else parameter.default


def _race(
    names: Sequence[str],
    surface: str,
    rates: Mapping[str, float],
    settings: Mapping[str, Any],
    plot: Path | None,
    as_json: bool,
) -> None:
    from tltool import console
    from tltool.optimizers.race_picture import check_picture, draw_race
    from tltool.optimizers.trajectories import check_race, race

    if plot is not None:
        check_picture(plot)
    racers = check_race(names, surface, rates, **settings)
    with console.progress() as listener:
        console.prepare(listener)
        paths = race(names, surface, rates, **settings, report=console.as_report(listener))
        if plot is not None:
            draw_race(paths, surface, plot)
    if "muon" in racers:
        console.remark("muon: needs a matrix; on two weights it is the AdamW that it uses for all else.")
    if plot is not None:
        console.remark(f"Picture: {plot}")
    if as_json:
        picture = None if plot is None else str(plot)
        _print_json({"surface": surface, **settings, "plot": picture, "paths": [path.to_json() for path in paths]})
    else:
        _show_paths(paths)


def _show_paths(paths: "Sequence[Trajectory]") -> None:
    from rich.table import Table

    from tltool import console

    table = Table("optimizer", "rate", "first loss", "last loss", "")
    for path in paths:
        rate = "its own search" if path.learning_rate is None else f"{path.learning_rate:.4g}"
        last = "" if path.diverged_at is not None else f"{path.losses[-1]:.4g}"
        remark = "" if path.diverged_at is None else f"diverged at step {path.diverged_at}: lower its rate"
        table.add_row(path.name, rate, f"{path.losses[0]:.4g}", last, remark)
    console.results.print(table)


def _names(name: str | None, race: Sequence[str] | None) -> list[str]:
    if name is not None and race:
        raise OptimizerError(f"'{name}' stands beside --race. Add it to the names of --race, or leave --race out.")
    named = [part.strip() for given in race or () for part in given.split(",") if part.strip()]
    return [name] if name is not None else named if race else list(RACE)


def _rates(given: Sequence[str]) -> dict[str, float]:
    rates = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            rates[name.strip()] = float(value)
        except ValueError:
            raise OptimizerError(f"--rate {text}: write NAME=VALUE, such as sgd=0.01.") from None
    return rates


def _entry(name: str) -> dict[str, Any]:
    from tltool.optimizers.catalogue import OPTIMIZERS

    entry = OPTIMIZERS[name]
    return {"name": name, "summary": entry.summary, "use": entry.use, "full_batch": entry.full_batch}


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
