"""A run folder for a model that was made of finished runs: whatever takes a run takes it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.data import Dataset
from tltool.data.listing import would_join
from tltool.ensembles.common_pictures import CommonPictures, leaked_among, learned_by_any
from tltool.errors import RunError
from tltool.evaluation.certainty import Certainty
from tltool.evaluation.evaluate import score_any, score_certainty
from tltool.export.bundle import Labels, write_labels
from tltool.files import write_json
from tltool.run import Run
from tltool.training.events import EventLog
from tltool.training.holding import holding
from tltool.training.new_run import RUNS
from tltool.training.run_folder import RunFolder, create_run, new_run_path
from tltool.training.versions import versions

MADE_OF = "made_of.json"  # what only such a run has: its members, their scores and prices


@dataclass(frozen=True, eq=False)
class Made:
    """All that goes into the folder.

    Attributes:
        what: In a few words, such as "ensemble of 3"; or the recipe that asked for it.
        members: The runs that it was made of.
        model: The picture model.
        labels: What its outputs mean.
        pictures: That it is scored on.
        prob: What it says of them, shape (n, C).
        seconds: That all of it took to train, members included.
        certainty: How far its answers can be trusted.
    """

    what: str
    members: Sequence[Run]
    model: keras.Model
    labels: Labels
    pictures: CommonPictures
    prob: np.ndarray
    seconds: float
    certainty: Certainty


@contextmanager
def new_made_run(kind: str, members: Sequence[Run], out: str | Path | None) -> Iterator[RunFolder]:
    """A new run folder that is this process's while it is made; without a word from `finish_made` it ends as failed.

    Args:
        kind: "ensemble" or "soup": the first part of the folder's name where none is given.
        members: Of these runs.
        out: The folder, new or empty; `runs/KIND-N` where None.

    Raises:
        RunError: if the folder is taken, lies in the first member's data set, or cannot be made.
    """
    data = members[0].data
    parent = RUNS if out is None else Path(out)
    if would_join(data, parent):
        raise RunError(f"{parent}: lies inside the data set, which it would spoil. Give one outside of {data.root}.")
    path = new_run_path(kind, RUNS) if out is None else Path(out)
    folder = create_run(path, path.name, kind, data.seed)
    with holding(folder):
        try:
            yield folder
        except BaseException as error:
            with suppress(OSError):
                folder.write_state(state="failed", reason=str(error) or type(error).__name__)
            raise


def write_made(
    folder: RunFolder,
    made: Made,
    about: dict[str, Any],
    more: Mapping[str, Any] | None = None,
    *,
    with_data: bool = True,
) -> None:
    """Writes everything about the model; the scores last, so that a run that has them lacks nothing.

    Args:
        folder: That `save_model` has given its model.
        made: What was made.
        about: For `MADE_OF`, as JSON.
        more: Scores beside those of the model, as JSON.
        with_data: Whether to write the data set's index and what was decided; a run of one recipe has its own.
    """
    members = made.members
    write_labels(folder.labels, made.labels)
    made.certainty.write(folder.path)
    write_json(folder.seen, sorted(learned_by_any(members)))
    found = [json.loads(run.folder.versions.read_text("utf-8")) for run in members if run.folder.versions.exists()]
    backbones = [name for values in found for name in str(values.get("backbone", "")).split(", ") if name]
    licences = [str(values["licence_of_weights"]) for values in found if "licence_of_weights" in values]
    merged = {"backbone": backbones, "licence_of_weights": licences}
    write_json(folder.versions, versions() | {key: ", ".join(dict.fromkeys(each)) for key, each in merged.items()})
    names, paths = ", ".join(run.path.name for run in members), [str(run.path.absolute()) for run in members]
    if with_data:
        write_json(folder.data, _data_of(made.pictures).to_json())
        write_json(folder.decision, {"used": f"{made.what}: {names}"})
    write_json(folder.path / MADE_OF, {"what": made.what, "members": paths} | about)
    scores = _scores(made) | (more or {})
    write_json(folder.metrics, scores | {"recipe": made.what, "seconds": made.seconds})


def finish_made(folder: RunFolder, pictures: CommonPictures, what: str) -> None:
    """Says that a run from `new_made_run` is done.

    Args:
        folder: That `write_made` has written.
        pictures: That it was scored on.
        what: As in `Made`.
    """
    scores = json.loads(folder.metrics.read_text("utf-8"))
    main = {name: scores[name] for name in ("top1", "mean_average_precision", "seconds") if name in scores}
    with closing(EventLog(folder.events)) as events:
        events.emit("end", state="done", **main)
    folder.write_state(state="done", reason=None, recipe=what, pictures=len(pictures.data), **main)


def _data_of(pictures: CommonPictures) -> Dataset:
    """The data set, of which what somebody has learned from is held out no longer."""
    chosen = set(pictures.rows.tolist())
    parts = [
        "test" if row in chosen else "train" if part == "test" else part for row, part in enumerate(pictures.data.parts)
    ]
    return replace(pictures.data, parts=tuple(parts))


def _scores(made: Made) -> dict[str, Any]:
    names, threshold, labels = made.labels.class_names, made.labels.threshold, made.pictures.labels
    scores = score_any(made.prob, labels, names, threshold).to_json()
    scores["certainty"] = score_certainty(made.certainty, made.prob, None, labels).to_json()
    leaked = leaked_among(made.pictures, made.members)
    scores |= {"leaked": int(leaked.sum())}
    if leaked.any() and not leaked.all():
        clean = score_any(made.prob[~leaked], labels[~leaked], names, threshold)
        scores |= {"without_leaks": clean.to_json()}
    return scores
