"""`tltool recipes`: list, show, copy and check recipes."""

from pathlib import Path
from typing import Annotated

import typer

recipes_app = typer.Typer(help="List, show, copy and check recipes.", invoke_without_command=True)


@recipes_app.callback()
def recipes_default(context: typer.Context) -> None:
    """List recipes, unless another command is named."""
    if context.invoked_subcommand is None:
        recipes_list()


@recipes_app.command("list")
def recipes_list() -> None:
    """Names and summaries of the recipes that ship with tltool."""
    from tltool import console
    from tltool.recipes import load_recipe, recipe_files

    console.show_recipes([load_recipe(path) for path in recipe_files().values()])


@recipes_app.command("show")
def recipes_show(name: Annotated[str, typer.Argument(help="A recipe's name or file.")]) -> None:
    """Print a recipe with its comments."""
    from tltool.recipes import find_recipe, load_recipe

    load_recipe(name)
    print(find_recipe(name).read_text("utf-8"), end="")


@recipes_app.command("copy")
def recipes_copy(
    name: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    file: Annotated[Path, typer.Argument(help="The new file; an existing one is not overwritten.")],
) -> None:
    """Copy a recipe to a file of your own."""
    from tltool.recipes import copy_recipe

    print(copy_recipe(name, file))


@recipes_app.command("check")
def recipes_check(file: Annotated[str, typer.Argument(help="A recipe's name or file.")]) -> None:
    """Check a recipe; every fault is told at once."""
    from tltool.recipes import load_recipe

    recipe = load_recipe(file)
    print(f"{file}: recipe '{recipe.name}' is complete and valid.")
