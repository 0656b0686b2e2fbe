"""Where training stands, on disk: written all or nothing, the last two kept."""

import json
import logging
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tltool.errors import RunError, StoppedError
from tltool.files import replacing

FORMAT = 1  # raise it when checkpoints hold something else: older ones are then refused, not misread
KEPT = 2  # the last may be damaged by a power cut
EVERY_STEPS = 50
EVERY_SECONDS = 60.0
# Of all time, at most, goes into writing: a checkpoint of EfficientNet-Lite0 takes some tenths of a second.
WRITING_SHARE = 0.05
PLACE = "place"  # the entry that holds what is no array, as JSON

log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """Where training stands.

    Attributes:
        place: What JSON can hold.
        arrays: The rest, by name.
    """

    place: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Checkpoints:
    """Writes and finds checkpoints.

    Args:
        folder: Made with the first one; None to keep the last in memory alone.
        belongs: What a checkpoint must have been written for, by name, such as the recipe's digest.
    """

    def __init__(self, folder: Path | None = None, belongs: Mapping[str, str] | None = None):
        self.folder = folder
        self.belongs = dict(belongs or {}) | {"format": str(FORMAT)}
        self._steps, self._seconds, self._since = 0, 0.0, time.monotonic()
        self._last: Checkpoint | None = None

    def due(self) -> bool:
        """Whether it is time for one; to be asked after each step."""
        if self.folder is None:
            return False
        self._steps += 1
        passed = time.monotonic() - self._since
        return passed * WRITING_SHARE >= self._seconds and (self._steps >= EVERY_STEPS or passed >= EVERY_SECONDS)

    def write(self, checkpoint: Checkpoint) -> None:
        """Keeps a checkpoint, and lets go of those before the last two.

        Raises:
            StoppedError: if it cannot be written; the one before is as it was.
        """
        self._last = checkpoint if self.folder is None else None
        start = time.monotonic()
        if self.folder is not None:
            place = json.dumps(checkpoint.place | {"belongs": self.belongs}).encode()
            try:
                self.folder.mkdir(exist_ok=True)
                files = self._files()
                number = int(files[-1].stem) + 1 if files else 1
                with replacing(self.folder / f"{number:06}.npz") as temporary, temporary.open("wb") as file:
                    np.savez(file, **{PLACE: np.frombuffer(place, np.uint8)}, **checkpoint.arrays)
                for old in files[: len(files) + 1 - KEPT]:
                    old.unlink(missing_ok=True)
            except OSError as error:
                raise StoppedError(
                    f"{self.folder}: no checkpoint can be written ({error.strerror}). What was written before is "
                    f"whole: make room, or the folder writable, then `tltool resume {self.folder.parent}`."
                ) from None
        self._since = time.monotonic()
        self._steps, self._seconds = 0, self._since - start

    def latest(self) -> Checkpoint | None:
        """The newest one that is whole; None if there is none.

        Raises:
            RunError: if it was written for something else, such as another recipe.
        """
        if self.folder is None:
            return self._last
        for path in reversed(self._files()):
            try:
                with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                    arrays = {name: file[name] for name in file.files}
                place = json.loads(arrays.pop(PLACE).tobytes())
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                log.warning("%s: damaged, so the checkpoint before it is used (%s).", path, error)
                continue
            self._check(path, place.pop("belongs"))
            return Checkpoint(place, arrays)
        return None

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.npz") if path.stem.isdigit())

    def _check(self, path: Path, belongs: Mapping[str, str]) -> None:
        other = [name for name, value in self.belongs.items() if belongs.get(name) != value]
        if other:
            raise RunError(
                f"{path}: was written for another {' and another '.join(other)}. Put back what the run was started "
                f"with, or start anew: `tltool fit`."
            )


def pack(name: str, weights: Sequence[np.ndarray], start: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Weights as entries of a checkpoint: only those that are not as they were at the start."""
    return {
        f"{name}/{number}": weight
        for number, (weight, first) in enumerate(zip(weights, start, strict=True))
        if not np.array_equal(weight, first)
    }


def unpack(name: str, arrays: Mapping[str, np.ndarray], start: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What was packed."""
    return [arrays.get(f"{name}/{number}", first) for number, first in enumerate(start)]
