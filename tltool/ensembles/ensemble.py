"""Finished runs as one classifier: the mean of their probabilities, what it brings and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.special import expit, softmax

from tltool.data.decoding import decode
from tltool.ensembles.agreeing import check_agreeing
from tltool.ensembles.calibrating import (
    NO_NOVELTY,
    SOURCE,
    Unlearned,
    certainty_of,
    logits_of,
    temperature_of,
    unlearned_by,
)
from tltool.ensembles.common_pictures import CommonPictures, held_out_by_all, probabilities_of
from tltool.ensembles.diversity import Diversity, diversity_of
from tltool.ensembles.made_run import Made, finish_made, new_made_run, write_made
from tltool.ensembles.price import Price, price_of, prices_of, table_of
from tltool.evaluation.certainty import Certainty
from tltool.evaluation.evaluate import score_any
from tltool.export.bundle import Labels
from tltool.heads.network import is_multi_label
from tltool.heads.temperature import Temperature
from tltool.heads.threshold import tune_threshold
from tltool.progress import Report, silent
from tltool.run import Run
from tltool.training.averaged_model import averaged_model
from tltool.training.run_folder import RunFolder
from tltool.training.train import save_model

MODEL_TOLERANCE = 1e-4  # in a probability: float32 in two graphs, with a logarithm between


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What came of it.

    Attributes:
        run: A run like any other: it predicts, evaluates and exports.
        members: What each member brings and costs, on the same pictures.
        whole: The same of the ensemble.
        pictures: That all were scored on: held out by every member.
        temperature: Of the mean of the probabilities, fitted after averaging.
        diversity: How the members differ.
    """

    run: Run
    members: tuple[Price, ...]
    whole: Price
    pictures: int
    temperature: Temperature
    diversity: Diversity

    @property
    def best(self) -> Price:
        """The most accurate member; of equals that with the lower log loss."""
        return max(self.members, key=lambda price: (price.accuracy, -price.log_loss))

    @property
    def gain(self) -> float:
        """Accuracy of the ensemble minus that of the best member: a fraction, negative where it lost."""
        return self.whole.accuracy - self.best.accuracy

    @property
    def disagreement(self) -> float:
        """Mean share of the pairs of members that give different answers, [0, 1]."""
        return self.diversity.disagreement

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run.path),
            "members": [price.to_json() for price in self.members],
            "whole": self.whole.to_json(),
            "pictures": self.pictures,
            "gain": self.gain,
            "temperature": self.temperature.to_json(),
            "diversity": self.diversity.to_json(),
        }

    def __str__(self) -> str:
        accuracy = "top-1" if self.run.labels.threshold is None else "mAP"
        return f"{table_of([*self.members, self.whole], accuracy)}\n{self.in_words()}"

    def in_words(self) -> str:
        """What it brings and costs against its best member."""
        best, whole = self.best, self.whole
        side = "above" if self.gain > 0 else "below"
        change = f"{100 * abs(self.gain):.1f} points {side}" if self.gain else "as accurate as"
        return (
            f"On {self.pictures} pictures that all members held out the ensemble is {change} its best member "
            f"({best.name}); log loss {best.log_loss:.3f} -> {whole.log_loss:.3f}, calibration error "
            f"{best.calibration_error:.3f} -> {whole.calibration_error:.3f}. A picture takes "
            f"{whole.latency / best.latency:.1f} times as long, the model {whole.size / best.size:.1f} times the room; "
            f"two members give different answers in {self.disagreement:.1%} of the cases."
        )


def ensemble_of_runs(
    runs: Sequence[Run], out: str | Path | None = None, *, temperature: float | None = None, report: Report = silent
) -> Ensemble:
    """Averages the probabilities of finished runs, plainly, into one model with a run folder of its own.

    Args:
        runs: Two or more, done, with the same classes. They are read and left as they are.
        out: The new run's folder, new or empty; `runs/ensemble-N` where None.
        temperature: Of the mean, > 0; see `averaged_model`. None to fit it on what the members were calibrated on: 1
            where these pictures are too few, or none.
        report: Told how many pictures are done.

    Raises:
        RunError: if runs cannot be put together (see `check_agreeing`), no picture is held out by all, or the folder is
            taken.
        DataError: if the held-out pictures are gone.
        TltoolError: if the temperature is no number above 0.
    """
    check_agreeing(runs)
    prepared = prepare_ensemble(runs, temperature, report)
    with new_made_run("ensemble", runs, out) as folder:
        ensemble = prepared.write(folder, prepared.what)
        finish_made(folder, prepared.pictures, prepared.what)
    return ensemble


