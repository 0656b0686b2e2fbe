"""The command line. Results go to standard output, progress and remarks to standard error."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tltool.errors import TltoolError
from tltool.seed import LARGEST_SEED


class _Commands(TyperGroup):
    """Typer alone answers an interrupt without a word, and with a status that depends on its version."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("tltool: stopped.", file=sys.stderr)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="tltool",
    cls=_Commands,
    help="Turns a folder of pictures into a fine-tuned classifier, and says why it trained it the way it did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
recipes_app = typer.Typer(help="List, show, copy and check recipes.", invoke_without_command=True)
app.add_typer(recipes_app, name="recipes")

Data = Annotated[str, typer.Argument(help="A folder of class folders, one with train/valid/test parts, or a .zip.")]
RunPath = Annotated[Path, typer.Argument(help="A run's folder.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe's value; repeatable.")
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the split, the folds and the order of pictures.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def main() -> None:
    """Runs a command; a user's mistake is one clear message and status 2."""
    try:
        app()
    except TltoolError as error:
        print(f"tltool: {error}", file=sys.stderr)
        sys.exit(2)


def run_and_leave() -> None:
    """The installed command: like `main`, but without the second that TensorFlow takes to dismantle itself."""
    try:
        main()
        status: Any = 0
    except SystemExit as leaving:
        status = leaving.code
    if status not in (None, 0, 1, 2):
        raise SystemExit(status)
    # Every file is closed by now. Not where an error is on its way: its traceback is printed by the interpreter.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


@app.command()
def demo(
    out: Annotated[Path | None, typer.Option(help="Folder to work in, new or empty; demo-N by default.")] = None,
) -> None:
    """A real small data set from start to finish: inspect, decide, fit, evaluate, export, predict."""
    from tltool.cli_demo import run_demo

    run_demo(out)


@app.command()
def inspect(data: Data, seed: Seed = 0, settings: Settings = None, as_json: AsJson = False) -> None:
    """Measure health, size and similarity, and say which recipe follows."""
    from tltool import console

    with console.progress() as listener:
        console.prepare(listener)
        from tltool import pipeline

        facts = pipeline.inspect(data, seed=seed, settings=settings or (), report=console.as_report(listener))
        plan = pipeline.recommend(facts)
    if as_json:
        print(json.dumps(facts.to_json() | {"decision": plan.decision.to_json()}, indent=1, ensure_ascii=False))
    else:
        console.show_inspection(facts, plan.decision)


@app.command()
def fit(
    data: Data,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or file; without it the table decides.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder, new or empty; runs/NAME-N by default.")] = None,
    seed: Seed = 0,
    settings: Settings = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Such as 90s, 10m or 2h; fine-tuning is shortened to fit.")
    ] = None,
) -> None:
    """Train a classifier and write everything about it into a run folder."""
    from tltool import console

    seconds = parse_time(budget) if budget is not None else None
    with console.progress() as listener:
        console.prepare(listener)
        from tltool import pipeline

        run = pipeline.fit(data, recipe, out=out, seed=seed, settings=settings or (), budget=seconds, listener=listener)
    console.show_run(run)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="The folder that holds runs.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List runs with their state, recipe and score."""
    from tltool import console
    from tltool.training.run_folder import list_runs

    states = [{"folder": str(run.path)} | run.read_state() for run in list_runs(folder)]
    if as_json:
        print(json.dumps({"runs": states}, indent=1, ensure_ascii=False))
    else:
        console.show_runs(states, folder)


@app.command()
def evaluate(run: RunPath, data: Data, as_json: AsJson = False) -> None:
    """Score a run on labelled pictures that it has not learned from."""
    from tltool import console

    with console.progress() as listener:
        console.prepare(listener)
        from tltool import pipeline

        result = pipeline.evaluate(pipeline.open_run(run), data, console.as_report(listener))
    console.remark(*(f"Left out: {problem}" for problem in result.problems))
    if result.seen:
        console.remark(f"{result.seen} pictures are left out: the run has learned from them.")
    if as_json:
        print(json.dumps(result.metrics.to_json() | {"left_out_as_seen": result.seen}, indent=1, ensure_ascii=False))
    else:
        console.show_metrics(result.metrics)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run, an exported bundle or a .keras file.")],
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    csv: Annotated[Path | None, typer.Option(help="Write path, label and probabilities to this new file.")] = None,
) -> None:
    """Classify pictures."""
    from tltool import console
    from tltool.export.predictor import load_model, write_csv

    if csv is not None:
        _check_new(csv)
    predictor = load_model(model)
    with console.progress() as listener:
        console.prepare(listener)
        predictions, problems = predictor.try_predict(paths, console.as_report(listener))
    console.remark(*(f"Left out: {problem}" for problem in problems))
    if not predictions:
        raise TltoolError("None of the pictures could be read.")
    if csv is None:
        console.show_predictions(predictions)
        return
    try:
        # Names that are not valid UTF-8 are written as the bytes that they are.
        with csv.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
            write_csv(file, predictor.class_names, predictions)
    except OSError as error:
        raise TltoolError(f"{csv}: cannot be written ({error.strerror}). Give another --csv.") from None
    console.remark(f"{len(predictions)} predictions written to {csv}.")


@app.command()
def export(
    run: RunPath,
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    formats: Annotated[str, typer.Option(help="Comma-separated; offered: keras.")] = "keras",
) -> None:
    """Write a bundle: the model with preprocessing inside, and its class names."""
    from tltool.export.bundle import export_run
    from tltool.training.run_folder import RunFolder

    wanted = [name.strip() for name in formats.split(",") if name.strip()]
    print(export_run(RunFolder(run), out, wanted).keras_file)


@app.command(name="app")
def run_app(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine alone.")] = "127.0.0.1",
) -> None:
    """Start the app in the browser."""
    from importlib.util import find_spec

    if find_spec("streamlit") is None:
        raise TltoolError('The app needs Streamlit: `pip install "tltool[app]"`.')
    from tltool.ui.launch import launch

    launch(host, port)


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


def _check_new(csv: Path) -> None:
    """Raises TltoolError if the file cannot be made: told before anything is predicted, which may take long."""
    try:
        exists, has_folder = csv.exists(), csv.parent.is_dir()
    except OSError as error:
        raise TltoolError(f"{csv}: cannot be written ({error.strerror}). Give another --csv.") from None
    if exists:
        raise TltoolError(f"{csv}: exists already and is not overwritten. Give another --csv.")
    if not has_folder:
        raise TltoolError(f"{csv}: there is no folder {csv.parent}. Make it, or give another --csv.")


def parse_time(text: str) -> float:
    """Seconds from "90s", "10m", "2h" or plain seconds.

    Raises:
        TltoolError: if it is none of these, or not above 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if seconds <= 0:
        raise TltoolError(f"--budget {text}: write a time above 0, such as 90s, 10m or 2h.")
    return seconds
