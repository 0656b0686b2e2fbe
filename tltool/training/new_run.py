"""Everything that can be checked before a run is made, and the folder with all that carrying it out takes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tltool.backbones.hub import whole_name
from tltool.data import Dataset
from tltool.data.listing import would_join
from tltool.decision import TABLE
from tltool.errors import RecipeError, RunError
from tltool.files import write_json
from tltool.recipes import Recipe, load_recipe
from tltool.training.mlflow_log import check_mlflow, whole_address
from tltool.training.request import Request
from tltool.training.run_folder import RunFolder, create_run, new_run_path

RUNS = Path("runs")


def new_run(
    data: Dataset,
    recipe: str | Path | Recipe | None,
    *,
    out: str | Path | None,
    seed: int,
    settings: Sequence[str],
    budget: float | None,
    mlflow: str | None = None,
    searching: bool = False,
    trials: int | None = None,
) -> RunFolder:
    """Makes a run that waits for a process; nothing is made where a check fails.

    Args:
        data: Its index, with the split, goes into the folder.
        recipe: A shipped recipe's name, a TOML file, or a `Recipe`; None to let the table decide.
        out: The run's folder, new or empty; `runs/NAME-N` where None.
        seed: Of the folds and the order of the pictures.
        settings: Changes to the recipe such as "head.folds=3".
        budget: Seconds that carrying it out may take; None for no bound.
        mlflow: Address of an MLflow tracking server, or a folder.
        searching, trials: As in `Request`.

    Raises:
        RecipeError: if recipe or settings cannot be used.
        RunError: if the folder is taken, lies in the data set, or cannot be made.
        TltoolError: if MLflow is asked for and missing.
    """
    chosen = recipe_of(recipe, settings)
    # Whoever carries it out, or goes on with it, may stand in another folder.
    if chosen is not None:
        names = {"backbone": whole_name(chosen.backbone), "backbones": tuple(map(whole_name, chosen.backbones))}
        chosen = chosen.model_copy(update={"weights": _whole_path(chosen.weights)} | names)
    settings = [_whole_setting(*setting.partition("=")) for setting in settings]
    parent = RUNS if out is None else Path(out)
    if would_join(data, parent):
        raise RunError(
            f"{parent}: lies inside the data set, which it would spoil. Give an --out outside of {data.root}."
        )
    if mlflow is not None:
        check_mlflow(mlflow)
        mlflow = whole_address(mlflow)
    request = Request(chosen.to_toml() if chosen else None, tuple(settings), seed, budget, mlflow, searching, trials)
    path = new_run_path(data.name, RUNS) if out is None else Path(out)
    run = create_run(path, path.name, chosen.name if chosen else "decided by the table", seed)
    try:
        write_json(run.request, request.to_json())
        write_json(run.data, replace(data, root=data.root.absolute()).to_json())
    except OSError as error:
        raise RunError(f"{path}: the run cannot be written there ({error.strerror}). Give another --out.") from None
    return run


def recipe_of(recipe: str | Path | Recipe | None, settings: Sequence[str]) -> Recipe | None:
    """The recipe with its changes; None where the table decides.

    Raises:
        RecipeError: if it cannot be used, or the changes suit no recipe that the table may pick.
    """
    if isinstance(recipe, Recipe):
        if settings:
            raise RecipeError("Settings change a recipe given by name or file; change the Recipe object itself.")
        return recipe
    if recipe is None:
        check_settings(settings)
        asked = {setting.partition("=")[0].strip().partition(".")[0] for setting in settings}
        if "members" in asked:
            raise RecipeError("Members are of one recipe, and the table has not picked it yet. Name a --recipe.")
        if "backbones" in asked:
            raise RecipeError(
                "Several backbones are read by one probe; the table is for one. Name --recipe joined-probe."
            )
        return None
    return load_recipe(recipe, settings)


def _whole_setting(key: str, equals: str, value: str) -> str:
    if key.strip() == "weights":
        return f"weights={_whole_path(value.strip())}"
    if key.strip() == "backbone":
        return f"backbone={whole_name(value.strip())}"
    return f"{key}{equals}{value}"


def _whole_path(weights: str) -> str:
    """Of a file; other words are left as they are."""
    return str(Path(weights).absolute()) if Path(weights).is_file() else weights


def check_settings(settings: Sequence[str]) -> None:
    """Raises RecipeError for a setting that suits none of the recipes that the table may pick, before any work."""
    for setting in settings:
        fault = None
        for name in TABLE.values():
            try:
                load_recipe(name, [setting])
            except RecipeError as error:
                fault = error
            else:
                break
        else:
            raise fault