@dataclass(frozen=True, eq=False)
class Prepared:
    """An ensemble before it has a folder.

    Attributes:
        runs: The members.
        temperature: Of the mean.
        model: The picture model.
        labels: What its outputs mean.
        threshold: Of a multi-label model, for the mean before the temperature; else None.
        pictures: That all members held out.
        prob: Of these, what the members say, shape (members, pictures, classes).
        certainty: How far its answers can be trusted.
    """

    runs: Sequence[Run]
    temperature: Temperature
    model: keras.Model
    labels: Labels
    threshold: float | None
    pictures: CommonPictures
    prob: np.ndarray
    certainty: Certainty

    @property
    def what(self) -> str:
        return f"ensemble of {len(self.runs)}"

    def write(
        self, folder: RunFolder, recipe: str, more: Mapping[str, Any] | None = None, *, with_data: bool = True
    ) -> Ensemble:
        """Writes everything about it, but not that the run is done.

        Args:
            folder: A run's that this process holds.
            recipe: What the run's scores name as its recipe.
            more: Scores that are told beside its own, as JSON.
            with_data: As for `write_made`.
        """
        runs, labels, pictures, value = self.runs, self.labels, self.pictures, self.temperature.value
        mean = tempered(self.prob.mean(axis=0), value, multi_label=labels.threshold is not None)
        picture = decode(pictures.paths[0])
        save_model(self.model, folder)
        _check_model(self.model, runs, picture, value)
        members = prices_of(runs, self.prob, pictures.labels, picture)
        seconds = sum(member.seconds for member in members)
        scores = score_any(mean, pictures.labels, labels.class_names, labels.threshold)
        whole = price_of(self.what, scores, seconds, folder.model, self.model, picture)
        diversity = diversity_of(self.prob, pictures, Labels(labels.class_names, self.threshold))
        about = {
            "temperature": value,
            "held_out_by_all": len(pictures.rows),
            "diversity": diversity.to_json(),
            "table": [price.to_json() for price in (*members, whole)],
        }
        made = Made(recipe, runs, self.model, labels, pictures, mean, seconds, self.certainty)
        write_made(folder, made, about, more, with_data=with_data)
        return Ensemble(Run(folder), members, whole, len(pictures.rows), self.temperature, diversity)


def prepare_ensemble(runs: Sequence[Run], temperature: float | None, report: Report) -> Prepared:
    """Everything that can fail before there is a folder; arguments as of `ensemble_of_runs`."""
    pictures = held_out_by_all(runs)
    models, several = [run.model for run in runs], runs[0].labels.threshold is not None
    unlearned = unlearned_by(runs)
    if temperature is None:
        fitted = temperature_of(unlearned, runs[0].data.seed)
    else:
        fitted = Temperature(temperature, 0, reason="it was given")
    value = fitted.value
    model = averaged_model(models, runs[0].class_names, value)
    threshold = _threshold(runs, unlearned)
    warm = None if threshold is None else float(tempered(np.array([[threshold]]), value, multi_label=True)[0, 0])
    labels = Labels(runs[0].class_names, warm)
    if unlearned is not None:
        unlearned = replace(unlearned, prob=tempered(unlearned.prob, value, multi_label=several))
    pictures, prob = probabilities_of(models, pictures, report)
    certainty = certainty_of(fitted, unlearned, SOURCE, NO_NOVELTY)
    return Prepared(runs, fitted, model, labels, threshold, pictures, prob, certainty)


def tempered(prob: np.ndarray, temperature: float, *, multi_label: bool) -> np.ndarray:
    """Probabilities at a temperature, as the averaged model gives them, shape (N, C)."""
    logits = logits_of(prob, multi_label=multi_label) / temperature
    return expit(logits) if multi_label else softmax(logits, axis=1)


def _threshold(runs: Sequence[Run], unlearned: Unlearned | None) -> float | None:
    """For the mean of the members' probabilities; theirs on average where there are no pictures to tune it on."""
    thresholds = [run.labels.threshold for run in runs]
    if thresholds[0] is None:
        return None
    if unlearned is None:
        return float(np.mean(thresholds))
    return tune_threshold(unlearned.prob, unlearned.labels)


def _check_model(model: keras.Model, runs: Sequence[Run], picture: np.ndarray, temperature: float) -> None:
    """Asks the finished graph and the members of one picture: a lost weight shows here, not at the user's."""
    members = np.mean([run.model.predict_on_batch(picture[None]) for run in runs], axis=0)
    expected = tempered(members, temperature, multi_label=is_multi_label(model))
    difference = float(np.abs(model.predict_on_batch(picture[None]) - expected).max())
    if difference > MODEL_TOLERANCE:
        raise RuntimeError(
            f"The ensemble's probabilities differ from its members' mean by {difference:.3f}; report this."
        )
