"""Searches rate, layer decay, depth and strength of augmentation of a recipe, with Optuna."""

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tltool.augment.policies import read_policy, scaled
from tltool.backbones import Backbone
from tltool.errors import DivergedError, RecipeError, RunError, TltoolError
from tltool.files import replacing
from tltool.optimizers.catalogue import OPTIMIZERS
from tltool.recipe_parts import StageRecipe
from tltool.recipes import Recipe, check_recipe
from tltool.training.balance import score
from tltool.training.checkpoints import PLACE, pack, unpack
from tltool.training.events import Event, EventLog
from tltool.training.fine_tuning import IN_WORDS, FineTuning
from tltool.training.finetune import fine_tune
from tltool.training.pictures import Pictures, predict_logits

if TYPE_CHECKING:
    import optuna

STUDY = "tltool"
RATES = (0.1, 10.0)  # multiples of the recipe's
DECAYS = (0.5, 1.0)
STRENGTHS = (0.0, 1.5, 0.25)  # lowest, highest, step; of the recipe's policy
DIVERGED = "diverged"  # an attribute of trials
TRIED_WHOLE = 4  # trials that are never cut short: the median of fewer says little


@dataclass
class Found:
    """The best of all trials so far.

    Attributes:
        recipe: With the numbers of that trial.
        tuning: How its fine-tuning went.
        weights: The classifier's.
    """

    recipe: Recipe
    tuning: FineTuning
    weights: list[np.ndarray]


def search(
    recipe: Recipe,
    model: keras.Model,
    backbone: Backbone,
    train: Pictures,
    valid: Pictures,
    seed: int,
    events: EventLog,
    deadline: float,
    folder: Path,
    scratch: Path,
    belongs: Mapping[str, str],
    trials: int | None = None,
) -> tuple[Recipe, FineTuning]:
    """Fine-tunes with one set of numbers after another; afterwards the model holds the best weights of them all.

    The first trial is the recipe itself, so what comes out is never worse on validation. A trial whose epoch is worse
    than the median of the others at that epoch is cut short. Trials are kept in a database in the folder: a search that
    was stopped goes on with all that it knows.

    Args:
        recipe: What to vary; nothing in it is left to the decision.
        model: From prepared pixels to logits, its head solved; layers are the backbone's own.
        backbone: Names the stages.
        train, valid: Pictures to learn from, and to choose by.
        seed: Of all draws.
        events: Told of trials.
        deadline: `time.monotonic()` at which to stop.
        folder: Holds the database and the best weights.
        scratch: For what frozen layers give; trials that freeze the same share it.
        belongs: What the search is good for: another recipe or data set is refused.
        trials: At most, those before a stop included; None for as many as there is time for.

    Returns:
        The recipe with the best numbers, and how its fine-tuning went; the recipe itself where there was no time.

    Raises:
        RecipeError: if the recipe has no numbers to search.
        RunError: if the database was made for something else.
        TltoolError: if Optuna is missing.
    """
    check_searchable(recipe)
    optuna = _import_optuna()
    start = model.get_weights()
    study = _open_study(optuna, folder, seed, belongs)
    best = _read_best(folder, start)
    if not study.trials:
        study.enqueue_trial(own_numbers(recipe, backbone))
    begin = time.monotonic()
    while time.monotonic() < deadline and (trials is None or _finished(optuna, study) < trials):
        events.report("Searching, seconds", int(time.monotonic() - begin), max(1, int(deadline - begin)))
        trial = study.ask()
        varied = vary(recipe, backbone, trial)
        model.set_weights(start)
        given = model, backbone, varied.stages, train, valid, seed
        try:
            heard = EventLog(None, _listener(optuna, trial, events))
            tuning = fine_tune(*given, heard, deadline, scratch=scratch, keep_scratch=True)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            _tell(events, trial, "cut short", best)
            continue
        except DivergedError as error:
            trial.set_user_attr(DIVERGED, True)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            _tell(events, trial, str(error).partition(":")[2].strip().partition(".")[0], best)
            continue
        if math.isinf(tuning.fine_tuned):  # the time did not hold an epoch
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            break
        if best is None or tuning.blended < best.tuning.blended:
            best = Found(varied, tuning, model.get_weights())
            _write_best(folder, best, start)
        study.tell(trial, tuning.blended)  # killed before it, the trial is done again, and finds the same
        _tell(events, trial, f"{IN_WORDS[tuning.choose_by]} {tuning.blended:.4f}", best)
    if best is None:
        model.set_weights(start)
        events.note("There was no time for a single trial: the probe is handed back.")
        choose_by = recipe.stages[-1].choose_by
        probe = score(predict_logits(model, valid, backbone.framing), valid.labels, choose_by)
        return recipe, FineTuning(choose_by, probe, math.inf, 0.0, probe)
    model.set_weights(best.weights)
    return best.recipe, best.tuning


def own_numbers(recipe: Recipe, backbone: Backbone) -> dict[str, float]:
    """The recipe's own numbers, as a trial that `vary` gives the recipe itself for."""
    last = recipe.stages[-1]
    numbers: dict[str, float] = {"rate": 1.0, "layer_decay": max(last.layer_decay, DECAYS[0])}
    if (depth := _depth(last, backbone)) is not None:
        numbers["depth"] = depth
    if _policy_of(recipe):
        numbers["strength"] = 1.0
    return numbers


