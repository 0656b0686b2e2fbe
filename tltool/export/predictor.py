"""Labels for new pictures, from a run, a bundle or a model file."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from tltool.data.dataset import Problem
from tltool.data.files import picture_files
from tltool.data.manifests import SEPARATOR
from tltool.errors import DataError, ExportError
from tltool.export.bundle import LABELS_FILE, MODEL_FILE, Labels, read_labels
from tltool.progress import Report, silent
from tltool.training.run_folder import CALIBRATION_FILE

if TYPE_CHECKING:
    import keras

    from tltool.evaluation.certainty import Certainty


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one picture.

    Attributes:
        path: The file.
        labels: The most probable class; of a multi-label model those from the threshold on, perhaps none.
        confidence: Probability of `labels`, in [0, 1]; of a multi-label model the product over all classes of the
            probability that each is there, or is not, as `labels` say.
        probabilities: By class name; they sum to 1 unless the model is a multi-label one.
        label_set: Classes among which the right one is as often as was asked for, most probable first; None where the
            model cannot tell, as a multi-label one, or one fitted on a handful of pictures.
        known: Whether the picture is like those that the model has learned from: if not, its label says little. None
            where the model cannot tell.
    """

    path: Path
    labels: tuple[str, ...]
    confidence: float
    probabilities: dict[str, float]
    label_set: tuple[str, ...] | None = None
    known: bool | None = None

    @property
    def label(self) -> str:
        """The class; of a multi-label model all of them, with `|` between."""
        return SEPARATOR.join(self.labels)


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model ready to classify.

    Attributes:
        model_file: A picture model: uint8 RGB in, probabilities out.
        labels: What its outputs mean.
    """

    model_file: Path
    labels: Labels

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.labels.class_names

    @cached_property
    def model(self) -> "keras.Model":
        """The Keras model, loaded in safe mode: a file that carries code is refused.

        Raises:
            ExportError: if the file is not a tltool model.
        """
        import keras

        import tltool.backbones.hub_layer  # noqa: F401  a file with a layer of KerasHub is read only where this is known
        from tltool.heads.network import CLIP, PROBABILITIES, is_multi_label

        try:
            model = keras.saving.load_model(self.model_file, compile=False, safe_mode=True)
        except Exception as error:  # Keras answers a bad file with whatever its readers raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ExportError(f"{self.model_file}: not a model that can be loaded ({reason}).") from None
        names = {layer.name for layer in model.layers}
        if not {CLIP, PROBABILITIES} <= names:
            raise ExportError(f"{self.model_file}: not made by tltool. Give a run, a bundle or its model.keras.")
        if model.output.shape[-1] != len(self.class_names):
            raise ExportError(
                f"{self.model_file}: has {model.output.shape[-1]} classes, but {LABELS_FILE} names "
                f"{len(self.class_names)}. Keep the two files of one export together."
            )
        if is_multi_label(model) != (self.labels.threshold is not None):
            raise ExportError(
                f"{self.model_file}: {LABELS_FILE} is from a model of another kind (one label a picture or several). "
                "Keep the two files of one export together."
            )
        return model

    @cached_property
    def certainty(self) -> "Certainty | None":
        """What is known of how far its answers can be trusted; None beside a model of an earlier version.

        Raises:
            ExportError: if it cannot be read.
        """
        from tltool.evaluation.certainty import read_certainty

        return read_certainty(self.model_file.parent)

    @property
    def cannot_tell(self) -> tuple[str, ...]:
        """What predictions lack, and why, in words; a multi-label model answers with a set anyway, so it lacks none."""
        if self.certainty is None:
            return (f"Sets of classes and unknown pictures are not told: there is no {CALIBRATION_FILE} beside it.",)
        lacking = []
        if self.certainty.set_threshold(None) is None and self.labels.threshold is None:
            reason = self.certainty.sets if isinstance(self.certainty.sets, str) else "too few pictures to calibrate on"
            lacking.append(f"Sets of classes are not told: {reason}.")
        if isinstance(self.certainty.novelty, str):
            lacking.append(f"Unknown pictures are not told: {self.certainty.novelty.rstrip('.')}.")
        return tuple(lacking)

    def predict(
        self, paths: str | Path | Iterable[str | Path], report: Report = silent, coverage: float | None = None
    ) -> list[Prediction]:
        """Classifies picture files; folders stand for the pictures in them.

        Args:
            paths: Files and folders.
            report: Told how many pictures are done.
            coverage: Share of the sets of classes that shall hold the right one, [0.5, 0.999]; None for 0.9 where the
                model was calibrated on enough pictures, and no sets where it was not.

        Returns:
            One prediction a picture, in order.

        Raises:
            DataError: if a file cannot be read (`try_predict` goes on without it), or the coverage cannot be had.
        """
        predictions, problems = self.try_predict(paths, report, coverage)
        if problems:
            raise DataError("\n".join(str(problem) for problem in problems))
        return predictions

    def try_predict(
        self,
        paths: str | Path | Iterable[str | Path],
        report: Report = silent,
        coverage: float | None = None,
        *,
        test_time: bool = False,
    ) -> tuple[list[Prediction], tuple[Problem, ...]]:
        """Classifies what can be read, and tells what cannot and why; arguments as `predict`.

        Args:
            paths: As for `predict`.
            report: As for `predict`.
            coverage: As for `predict`.
            test_time: Whether to average over views of each picture; see `tltool.evaluation.test_time`.

        Raises:
            DataError: if the coverage cannot be had.
        """
        from tltool.evaluation.inference import classify
        from tltool.evaluation.test_time import views_beside

        # A text is a sequence too: of letters, each of which would be taken for a path.
        files, missing = picture_files([paths] if isinstance(paths, (str, Path)) else paths)
        certainty, lowest = self.certainty, None
        if certainty is not None:
            lowest = certainty.set_threshold(coverage)
        elif coverage is not None:
            raise DataError(f"{self.model_file.parent}: holds no {CALIBRATION_FILE}, which sets of classes take.")
        views = views_beside(self.model_file.parent) if test_time else ()
        result = classify(self.model, files, report, with_features=certainty is not None, views=views)
        known = None if certainty is None else certainty.known(result.features)
        predictions = []
        for row, (index, values) in enumerate(zip(result.indices, result.values, strict=True)):
            prediction = self._prediction(files[index], values.astype(np.float64))
            likely = None if lowest is None else self._label_set(values, lowest)
            predictions.append(replace(prediction, label_set=likely, known=None if known is None else bool(known[row])))
        return predictions, (*missing, *result.problems)

    def _label_set(self, values: np.ndarray, lowest: float) -> tuple[str, ...]:
        order = np.argsort(-values, kind="stable")
        count = max(1, int((values.astype(np.float64) >= lowest).sum()))  # never empty
        return tuple(self.class_names[index] for index in order[:count])

    def _prediction(self, path: Path, values: np.ndarray) -> Prediction:
        probabilities = {name: float(value) for name, value in zip(self.class_names, values, strict=True)}
        if self.labels.threshold is None:
            best = int(values.argmax())
            return Prediction(path, (self.class_names[best],), float(values[best]), probabilities)
        present = values >= self.labels.threshold
        names = tuple(name for name, there in zip(self.class_names, present, strict=True) if there)
        return Prediction(path, names, float(np.where(present, values, 1 - values).prod()), probabilities)


def load_model(source: str | Path) -> Predictor:
    """Opens a run folder, a bundle folder or a `.keras` file with its `labels.json` beside it.

    Raises:
        RunError: if the run did not finish.
        ExportError: if there is no such model.
    """
    from tltool.training.run_folder import STATE_FILE, RunFolder

    path = Path(source)
    advice = "Give a run folder, an exported bundle or a .keras file."
    try:
        if (path / STATE_FILE).is_file():
            RunFolder(path).require_done()
        file = path / MODEL_FILE if path.is_dir() else path
        if not file.is_file():
            what = "holds no model.keras" if path.is_dir() else "no such model"
            raise ExportError(f"{path}: {what}. {advice}")
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror}). {advice}") from None
    if file.suffix != ".keras":
        raise ExportError(f"{path}: not a .keras file. {advice}")
    return Predictor(file, read_labels(file.parent / LABELS_FILE))


def write_csv(
    file: IO[str], class_names: Sequence[str], predictions: Iterable[Prediction], with_sets: bool = False
) -> None:
    """Writes `path,label,confidence` and one `prob:<class>` column a class; after them, if asked, `set` and `known`.

    Nine significant digits give every float32 back. Classes of a set stand with `|` between; `known` is yes or no, or
    empty where the model cannot tell.
    """
    writer = csv.writer(file, lineterminator="\n")
    more = ("set", "known") if with_sets else ()
    writer.writerow(["path", "label", "confidence", *(f"prob:{name}" for name in class_names), *more])
    for prediction in predictions:
        numbers = (prediction.confidence, *(prediction.probabilities[name] for name in class_names))
        row = [prediction.path, prediction.label, *(f"{number:.9g}" for number in numbers)]
        if with_sets:
            row += [SEPARATOR.join(prediction.label_set or ()), {True: "yes", False: "no", None: ""}[prediction.known]]
        writer.writerow(row)
