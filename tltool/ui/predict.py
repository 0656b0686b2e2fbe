"""Labels for pictures that somebody tries in the browser, by `tltool predict` in a process of its own."""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import TltoolError
from tltool.training.job import MESSAGE

TIMEOUT = 300  # seconds; loading Keras and a model takes 5 to 20
LEFT_OUT = "Left out: "
PROBABILITY = "prob:"


@dataclass(frozen=True)
class Answer:
    """What the model says of one picture.

    Attributes:
        probabilities: By class; None if the picture could not be read.
        label: The class, or several with `|` between.
        confidence: In `label`, [0, 1].
        label_set: Classes of which one is right in nine of ten pictures; empty where the model cannot tell.
        known: Whether it is like the pictures that the model has learned from; None where the model cannot tell.
        problem: Why it could not be read.
    """

    probabilities: dict[str, float] | None
    label: str = ""
    confidence: float = 0.0
    label_set: tuple[str, ...] = ()
    known: bool | None = None
    problem: str | None = None


def predict_pictures(run: Path, pictures: Sequence[bytes]) -> list[Answer]:
    """One answer a picture, in order.

    Raises:
        TltoolError: if the model cannot be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "answers.csv"
        files = [Path(folder) / str(index) for index in range(len(pictures))]
        for file, content in zip(files, pictures, strict=True):
            file.write_bytes(content)
        asked = ["predict", str(run), *map(str, files), "--csv", str(table), "--sets"]
        command = [sys.executable, "-P", "-m", "tltool", *asked]
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, cwd=folder, check=False
            )
        except subprocess.TimeoutExpired:
            raise TltoolError(f"No answer within {TIMEOUT} s. Try again with fewer or smaller pictures.") from None
        said = ended.stderr.decode("utf-8", "replace").splitlines()
        problems = _problems(said, folder)
        if not table.exists() and not problems:
            words = [line.removeprefix(MESSAGE) for line in said if line.startswith(MESSAGE)]
            raise TltoolError(words[-1] if words else "The model could not be loaded. Free some memory or train again.")
        answers = _answers(table) if table.exists() else {}
    return [
        answers.get(file) or Answer(None, problem=problems.get(file, "it cannot be read")) for file in map(str, files)
    ]


def _answers(table: Path) -> dict[str, Answer]:
    with table.open(encoding="utf-8", newline="") as file:
        return {row["path"]: _answer(row) for row in csv.DictReader(file)}


def _answer(row: dict[str, str]) -> Answer:
    numbers = {
        name.removeprefix(PROBABILITY): float(value) for name, value in row.items() if name.startswith(PROBABILITY)
    }
    likely = tuple(name for name in row["set"].split("|") if name)
    known = {"yes": True, "no": False}.get(row["known"])
    return Answer(numbers, row["label"].replace("|", ", "), float(row["confidence"]), likely, known)


def _problems(said: Sequence[str], folder: str) -> dict[str, str]:
    problems = {}
    for line in said:
        if line.startswith(f"{LEFT_OUT}{folder}"):
            path, _, reason = line.removeprefix(LEFT_OUT).partition(": ")
            problems[path] = reason
    return problems