def vary(recipe: Recipe, backbone: Backbone, trial: "optuna.Trial") -> Recipe:
    """The recipe with numbers that the trial suggests: rates and decay in all stages, the depth in the last."""
    rate = trial.suggest_float("rate", *RATES, log=True)
    decay = trial.suggest_float("layer_decay", *DECAYS)
    strength, depth = 1.0, None
    if _depth(recipe.stages[-1], backbone) is not None:
        depth = trial.suggest_int("depth", 0, len(backbone.stages))
    if _policy_of(recipe):
        low, high, step = STRENGTHS
        strength = trial.suggest_float("strength", low, high, step=step)
    own = own_numbers(recipe, backbone)["layer_decay"]
    stages = [_varied(stage, rate, stage.layer_decay if decay == own else decay, strength) for stage in recipe.stages]
    if depth is not None:
        names = {0: "head", len(backbone.stages): "all"}
        stages[-1] = stages[-1].model_copy(update={"trainable": names.get(depth, f"top:{depth}")})
    return recipe.model_copy(update={"stages": tuple(stages)})


def _varied(stage: StageRecipe, rate: float, decay: float, strength: float) -> StageRecipe:
    policy = scaled(read_policy(stage.augmentation), strength)
    augmentation = stage.augmentation if strength == 1 else policy.table or "none"
    changes: dict[str, Any] = {"learning_rate": stage.learning_rate * rate, "layer_decay": decay}
    changes |= {"augmentation": augmentation, "views": stage.views if policy else 0}
    return stage.model_copy(update=changes)


def _depth(stage: StageRecipe, backbone: Backbone) -> int | None:
    """How many of the top stages it trains; None where it trains others."""
    if stage.trainable in ("head", "all"):
        return {"head": 0, "all": len(backbone.stages)}[stage.trainable]
    if isinstance(stage.trainable, str) and stage.trainable.startswith("top:"):
        return int(stage.trainable.removeprefix("top:"))
    return None


def _policy_of(recipe: Recipe) -> bool:
    return any(stage.augmentation != "none" for stage in recipe.stages)


def check_searchable(recipe: Recipe) -> None:
    """Raises RecipeError if the recipe has no numbers to search, or asks for several classifiers."""
    if recipe.members != "none":
        raise RecipeError(f"{recipe.name}: a search is for one classifier. Search with --set members=none, then fit.")
    searching = [stage.optimizer for stage in recipe.stages if OPTIMIZERS[stage.optimizer].full_batch]
    if not recipe.stages or searching:
        why = f"{searching[0]} takes no rate" if searching else "it only solves a head"
        raise RecipeError(f"{recipe.name}: there is nothing to search, as {why}. Give --recipe finetune-top.")


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise TltoolError('The search needs Optuna: `pip install "tltool[tune]"`.') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _open_study(optuna: Any, folder: Path, seed: int, belongs: Mapping[str, str]) -> "optuna.Study":
    # Another number of trials before a stop gives other draws after it: a search is kept, not repeated to the bit.
    study = optuna.create_study(
        study_name=STUDY,
        storage=f"sqlite:///{folder / 'study.db'}",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=TRIED_WHOLE),
        load_if_exists=True,
    )
    before = study.user_attrs.get("belongs")
    if before is not None and before != dict(belongs):
        other = [name for name, value in belongs.items() if before.get(name) != value]
        raise RunError(f"{folder}: this search was begun with another {' and another '.join(other)}. Begin a new one.")
    study.set_user_attr("belongs", dict(belongs))
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:  # its process was stopped, or killed
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            if numbers := trial.params or trial.system_attrs.get("fixed_params"):
                study.enqueue_trial(numbers)
    return study


def _finished(optuna: Any, study: "optuna.Study") -> int:
    """Trials that were carried out: one that was stopped is done again."""
    done = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
    return sum(trial.state in done or DIVERGED in trial.user_attrs for trial in study.trials)


def _listener(optuna: Any, trial: "optuna.Trial", events: EventLog) -> Callable[[Event], None]:
    """Shows the progress of a trial, and cuts it short."""
    count = 0

    def listen(event: Event) -> None:
        nonlocal count
        if event["event"] == "progress":
            events.report(f"Trial {trial.number + 1}: {event['task']}", event["done"], event["total"])
        elif event["event"] == "epoch":
            trial.report(event["score"], count)
            count += 1
            if trial.should_prune():
                raise optuna.TrialPruned

    return listen


def _tell(events: EventLog, trial: "optuna.Trial", result: str, best: Found | None) -> None:
    # Rates and strengths are told as what they multiply the recipe's by.
    forms = {"rate": "rate x {:.3g}", "layer_decay": "layer decay {:.3g}", "strength": "strength x {:.3g}"}
    numbers = [forms.get(name, name + " {:.3g}").format(value) for name, value in trial.params.items()]
    known = "" if best is None else f"; best {best.tuning.blended:.4f}"
    events.note(f"Trial {trial.number + 1}: {', '.join(numbers)}: {result}{known}.")


def _write_best(folder: Path, best: Found, start: list[np.ndarray]) -> None:
    about = json.dumps({"recipe": best.recipe.model_dump(mode="json"), "tuning": best.tuning.to_json()}).encode()
    with replacing(folder / "best.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, **{PLACE: np.frombuffer(about, np.uint8)}, **pack("best", best.weights, start))


def _read_best(folder: Path, start: list[np.ndarray]) -> Found | None:
    with contextlib.suppress(FileNotFoundError), (folder / "best.npz").open("rb") as raw:
        with np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(PLACE).tobytes())
        recipe = check_recipe(about["recipe"], "best.npz")
        return Found(recipe, FineTuning.from_json(about["tuning"]), unpack("best", arrays, start))
    return None


logging.getLogger("optuna").propagate = False  # it would tell of every trial a second time
