"""A folder with a finished model and all that is needed to use it elsewhere."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import ExportError
from tltool.files import replacing, write_json
from tltool.training.run_folder import CALIBRATION_FILE, NOVELTY_FILE, RunFolder

FORMATS = ("keras",)
MODEL_FILE = "model.keras"
LABELS_FILE = "labels.json"


@dataclass(frozen=True)
class Labels:
    """What a model's outputs mean.

    Attributes:
        class_names: In the order of the outputs.
        threshold: Of a multi-label model: the probability from which a class counts as present. None where each picture
            has exactly one class.
    """

    class_names: tuple[str, ...]
    threshold: float | None = None


@dataclass(frozen=True)
class Bundle:
    """Where an export lies.

    Attributes:
        folder: Holds `model.keras`, `labels.json`, and `calibration.json` and `novelty.npz` where the run has them.
        formats: Which formats are in it.
    """

    folder: Path
    formats: tuple[str, ...]

    @property
    def keras_file(self) -> Path:
        return self.folder / MODEL_FILE


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats without repeats.

    Raises:
        ExportError: if one is not offered, or there is none.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        what = f"Cannot export to {', '.join(unknown)}" if unknown else "No format given"
        raise ExportError(f"{what}; offered: {', '.join(FORMATS)}.")
    return tuple(dict.fromkeys(formats))


def write_bundle(
    model_file: Path, labels: Labels, folder: Path, formats: Sequence[str], beside: Sequence[Path] = ()
) -> Bundle:
    """Writes a bundle from a run's picture model, and files that belong beside it.

    The `.keras` file takes uint8 RGB pictures of any size and gives probabilities; resizing and preprocessing are
    inside. It loads in plain Keras, in safe mode, without tltool.

    Raises:
        ExportError: if a format is not offered, or the folder is not empty.
    """
    formats = check_formats(formats)
    if not model_file.is_file():
        raise ExportError(f"{model_file}: missing, so there is nothing to export. Fit again.")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ExportError(f"{folder}: exists and is not empty. Give another --out; nothing is overwritten.")
        folder.mkdir(parents=True, exist_ok=True)
        for source in (model_file, *beside):
            with replacing(folder / source.name) as temporary:
                shutil.copyfile(source, temporary)
        write_labels(folder / LABELS_FILE, labels)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written ({error.strerror}). Give another --out.") from None
    return Bundle(folder, formats)


def export_run(run: RunFolder, out: Path, formats: Sequence[str]) -> Bundle:
    """Writes a finished run's model as a bundle.

    Raises:
        ExportError: if a format is not offered, or `out` is not empty.
        RunError: if the run did not finish.
    """
    formats = check_formats(formats)
    run.require_done()
    beside = [run.path / name for name in (CALIBRATION_FILE, NOVELTY_FILE)]
    return write_bundle(run.model, read_labels(run.labels), out, formats, [file for file in beside if file.exists()])


def write_labels(path: Path, labels: Labels) -> None:
    """Writes a list of class names; of a multi-label model an object with "classes" and "threshold"."""
    names = list(labels.class_names)
    write_json(path, names if labels.threshold is None else {"classes": names, "threshold": labels.threshold})


def read_labels(path: Path) -> Labels:
    """Reads them back.

    Raises:
        ExportError: if the file is missing or holds something else.
    """
    try:
        names = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{path}: the class names cannot be read ({error}). Keep it beside the model.") from None
    threshold = None
    if isinstance(names, dict):
        names, threshold = names.get("classes"), names.get("threshold")
        if not isinstance(threshold, float) or not 0 < threshold < 1:
            raise ExportError(f"{path}: `threshold` = {threshold!r}, not a number between 0 and 1. Export again.")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ExportError(f"{path}: not a list of class names. Export the model again.")
    return Labels(tuple(names), threshold)
