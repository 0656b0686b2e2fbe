"""`tltool demo`: what a user would do, one step after the other, on real pictures."""

from pathlib import Path

from rich.markup import escape

from tltool import console
from tltool.demo import pixel_baseline, write_digits
from tltool.errors import TltoolError
from tltool.training.run_folder import new_run_path


def run_demo(out: Path | None) -> None:
    """Runs all steps in a new folder and tells what each does.

    Raises:
        TltoolError: if the folder is not empty.
    """
    folder = out if out is not None else new_run_path("demo", Path())
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TltoolError(f"{folder}: exists and is not empty. Give another --out.")

    def say(step: str, text: str) -> None:
        console.remarks.print(f"[bold]{step}[/]: {escape(text)}")

    say("1. Data", "400 handwritten digits that come with scikit-learn, written out as ten class folders.")
    try:
        data = write_digits(folder / "digits")
    except OSError as error:
        raise TltoolError(f"{folder}: cannot be written ({error.strerror}). Give another --out.") from None
    with console.progress() as listener:
        console.prepare(listener)
        from tltool import pipeline
        from tltool.export.predictor import load_model, write_csv

        say("2. Inspect", f"tltool inspect {data}")
        facts = pipeline.inspect(data, report=console.as_report(listener))
    plan = pipeline.recommend(facts)
    console.show_inspection(facts, plan.decision)
    say("3. Fit", f"tltool fit {data} --out {folder / 'run'}")
    with console.progress() as listener:
        run = pipeline.fit(data, out=folder / "run", listener=listener)
    say("4. Evaluate", f"the run held out {run.metrics.pictures} pictures that it never learned from.")
    console.show_run(run)
    pixels = pixel_baseline(run.data)
    console.results.print(
        f"To be plain: a support vector machine on the raw pixels, made for pictures as simple as these, has "
        f"{pixels:.1%} on the same split. ImageNet knows nothing of pen strokes, and tltool is for pictures that need "
        "more than 64 numbers."
    )
    say("5. Export", f"tltool export {run.path} --formats keras --out {folder / 'bundle'}")
    bundle = run.export(folder / "bundle")
    console.results.print(f"Model: {escape(str(bundle.keras_file))} ({bundle.keras_file.stat().st_size / 1e6:.1f} MB)")
    held_out = [run.data.root / run.data.files[i] for i in run.data.indices("test")][::8]
    csv_file = folder / "predictions.csv"
    say("6. Predict", f"tltool predict {bundle.folder} PICTURES --csv {csv_file}")
    predictor = load_model(bundle.folder)
    predictions = predictor.predict(held_out)
    with csv_file.open("w", encoding="utf-8", newline="") as file:
        write_csv(file, predictor.class_names, predictions)
    console.show_predictions(predictions)
    console.remark(f"Everything lies in {folder}; delete it when you like.")
