"""What several commands take, and how data that the command line names are loaded."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tltool.errors import TltoolError
from tltool.seed import LARGEST_SEED

if TYPE_CHECKING:
    from tltool.data import Dataset
    from tltool.progress import Report

Data = Annotated[
    str,
    typer.Argument(
        help="A folder of class folders or of train/valid/test parts; a .zip or .tar(.gz) of one; a CSV or Parquet "
        "manifest; tfds:NAME; or an address such as s3://bucket/folder."
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="ROLE=NAME", help="Which column of a manifest is path, label, split or group; repeatable."
    ),
]
NoFeatures = Annotated[
    bool, typer.Option("--no-features", help="Look at the files alone: seconds instead of minutes, but no decision.")
]
RunPath = Annotated[Path, typer.Argument(help="A run's folder.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a recipe's value; repeatable.")
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the split, the folds and the order of pictures.")]
TestTime = Annotated[
    bool,
    typer.Option("--tta", help="Average over each picture and one to three views of it: slower by as much."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def load(data: str, columns: list[str] | None, report: "Report", seed: int = 0, *, trainable: bool = True) -> "Dataset":
    """The data set that DATA and `--column` name."""
    from tltool.data import load_dataset

    named = {}
    for column in columns or ():
        role, equals, name = column.partition("=")
        if not equals or not role.strip() or not name.strip():
            raise TltoolError(f"--column {column}: write it as role=name, for example label=diagnosis.")
        named[role.strip()] = name.strip()
    return load_dataset(data, seed, trainable=trainable, columns=named, report=report)


def parse_time(text: str) -> float:
    """Seconds from "90s", "10m", "2h" or plain seconds.

    Raises:
        TltoolError: if it is none of these, or not above 0.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if seconds <= 0:
        raise TltoolError(f"--budget {text}: write a time above 0, such as 90s, 10m or 2h.")
    return seconds
