"""What a run's folder says of it; what is missing there, as in runs of earlier versions, is None."""

import json
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tltool.data import Dataset
from tltool.ensembles.made_run import MADE_OF
from tltool.errors import TltoolError
from tltool.evaluation.certainty import Certainty
from tltool.evaluation.metrics import Metrics
from tltool.evaluation.multi_label import MultiLabelMetrics
from tltool.run import Run
from tltool.training.events import Event, read_events


@dataclass(frozen=True, eq=False)
class Evidence:
    """All of it that is written down.

    Attributes:
        run: The run.
        metrics: On the pictures that it held out.
        scores: `metrics.json` as it is, with what is no score.
        data: The index; None where it cannot be read.
        certainty: What is known of the calibration, sets of classes and unknown pictures.
        decision, inspection, request, versions, made_of: The files of these names.
        recipe: As TOML.
        epochs: Events of the epochs of fine-tuning, in order; of one that was done twice, the last.
    """

    run: Run
    metrics: Metrics | MultiLabelMetrics
    scores: dict[str, Any]
    data: Dataset | None
    decision: dict[str, Any] | None
    inspection: dict[str, Any] | None
    request: dict[str, Any] | None
    versions: dict[str, Any] | None
    certainty: Certainty | None
    made_of: dict[str, Any] | None
    recipe: str | None
    epochs: tuple[Event, ...]

    @property
    def name(self) -> str:
        """What the report is called."""
        return self.data.name if self.data is not None else self.run.path.resolve().name

    @property
    def recipe_name(self) -> str:
        return self.scores.get("recipe") or "unknown recipe"

    @property
    def command(self) -> str | None:
        """What repeats the run; None where the folder does not hold all of it."""
        if self.made_of is not None and self.recipe is None:
            kind = ["--kind", "soup"] if str(self.made_of.get("what")).startswith("soup") else []
            return shlex.join(["tltool", "ensemble", *map(str, self.made_of.get("members", ())), *kind])
        if self.data is None or self.recipe is None:
            return None
        seed = (self.request or {}).get("seed", self.data.seed)
        words = ["tltool", "fit", self.data.source, "--recipe", str(self.run.folder.recipe), "--seed", str(seed)]
        return shlex.join(words)


def gather(run: Run) -> Evidence:
    """Reads a run's folder.

    Raises:
        RunError: if the run is not done.
    """
    folder = run.folder
    folder.require_done()
    metrics = run.metrics  # first: it says so where the scores cannot be read
    scores = json.loads(folder.metrics.read_text("utf-8"))
    data = None
    with suppress(TltoolError):
        data = run.data
    certainty = None
    with suppress(TltoolError):
        certainty = run.certainty
    return Evidence(
        run=run,
        metrics=metrics,
        scores=scores,
        data=data,
        decision=_json(folder.decision),
        inspection=_json(folder.inspection),
        request=_json(folder.request),
        versions=_json(folder.versions),
        certainty=certainty,
        made_of=_json(folder.path / MADE_OF),
        # What a search has found takes the place of the other once the run is done, after its report.
        recipe=_text(folder.found_recipe) or _text(folder.recipe),
        epochs=_epochs(read_events(folder.events)),
    )


def _json(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        values = json.loads(path.read_text("utf-8"))
        return values if isinstance(values, dict) else None
    return None


def _text(path: Path) -> str | None:
    with suppress(OSError, ValueError):
        return path.read_text("utf-8")
    return None


def _epochs(events: list[Event]) -> tuple[Event, ...]:
    """A run that was killed does an epoch again when it is resumed."""
    wanted = {"stage", "epoch", "loss", "valid_log_loss"}
    found = {
        (event["stage"], event["epoch"]): event
        for event in events
        if event.get("event") == "epoch" and wanted <= event.keys()
    }
    return tuple(found.values())
