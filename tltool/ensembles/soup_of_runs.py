"""Fine-tuned runs that share a start, mixed into one model: the price of one, and some of what an ensemble brings."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tltool.data.batches import Batch, read_batches
from tltool.data.decoding import decode
from tltool.ensembles.agreeing import check_agreeing
from tltool.ensembles.calibrating import Unlearned, certainty_of, temperature_of
from tltool.ensembles.common_pictures import (
    CommonPictures,
    held_out_by_all,
    learned_pictures,
    probabilities_of,
    validating_all,
)
from tltool.ensembles.made_run import Made, finish_made, new_made_run, write_made
from tltool.ensembles.price import Price, price_of, prices_of, table_of
from tltool.ensembles.soup import greedy_soup
from tltool.errors import RunError
from tltool.evaluation.evaluate import score_any
from tltool.export.bundle import Labels
from tltool.export.predictor import load_model
from tltool.heads.network import LOGITS, framing_of, prepared_model
from tltool.heads.temperature import Temperature
from tltool.heads.threshold import tune_threshold
from tltool.progress import Report, silent
from tltool.recipes import load_recipe
from tltool.run import Run
from tltool.training.recomputed_statistics import recomputed_statistics
from tltool.training.train import save_model
from tltool.training.weight_average import Weights

BATCH = 32
SOURCE = "validation pictures of all members"
NO_NOVELTY = "nothing was compared with what a soup sees"
SAME_START = ("backbone", "weights", "image_size", "fit")  # what of a recipe decides where fine-tuning starts


def check_same_start(runs: Sequence[Run]) -> None:
    """Checks that the weights of fine-tuned runs lie in one basin, as far as their folders tell.

    Raises:
        RunError: if a run was not fine-tuned, or two differ in their backbone, its pretrained weights, the squares that
            it takes, or a layer.
    """
    for run in runs:
        if run.tuning is None or not run.tuning.kept:
            what = "is a probe" if run.tuning is None else "handed its probe back"
            raise RunError(
                f"{run.path}: {what}, which has learned from its validation pictures, so nothing can tell what to mix. "
                "A soup is made of fine-tuned runs; `tltool ensemble` without --kind soup takes any."
            )
    first = runs[0]
    recipes = [load_recipe(run.folder.recipe) for run in runs]
    for run, recipe in zip(runs[1:], recipes[1:], strict=True):
        for key in SAME_START:
            mine, other = getattr(recipes[0], key), getattr(recipe, key)
            if mine != other:
                raise RunError(
                    f"{first.path} starts from {key} = {mine!r}, {run.path} from {other!r}: the mean of their weights "
                    "is no network. A soup takes runs with one start; `tltool ensemble` without --kind soup takes any."
                )
        if _shape_of(first.model) != _shape_of(run.model):
            raise RunError(
                f"{first.path} and {run.path} differ in their layers (in what the head reads, say), so their weights "
                "have no mean. A soup takes runs of one architecture; `tltool ensemble` without --kind soup takes any."
            )


def _shape_of(model: keras.Model) -> list[tuple]:
    return [(type(layer), layer.name, [tuple(weight.shape) for weight in layer.weights]) for layer in model.layers]


@dataclass(frozen=True, eq=False)
class Soup:
    """What came of it.

    Attributes:
        run: A run like any other.
        chosen: Names of the runs in it, the best first.
        members: What each run brings and costs, on pictures that all held out.
        whole: The same of the soup.
        pictures: That all were scored on.
        temperature: Of the soup, fitted on the validation pictures that it was chosen by.
    """

    run: Run
    chosen: tuple[str, ...]
    members: tuple[Price, ...]
    whole: Price
    pictures: int
    temperature: Temperature

    def to_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run.path),
            "chosen": list(self.chosen),
            "members": [price.to_json() for price in self.members],
            "whole": self.whole.to_json(),
            "pictures": self.pictures,
            "temperature": self.temperature.to_json(),
        }

    def __str__(self) -> str:
        accuracy = "top-1" if self.run.labels.threshold is None else "mAP"
        return f"{table_of([*self.members, self.whole], accuracy)}\n{self.in_words()}"

    def in_words(self) -> str:
        """What is in it."""
        only = " No other run made it better on the validation pictures." if len(self.chosen) == 1 else ""
        return f"The soup is the mean of the weights of: {', '.join(self.chosen)}.{only}"


def soup_of_runs(runs: Sequence[Run], out: str | Path | None = None, *, report: Report = silent) -> Soup:
    """Mixes the weights of fine-tuned runs greedily, into one model of the same size with a run folder of its own.

    Validation pictures that no run was trained on tell what helps, by their log loss. Where the runs have learned
    statistics of BatchNorm, those of each mixture are recomputed on the first run's training pictures.

    Args:
        runs: Two or more, done, fine-tuned, with the same classes and the same start.
        out: The new run's folder, new or empty; `runs/soup-N` where None.
        report: Told how many pictures are done.

    Raises:
        RunError: if runs cannot be mixed (see `check_agreeing`, `check_same_start`), there is no picture to choose by
            or to score on, or the folder is taken.
        DataError: if the pictures are gone.
    """
    check_agreeing(runs)
    check_same_start(runs)
    valid, held_out = validating_all(runs), held_out_by_all(runs)
    names, threshold = runs[0].class_names, runs[0].labels.threshold
    model = load_model(runs[0].path).model  # once more: the first run's own model stays as it is
    kitchen = _Kitchen(model, runs, valid, threshold)
    with new_made_run("soup", runs, out) as folder:
        mixture = greedy_soup([run.model.get_weights() for run in runs], kitchen.score_of, kitchen.finish)
        model.set_weights(mixture.weights)
        several = threshold is not None
        temperature = temperature_of(Unlearned(kitchen.prob(), valid.labels), runs[0].data.seed)
        dense = model.get_layer(LOGITS)
        dense.set_weights([weight / temperature.value for weight in dense.get_weights()])
        save_model(model, folder)
        if several:
            threshold = tune_threshold(kitchen.prob(), valid.labels)
        held_out, prob = probabilities_of([*(run.model for run in runs), model], held_out, report)
        labels, picture = Labels(names, threshold), decode(held_out.paths[0])
        members = prices_of(runs, prob[:-1], held_out.labels, picture)
        seconds = sum(member.seconds for member in members)
        chosen = tuple(runs[number].path.name for number in mixture.chosen)
        what = f"soup of {len(chosen)} of {len(runs)}"
        scores = score_any(prob[-1], held_out.labels, names, threshold)
        whole = price_of(what, scores, seconds, folder.model, model, picture)
        about = {
            "chosen": list(chosen),
            "validation_log_loss": {run.path.name: score for run, score in zip(runs, mixture.scores, strict=True)},
            "validation_log_loss_of_soup": mixture.score,
            "temperature": temperature.value,
            "table": [price.to_json() for price in (*members, whole)],
        }
        certainty = certainty_of(temperature, Unlearned(kitchen.prob(), valid.labels), SOURCE, NO_NOVELTY)
        write_made(folder, Made(what, runs, model, labels, held_out, prob[-1], seconds, certainty), about)
        finish_made(folder, held_out, what)
    return Soup(Run(folder), chosen, members, whole, len(held_out.rows), temperature)


class _Kitchen:
    """One model that takes on the weights of each mixture, and is scored on the validation pictures."""

    def __init__(self, model: keras.Model, runs: Sequence[Run], valid: CommonPictures, threshold: float | None):
        self.model, self._valid, self._threshold = model, valid, threshold
        self._network, self._framing = prepared_model(model), framing_of(model)
        self._names = runs[0].class_names
        self._learned, self._train = _learned_norms(runs), learned_pictures(runs[0])

    def score_of(self, weights: Weights) -> float:
        """Log loss on the validation pictures, nats; the model keeps the weights."""
        self.model.set_weights(weights)
        return score_any(self.prob(), self._valid.labels, self._names, self._threshold).log_loss

    def finish(self, mean: Weights) -> Weights:
        """The mean with statistics of its own, where the runs have learned theirs."""
        if not self._learned:
            return mean
        self.model.set_weights(mean)
        batches = (batch.pixels for batch in self._read(self._train) if len(batch.indices))
        self._network.set_weights(recomputed_statistics(self._network, batches, self._learned))
        return self.model.get_weights()

    def prob(self) -> np.ndarray:
        """On the validation pictures, shape (n, C)."""
        return np.concatenate([self._network.predict_on_batch(batch.pixels) for batch in self._read(self._valid)])

    def _read(self, pictures: CommonPictures) -> Generator[Batch, None, None]:
        return read_batches(pictures.paths, self._framing, BATCH, keys=pictures.keys)


def _learned_norms(runs: Sequence[Run]) -> list[str]:
    """Names of the BatchNorm layers whose statistics differ between the runs: those that were learned."""
    found = []
    for layer in runs[0].model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            values = [run.model.get_layer(layer.name).get_weights()[-2:] for run in runs]
            if any(not np.array_equal(a, b) for other in values for a, b in zip(values[0], other, strict=True)):
                found.append(layer.name)
    return found
