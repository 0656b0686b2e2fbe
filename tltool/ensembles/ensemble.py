"""Finished runs as one classifier: the mean of their probabilities, what it brings and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit, logit, softmax

from tltool.data.decoding import decode
from tltool.ensembles.agreeing import check_agreeing
from tltool.ensembles.common_pictures import held_out_by_all, probabilities_of
from tltool.ensembles.made_run import Made, new_made_run, save_model, write_made
from tltool.ensembles.price import Price, price_of, prices_of, table_of
from tltool.ensembles.uncertainty import uncertainty
from tltool.evaluation.evaluate import score_any
from tltool.export.bundle import Labels
from tltool.heads.network import is_multi_label
from tltool.progress import Report, silent
from tltool.run import Run
from tltool.training.averaged_model import averaged_model

MODEL_TOLERANCE = 1e-4  # in a probability: float32 in two graphs, with a logarithm between


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What came of it.

    Attributes:
        run: A run like any other: it predicts, evaluates and exports.
        members: What each member brings and costs, on the same pictures.
        whole: The same of the ensemble.
        pictures: That all were scored on: held out by every member.
        disagreement: Mean share of the pairs of members that give different answers, [0, 1].
    """

    run: Run
    members: tuple[Price, ...]
    whole: Price
    pictures: int
    disagreement: float

    @property
    def best(self) -> Price:
        """The most accurate member; of equals that with the lower log loss."""
        return max(self.members, key=lambda price: (price.accuracy, -price.log_loss))

    @property
    def gain(self) -> float:
        """Accuracy of the ensemble minus that of the best member: a fraction, negative where it lost."""
        return self.whole.accuracy - self.best.accuracy

    def __str__(self) -> str:
        accuracy = "top-1" if self.run.labels.threshold is None else "mAP"
        return f"{table_of([*self.members, self.whole], accuracy)}\n{self._in_words()}"

    def _in_words(self) -> str:
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
    runs: Sequence[Run], out: str | Path | None = None, *, temperature: float = 1.0, report: Report = silent
) -> Ensemble:
    """Averages the probabilities of finished runs, plainly, into one model with a run folder of its own.

    Args:
        runs: Two or more, done, with the same classes. They are read and left as they are.
        out: The new run's folder, new or empty; `runs/ensemble-N` where None.
        temperature: Of the mean, > 0; see `averaged_model`. It must come from pictures that no member has learned from
            and that are not held out either: those that are held out here are for the score.
        report: Told how many pictures are done.

    Raises:
        RunError: if runs cannot be put together (see `check_agreeing`), no picture is held out by all, or the folder is
            taken.
        DataError: if the held-out pictures are gone.
        TltoolError: if the temperature is no number above 0.
    """
    check_agreeing(runs)
    pictures = held_out_by_all(runs)
    labels = Labels(runs[0].class_names, _threshold(runs, temperature))
    model = averaged_model([run.model for run in runs], labels.class_names, temperature)
    pictures, prob = probabilities_of([run.model for run in runs], pictures, report)
    mean = tempered(prob.mean(axis=0), temperature, multi_label=labels.threshold is not None)
    picture = decode(pictures.paths[0])
    with new_made_run("ensemble", runs, out) as folder:
        save_model(folder, model)
        _check_model(model, runs, picture, temperature)
        members = prices_of(runs, prob, pictures.labels, picture)
        seconds = sum(member.seconds for member in members)
        what = f"ensemble of {len(runs)}"
        scores = score_any(mean, pictures.labels, labels.class_names, labels.threshold)
        whole = price_of(what, scores, seconds, folder.model, model, picture)
        disagreement = float(uncertainty(prob, labels.threshold).disagreement.mean())
        about = {
            "temperature": temperature,
            "held_out_by_all": len(pictures.rows),
            "disagreement": disagreement,
            "table": [price.to_json() for price in (*members, whole)],
        }
        write_made(folder, Made(what, runs, model, labels, pictures, mean, seconds), about)
    return Ensemble(Run(folder), members, whole, len(pictures.rows), disagreement)


def tempered(prob: np.ndarray, temperature: float, *, multi_label: bool) -> np.ndarray:
    """Probabilities at a temperature, as the averaged model gives them, shape (N, C)."""
    if multi_label:
        return expit(logit(prob.astype(np.float64)) / temperature)
    with np.errstate(divide="ignore"):
        return softmax(np.log(prob.astype(np.float64)) / temperature, axis=1)


def _threshold(runs: Sequence[Run], temperature: float) -> float | None:
    """The members' mean; at a temperature the one at which the same classes count as present."""
    thresholds = [run.labels.threshold for run in runs]
    if thresholds[0] is None:
        return None
    return float(tempered(np.array([[np.mean(thresholds)]]), temperature, multi_label=True)[0, 0])


def _check_model(model: keras.Model, runs: Sequence[Run], picture: np.ndarray, temperature: float) -> None:
    """Asks the finished graph and the members of one picture: a lost weight shows here, not at the user's."""
    members = np.mean([run.model.predict_on_batch(picture[None]) for run in runs], axis=0)
    expected = tempered(members, temperature, multi_label=is_multi_label(model))
    difference = float(np.abs(model.predict_on_batch(picture[None]) - expected).max())
    if difference > MODEL_TOLERANCE:
        raise RuntimeError(
            f"The ensemble's probabilities differ from its members' mean by {difference:.3f}; report this."
        )
