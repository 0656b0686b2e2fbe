"""`tltool augment`: list policies and steps, show one as a table, look at what it does to pictures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tltool.cli_options import Columns, Data, Seed, Settings, load
from tltool.errors import TltoolError
from tltool.files import check_new

augment_app = typer.Typer(help="List policies of augmentation, and see what they do.", invoke_without_command=True)


@augment_app.callback()
def augment_default(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """List policies and steps, unless another command is named."""
    if context.invoked_subcommand is None:
        _list(as_json)


def _list(as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    from tltool import console
    from tltool.augment.policies import POLICIES
    from tltool.augment.steps import STEPS

    if as_json:
        ranges = {
            name: {each.name: [each.lowest, each.highest, each.meaning] for each in rule.magnitudes}
            for name, rule in STEPS.items()
        }
        print(json.dumps({"policies": POLICIES, "steps": ranges}, default=dict, indent=1))
        return
    policies = Table(Column("policy", no_wrap=True), "steps")
    for name, table in POLICIES.items():
        policies.add_row(f"[bold]{name}[/]", ", ".join(table) or "nothing is done")
    steps = Table(
        Column("step", no_wrap=True), Column("from", justify="right"), Column("to", justify="right"), "of what"
    )
    for name, rule in STEPS.items():
        for each in rule.magnitudes:
            if each is rule.main:
                steps.add_row(f"[bold]{name}[/]", f"{each.lowest:g}", f"{each.highest:g}", escape(each.meaning))
            elif each.name != "chance":
                meaning = escape(f"{each.meaning}; {each.default:g} if not given")
                steps.add_row(f"{name}.{each.name}", f"{each.lowest:g}", f"{each.highest:g}", meaning)
    console.results.print(policies, steps)
    console.remark(
        "A recipe names one, or writes its own: augmentation = { rotate = 10, blur = { sigma = 1.0, chance = 0.2 } }",
        "`tltool augment show NAME` prints one so; `tltool augment preview DATA` shows what it does to your pictures.",
    )


@augment_app.command("show")
def augment_show(name: Annotated[str, typer.Argument(help="A policy's name.")]) -> None:
    """Print a policy as a table for a recipe of your own."""
    from tltool.augment.policies import POLICIES, read_policy

    print(f"augmentation = {_inline(POLICIES[read_policy(name).name])}")


def _inline(value: Any) -> str:
    """A table as TOML on one line, which keeps the order of its steps."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_inline(each)}" for key, each in value.items()) + "}"
    return str(value)


@augment_app.command("preview")
def augment_preview(
    data: Data,
    out: Annotated[Path, typer.Option(help="The new picture: .png, .jpg or .webp.")] = Path("augmentation.png"),
    recipe: Annotated[
        str | None, typer.Option(help="A recipe's name or file; without it what the table decides.")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="A policy's name, in the place of the recipe's.")] = None,
    rows: Annotated[int, typer.Option(min=1, max=50, help="Pictures, taken from all classes in turn.")] = 6,
    draws: Annotated[int, typer.Option(min=1, max=50, help="Draws of each, beside the original.")] = 7,
    seed: Seed = 0,
    settings: Settings = None,
    columns: Columns = None,
) -> None:
    """Draw pictures as training will see them: a row a picture, the original first."""
    from tltool import console

    check_new(out, "another --out")
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise TltoolError(f"--out {out}: a picture ends in .png, .jpg or .webp.")
    with console.progress() as listener:
        report = console.as_report(listener)
        loaded = load(data, columns, report, seed)
        console.prepare(listener)
        from tltool import pipeline
        from tltool.augment.grid import draw_grid

        seen = pipeline.preview(
            loaded, recipe, policy=policy, rows=rows, draws=draws, seed=seed, settings=settings or (), report=report
        )
    try:
        draw_grid(seen.grid, ["original", *(f"draw {number}" for number in range(1, draws + 1))]).save(out)
    except OSError as error:
        raise TltoolError(f"{out}: cannot be written ({error.strerror or error}). Give another --out.") from None
    console.remark(*seen.reasons, f"Policy: {seen.policy.name}.")
    print(out)
