"""A run whose recipe asks for members: each is fitted in a folder of its own, and the run is their average."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from tltool.backbones.registry import native_image_size
from tltool.data import Dataset
from tltool.data.decoding import Framing
from tltool.doctor.checkup import check_up
from tltool.ensembles.ensemble import prepare_ensemble
from tltool.ensembles.members import Member, members_by_fold, members_by_seed, out_of_fold_probabilities
from tltool.evaluation.evaluate import score_any
from tltool.files import write_json, write_text
from tltool.recipes import Recipe
from tltool.run import Run
from tltool.training.events import Event, EventLog
from tltool.training.holding import holding
from tltool.training.new_run import new_run
from tltool.training.request import Request, read_request
from tltool.training.run_folder import RunFolder

MEMBERS = "members"  # the folder with their runs, 1, 2 and so on

FitOne = Callable[[RunFolder, Request, EventLog, float | None, float], None]


@dataclass(frozen=True, eq=False)
class _Plan:
    """One member: its recipe, and what it is fitted on."""

    recipe: Recipe
    member: Member


def fit_members(
    folder: RunFolder, recipe: Recipe, data: Dataset, seed: int, events: EventLog, deadline: float | None, fit: FitOne
) -> None:
    """Fits them one after another, averages them, and writes all of the run but that it is done.

    Members that are done already are not fitted again, and one that was stopped goes on where it stood.

    Args:
        folder: The run's; members get folders in it.
        recipe: With members; its backbone and size are settled.
        data: Split.
        seed: Of the first member.
        events: Told of everything.
        deadline: `time.monotonic()` at which fine-tuning must stop; each member gets an equal share of what is left.
        fit: Carries out one member's run, in its folder.
    """
    if recipe.members.by == "folds":
        framing = Framing(recipe.size_in_pixels or native_image_size(recipe.backbone), recipe.fit)
        data = check_up(data, framing, events.report).data  # copies must not be dealt out to several folds
        write_json(folder.data, data.to_json())
    plans = _plans(recipe, data, seed)
    runs = []
    for number, plan in enumerate(plans, start=1):
        place = RunFolder(folder.path / MEMBERS / str(number))
        if not (place.request.exists() and place.data.exists()):
            shutil.rmtree(place.path, ignore_errors=True)  # killed while it was made
            new_run(plan.member.data, plan.recipe, out=place.path, seed=plan.member.seed, settings=(), budget=None)
        if place.read_state()["state"] != "done":
            events.emit("stage", text=f"Member {number} of {len(plans)}")
            now = time.monotonic()
            share = None if deadline is None else now + (deadline - now) / (len(plans) - number + 1)
            with holding(place) as spent, closing(EventLog(place.events, _passing_on(events))) as log:
                fit(place, read_request(place.request), log, share, time.monotonic() - spent)
        runs.append(Run(place))
    events.emit("stage", text=f"Averaging {len(runs)} members")
    prepared = prepare_ensemble(runs, None, events.report)
    if recipe.members.by != "folds":
        write_json(folder.data, runs[0].data.to_json())
    write_text(folder.recipe, recipe.to_toml())
    write_json(folder.decision, {"used": recipe.name})
    more = _out_of_fold(data, [plan.member for plan in plans], runs, events)
    # With the scores, which are written last, a run counts as done but for its report.
    found = prepared.write(folder, recipe.name, more, with_data=False)
    for line in str(found).splitlines():
        events.note(line)
    events.note(f"Probabilities, calibrated after averaging: {found.temperature}.")


def _plans(recipe: Recipe, data: Dataset, seed: int) -> list[_Plan]:
    members, alone = recipe.members, recipe.model_copy(update={"members": "none"})
    if members.by == "seeds":
        return [_Plan(alone, member) for member in members_by_seed(data, members.count, seed)]
    if members.by == "folds":
        return [_Plan(alone, member) for member in members_by_fold(data, members.count, seed)]
    given = Member(data, seed, np.empty(0, np.int64))
    return [_Plan(alone.model_copy(update={"backbone": name, "backbones": ()}), given) for name in recipe.backbones]


def _out_of_fold(data: Dataset, members: Sequence[Member], runs: Sequence[Run], events: EventLog) -> dict[str, Any]:
    """Scores of each picture by the member that has never seen it; nothing where members share their pictures."""
    if not all(len(member.fold) for member in members):
        return {}
    prob = out_of_fold_probabilities(data, members, runs, events.report)
    known = ~np.isnan(prob).any(axis=1)
    labels = data.labels_of(np.flatnonzero(known))
    scores = score_any(prob[known], labels, data.class_names, runs[0].labels.threshold)
    events.note(f"Out of fold, on {known.sum()} pictures: {scores}")
    return {"out_of_fold": scores.to_json()}


def _passing_on(events: EventLog) -> Callable[[Event], None]:
    """What a member tells is told by the run as well, but for its end, and for its epochs: they are no curve of one."""

    def listen(event: Event) -> None:
        if event["event"] not in ("end", "epoch", "decision"):
            events.emit(**{key: value for key, value in event.items() if key != "time"})

    return listen
