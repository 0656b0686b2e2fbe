"""Finished runs, by their folders, as one model: averaged, or mixed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from tltool.ensembles.ensemble import Ensemble, ensemble_of_runs
from tltool.ensembles.soup_of_runs import Soup, soup_of_runs
from tltool.errors import TltoolError
from tltool.progress import Report, silent
from tltool.run import Run, open_run

Kind = Literal["average", "soup"]


def put_together(
    runs: Sequence[Run | str | Path],
    *,
    kind: Kind = "average",
    out: str | Path | None = None,
    report: Report = silent,
) -> Ensemble | Soup:
    """Makes one model of finished runs, in a run folder of its own.

    Arguments are those of `tltool.ensemble`.

    Raises:
        TltoolError: if runs cannot be put together, no picture is left to score them on, or the folder is taken.
    """
    if kind not in get_args(Kind):
        raise TltoolError(f"kind = {kind!r}: runs are put together as {' or '.join(map(repr, get_args(Kind)))}.")
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    make = ensemble_of_runs if kind == "average" else soup_of_runs
    return make(opened, out, report=report)
