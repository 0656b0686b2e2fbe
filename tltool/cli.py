"""The command line. Results go to standard output, progress and remarks to standard error."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tltool.cli_augment import augment_app
from tltool.cli_backbones import backbones_app
from tltool.cli_compare import compare
from tltool.cli_ensemble import ensemble
from tltool.cli_optimizers import optimizers
from tltool.cli_options import AsJson, Columns, Data, NoFeatures, RunPath, Seed, Settings, TestTime, load, parse_time
from tltool.cli_recipes import recipes_app
from tltool.cli_report import report as write_run_report
from tltool.cli_tune import tune
from tltool.errors import TltoolError
from tltool.files import check_new


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
app.add_typer(recipes_app, name="recipes")
app.add_typer(augment_app, name="augment")
app.add_typer(backbones_app, name="backbones")


def main() -> None:
    """Runs a command; a user's mistake is one clear message and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold what a code page has no letter for
            stream.reconfigure(errors="backslashreplace")
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
def inspect(
    data: Data,
    seed: Seed = 0,
    settings: Settings = None,
    columns: Columns = None,
    no_features: NoFeatures = False,
    as_json: AsJson = False,
) -> None:
    """Measure health, size and similarity, and say which recipe follows."""
    from tltool import console

    decision = None
    with console.progress() as listener:
        report = console.as_report(listener)
        _check_settings(settings, no_features)
        loaded = load(data, columns, report, seed)
        if no_features:
            from tltool.inspection.files import inspect_files

            facts = inspect_files(loaded, report)
        else:
            console.prepare(listener)
            from tltool import pipeline

            facts = pipeline.inspect(loaded, seed=seed, settings=settings or (), report=report)
            decision = pipeline.recommend(facts).decision
    if as_json:
        decided = {"decision": decision.to_json() if decision else None}
        print(json.dumps(facts.to_json() | decided, indent=1, ensure_ascii=False))
    else:
        console.show_inspection(facts, decision)


