"""A finished or unfinished run, opened by its folder: its scores, its model, and what can be done with them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tltool.data import Dataset, load_dataset
from tltool.data.dataset import load_index
from tltool.errors import RunError
from tltool.evaluation.certainty import Certainty, read_certainty
from tltool.evaluation.evaluate import CertaintyScores, Evaluation, evaluate_model, read_metrics
from tltool.evaluation.metrics import Metrics
from tltool.evaluation.multi_label import MultiLabelMetrics
from tltool.evaluation.test_time import views_beside
from tltool.export.bundle import Bundle, Labels, export_run, read_labels
from tltool.progress import Report, silent
from tltool.training.fine_tuning import FineTuning
from tltool.training.request import read_request
from tltool.training.run_folder import RunFolder

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Run:
    """A finished or unfinished run, by its folder."""

    folder: RunFolder

    @property
    def path(self) -> Path:
        return self.folder.path

    @cached_property
    def metrics(self) -> Metrics | MultiLabelMetrics:
        """Scores on the pictures that the run held out."""
        return read_metrics(self._scores)

    @cached_property
    def metrics_without_leaks(self) -> Metrics | MultiLabelMetrics | None:
        """The same without the `leaked` pictures; None where there are none, or no others."""
        scores = self._scores.get("without_leaks")
        return None if scores is None else read_metrics(scores)

    @property
    def tuning(self) -> FineTuning | None:
        """What fine-tuning brought on the validation pictures; None for a probe recipe."""
        scores = self._scores.get("validation")
        return None if scores is None else FineTuning.from_json(scores)

    @property
    def seconds(self) -> float:
        """That it took."""
        return self._scores["seconds"]

    @property
    def searched(self) -> bool:
        """Whether the numbers of its recipe were searched."""
        return self.folder.request.exists() and read_request(self.folder.request).searching

    @property
    def leaked(self) -> int:
        """Held-out pictures of which a copy, or another one of its group, was learned from."""
        return self._scores.get("leaked", 0)  # runs of earlier versions do not say

    @cached_property
    def _scores(self) -> dict:
        self.folder.require_done()
        return self._read(self.folder.metrics)

    def _read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read ({error}), and a run needs it. Fit again.") from None

    @cached_property
    def decision(self) -> dict:
        """What `decision.json` says."""
        return json.loads(self.folder.decision.read_text("utf-8"))

    @cached_property
    def data(self) -> Dataset:
        """The data set with the split that was used."""
        return load_index(self.folder.data)

    @cached_property
    def certainty(self) -> Certainty | None:
        """How far the model's answers can be trusted; None of runs of earlier versions."""
        return read_certainty(self.path)

    @cached_property
    def learned(self) -> frozenset[str]:
        """Content keys of the pictures that it has learned from, or was chosen by."""
        return frozenset(self._read(self.folder.seen))

    @property
    def certainty_scores(self) -> CertaintyScores:
        """How sets of classes and "I do not know" did on the held-out pictures."""
        return CertaintyScores(**self._scores.get("certainty", {}))

    @cached_property
    def labels(self) -> Labels:
        """What the model's outputs mean."""
        return read_labels(self.folder.labels)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.labels.class_names

    @cached_property
    def model(self) -> "keras.Model":
        """The picture model: uint8 RGB pictures of any size to probabilities."""
        from tltool.export.predictor import load_model

        return load_model(self.path).model

    def evaluate(
        self, data: Dataset | str | Path | None = None, report: Report = silent
    ) -> Metrics | MultiLabelMetrics:
        """Scores the model: on the pictures that the run held out, or on other labelled ones (see `evaluate_run`)."""
        return self.metrics if data is None else evaluate_run(self, data, report).metrics

    def export(self, out: str | Path, formats: Sequence[str] = ("keras",)) -> Bundle:
        """Writes a bundle into a new or empty folder.

        Raises:
            ExportError: if a format is not offered, or the folder is not empty.
            RunError: if the run did not finish.
        """
        return export_run(self.folder, Path(out), formats)


def evaluate_run(
    run: Run, data: Dataset | str | Path, report: Report = silent, *, test_time: bool = False
) -> Evaluation:
    """Scores a run on labelled pictures that it has not learned from.

    Args:
        run: A finished run.
        data: Class folders named like the run's classes; where there is a test part, that part counts.
        report: Told how many pictures are done.
        test_time: Whether to average over views of each picture; see `tltool.evaluation.test_time`.

    Raises:
        DataError: if a class is not one of the run's, or no picture is left to score.
    """
    run.folder.require_done()
    data = data if isinstance(data, Dataset) else load_dataset(data, trainable=False)
    labels = run.labels
    model = run.model, labels.class_names, labels.threshold
    views = views_beside(run.path) if test_time else ()
    return evaluate_model(*model, run.learned, data, report, run.certainty, views)


def open_run(path: str | Path) -> Run:
    """A run by its folder.

    Raises:
        RunError: if there is none.
    """
    folder = RunFolder(Path(path))
    folder.read_state()
    return Run(folder)
