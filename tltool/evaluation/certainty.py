"""How far a model's answers can be trusted: its calibration, sets of classes, and what it knows nothing of."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tltool.errors import DataError, ExportError
from tltool.evaluation.conformal import ConformalScores
from tltool.evaluation.novelty import Novelty
from tltool.files import replacing, write_json
from tltool.heads.temperature import Temperature
from tltool.training.run_folder import CALIBRATION_FILE, NOVELTY_FILE

COVERAGE = 0.9  # of the sets that are told unless another is asked for


@dataclass(frozen=True, eq=False)
class Certainty:
    """What was found out on pictures that the model has not learned from; its scores are told on yet others.

    Attributes:
        temperature: What its logits were divided by.
        source: Which pictures that is from, in words.
        sets: For sets of classes; or why there are none.
        novelty: For "I do not know"; or why there is none.
    """

    temperature: Temperature
    source: str
    sets: ConformalScores | str
    novelty: Novelty | str

    def set_threshold(self, coverage: float | None) -> float | None:
        """The probability from which a class is in a picture's set.

        Args:
            coverage: Share of sets that shall hold the right class, [0.5, 0.999]; None for `COVERAGE` where it can be
                had, and no sets where it cannot.

        Raises:
            DataError: if a coverage is asked for that cannot be had.
        """
        try:
            if isinstance(self.sets, str):
                raise DataError(self.sets)
            return self.sets.threshold(COVERAGE if coverage is None else coverage)
        except DataError:
            if coverage is None:
                return None
            raise

    def known(self, features: np.ndarray) -> np.ndarray | None:
        """Whether each picture is like those that the model has learned from, shape (N,); None where nobody can tell.

        Args:
            features: What stands in front of the model's logits, shape (N, D).
        """
        return None if isinstance(self.novelty, str) else self.novelty.known(features)

    def write(self, folder: Path) -> None:
        """Writes `calibration.json`, and `novelty.npz` where there is one."""
        if isinstance(self.novelty, Novelty):
            with replacing(folder / NOVELTY_FILE) as temporary:
                np.savez_compressed(temporary, **self.novelty.to_arrays())
        write_json(folder / CALIBRATION_FILE, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """All but the features that novelty compares with."""
        sets = {"reason": self.sets} if isinstance(self.sets, str) else self.sets.to_json()
        unknown = {"reason": self.novelty} if isinstance(self.novelty, str) else {"threshold": self.novelty.threshold}
        return {"temperature": self.temperature.to_json(), "source": self.source, "sets": sets, "unknown": unknown}


def read_certainty(folder: Path) -> Certainty | None:
    """What `write` wrote; None where there is nothing, as beside a model of an earlier version.

    Raises:
        ExportError: if a file is damaged, or one of the two is missing.
    """
    path = folder / CALIBRATION_FILE
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text("utf-8"))
        sets = values["sets"].get("reason") or ConformalScores.from_json(values["sets"])
        novelty = values["unknown"].get("reason")
        temperature = Temperature(**values["temperature"])
        if novelty is None:
            path = folder / NOVELTY_FILE
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
                novelty = Novelty.from_arrays(arrays)
        return Certainty(temperature, values["source"], sets, novelty)
    except Exception as error:  # NumPy and zipfile answer a damaged file with whatever their readers raise
        raise ExportError(
            f"{path}: cannot be read ({type(error).__name__}). Copy it again from the run, or export again; "
            f"{CALIBRATION_FILE} and {NOVELTY_FILE} belong beside the model."
        ) from None
