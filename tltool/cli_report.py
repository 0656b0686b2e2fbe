"""`tltool report`: a run's report, written anew."""

from pathlib import Path
from typing import Annotated

import typer

from tltool.cli_options import RunPath
from tltool.files import check_new


def report(
    run: RunPath,
    out: Annotated[
        Path | None, typer.Option(help="A new HTML file; by default report.html in the run's folder, made anew.")
    ] = None,
) -> None:
    """Write a finished run's report: scores, mistakes with pictures, data, decision, and how to do it again."""
    from tltool import console
    from tltool.training.run_folder import RunFolder

    RunFolder(run).require_done()  # before Keras is loaded, which takes seconds
    if out is not None:
        check_new(out, "another --out")
    with console.progress() as listener:
        console.prepare(listener)
        from tltool.report.page import write_report
        from tltool.run import open_run

        written = write_report(open_run(run), console.as_report(listener), out)
    print(written)