@app.command()
def doctor(
    data: Data,
    html: Annotated[Path | None, typer.Option(help="Write a report with pictures to this new file.")] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Copy what is left without the faulty files to this new or empty folder.")
    ] = None,
    seed: Seed = 0,
    settings: Settings = None,
    columns: Columns = None,
    no_features: NoFeatures = False,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with a data set: damaged files, copies, leaks, suspected labels. Changes nothing in it."""
    from tltool import console
    from tltool.doctor.quarantine import LEFT_OUT, check_target, copy_clean
    from tltool.doctor.report import write_report

    with console.progress() as listener:
        report = console.as_report(listener)
        _check_settings(settings, no_features)
        if html is not None:
            check_new(html, "another --html")
        loaded = load(data, columns, report, seed, trainable=False)
        if quarantine is not None:
            check_target(loaded, quarantine)
        if no_features:
            from tltool.doctor.diagnosis import examine_files

            diagnosis = examine_files(loaded, report=report)
        else:
            console.prepare(listener)
            from tltool import pipeline

            diagnosis = pipeline.examine(loaded, seed=seed, settings=settings or (), report=report)
        seen = diagnosis.checkup.data
        if html is not None:
            write_report(html, seen, diagnosis.checkup.scan, diagnosis.findings)
        copied = copy_clean(seen, diagnosis.findings, quarantine, report) if quarantine is not None else None
    if html is not None:
        console.remark(f"Report: {html}")
    if copied is not None:
        left_out = quarantine / LEFT_OUT
        why = f" {left_out} says what was left out." if left_out.is_file() else ""
        console.remark(f"{copied} pictures copied to {quarantine}; nothing was changed in {data}.{why}")
    if as_json:
        answer = {
            "source": seen.source,
            "pictures": len(seen),
            "classes": seen.counts(),
            "notes": list(seen.notes),
            "findings": [finding.to_json() for finding in diagnosis.findings],
        }
        print(json.dumps(answer, indent=1, ensure_ascii=False))
    else:
        console.show_diagnosis(diagnosis)


@app.command()
def fit(
    data: Data,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or file; without it the table decides.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder, new or empty; runs/NAME-N by default.")] = None,
    seed: Seed = 0,
    settings: Settings = None,
    columns: Columns = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Such as 90s, 10m or 2h; fine-tuning is shortened to fit.")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Log to this MLflow server, or folder, as well.")
    ] = None,
) -> None:
    """Train a classifier and write everything about it into a run folder."""
    from tltool import console

    seconds = parse_time(budget) if budget is not None else None
    with console.progress() as listener:
        loaded = load(data, columns, console.as_report(listener), seed)
        console.prepare(listener)
        from tltool import pipeline

        about = {"seed": seed, "settings": settings or (), "budget": seconds, "mlflow": mlflow}
        run = pipeline.fit(loaded, recipe, out=out, **about, listener=listener)
    console.show_run(run)


@app.command()
def resume(run: RunPath) -> None:
    """Go on with a run that was stopped, interrupted or killed, as if it had not been."""
    from tltool import console
    from tltool.training.run_folder import RunFolder

    RunFolder(run).require_unfinished()
    with console.progress() as listener:
        console.prepare(listener)
        from tltool import pipeline

        finished = pipeline.resume(run, listener=listener)
    console.show_run(finished)


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
def evaluate(
    run: RunPath,
    data: Data,
    columns: Columns = None,
    test_time: TestTime = False,
    as_json: AsJson = False,
) -> None:
    """Score a run on labelled pictures that it has not learned from."""
    from tltool import console

    with console.progress() as listener:
        report = console.as_report(listener)
        loaded = load(data, columns, report, trainable=False)
        console.prepare(listener)
        from tltool.run import evaluate_run, open_run

        result = evaluate_run(open_run(run), loaded, report, test_time=test_time)
    if test_time:
        console.remark(_views_in_words(run))
    console.remark(*(f"Left out: {problem}" for problem in result.problems))
    if result.seen:
        console.remark(f"{result.seen} pictures are left out: the run has learned from them.")
    if as_json:
        about = {"left_out_as_seen": result.seen, "certainty": result.certainty.to_json()}
        print(json.dumps(result.metrics.to_json() | about, indent=1, ensure_ascii=False))
    else:
        console.show_metrics(result.metrics, result.certainty)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A run, an exported bundle or a .keras file.")],
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    csv: Annotated[Path | None, typer.Option(help="Write path, label and probabilities to this new file.")] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            min=0.5, max=0.999, help="Sets of classes hold the right one in this share, 0.9 by default; as --sets."
        ),
    ] = None,
    sets: Annotated[bool, typer.Option("--sets", help="Add the columns `set,known` to --csv.")] = False,
    test_time: TestTime = False,
) -> None:
    """Classify pictures: label, confidence, the classes that it may be, and whether the picture is like known ones."""
    from tltool import console
    from tltool.export.predictor import load_model, write_csv

    if csv is not None:
        check_new(csv, "another --csv")
    predictor = load_model(model)
    with console.progress() as listener:
        console.prepare(listener)
        predictions, problems = predictor.try_predict(paths, console.as_report(listener), coverage, test_time=test_time)
    if test_time:
        console.remark(_views_in_words(predictor.model_file.parent))
    console.remark(*(f"Left out: {problem}" for problem in problems))
    if not predictions:
        raise TltoolError("None of the pictures could be read.")
    console.remark(*predictor.cannot_tell)
    if csv is None:
        console.show_predictions(predictions)
        return
    try:
        # Names that are not valid UTF-8 are written as the bytes that they are.
        with csv.open("x", encoding="utf-8", errors="surrogateescape", newline="") as file:
            write_csv(file, predictor.class_names, predictions, with_sets=sets or coverage is not None)
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


app.command()(optimizers)
app.command()(tune)
app.command()(ensemble)
app.command()(compare)
app.command(name="report")(write_run_report)


def _views_in_words(folder: Path) -> str:
    """What test-time augmentation looks at, and why."""
    from tltool.evaluation.test_time import views_beside, views_in_words

    return views_in_words(views_beside(folder))


def _check_settings(settings: list[str] | None, no_features: bool) -> None:
    if settings and no_features:
        raise TltoolError("--set chooses a backbone, and --no-features looks through none. Leave out one of them.")
