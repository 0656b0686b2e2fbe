"""A folder for one data set in the app: what was uploaded, what was measured, and the runs on it.

The address of the page names it, so that a reload, or another day, finds everything where it is.
"""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tltool.cache import cache_dir
from tltool.data import Dataset, load_index
from tltool.demo import write_digits
from tltool.errors import TltoolError
from tltool.files import write_json
from tltool.training.job import Job, start
from tltool.training.run_folder import list_runs, new_run_path
from tltool.training.submission import Submission, submit

FOLDER = "workspaces"  # in the cache folder
ID = re.compile(r"[0-9a-f]{32}")  # random, so that nobody finds another's by guessing
UPLOADS = "upload"
SETTINGS_FILE = "workspace.json"
LONGEST_NAME = 60  # characters of a data set's name that are kept in the names of files


@dataclass(frozen=True)
class Workspace:
    """Names of what lies in a workspace."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @cached_property
    def settings(self) -> dict[str, Any]:
        """ "title", "source", "backbone" and "created"."""
        return json.loads((self.path / SETTINGS_FILE).read_text("utf-8"))

    @property
    def title(self) -> str:
        """What the user calls the data set."""
        return self.settings["title"]

    @property
    def source(self) -> str:
        """What `load_dataset` takes."""
        return self.settings["source"]

    @property
    def data_file(self) -> Path:
        return self.path / "data.json"

    @property
    def facts_file(self) -> Path:
        return self.path / "inspection.json"

    @property
    def augmentation_file(self) -> Path:
        """A grid of augmented pictures."""
        return self.path / "augmentation.png"

    @property
    def events_file(self) -> Path:
        """Progress of the inspection."""
        return self.path / "inspection.jsonl"

    @property
    def runs(self) -> Path:
        """What `tltool runs` can list."""
        return self.path / "runs"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def inspection(self) -> Job:
        return Job(self.jobs / "inspection.json")

    def data(self) -> Dataset:
        return load_index(self.data_file)

    def facts(self) -> dict[str, Any]:
        """What the inspection found, with the decision and the table."""
        return json.loads(self.facts_file.read_text("utf-8"))

    def start_inspection(self) -> Job:
        """Starts to list and measure the pictures, unless that was started before and not stopped."""
        self.inspection.forget_stopped()
        return start(["tltool.ui.examine", str(self.path)], self.inspection.record)

    def start_fit(self, recipe: str | None) -> Submission:
        """Starts a run on the pictures as they were listed; None lets the table decide.

        Raises:
            TltoolError: if it cannot be started.
        """
        run = new_run_path(file_name(Path(self.title).stem), self.runs)
        return submit(self.data(), recipe, out=run, settings=[self._backbone])

    def fit_command(self, recipe: str | None) -> list[str]:
        """The command line that trains, without its `--out`."""
        asked = ["--recipe", recipe] if recipe else []
        return ["tltool", "fit", self.source, *asked, "--set", self._backbone]

    def fits(self) -> list[Submission]:
        """Runs, oldest first."""
        return [Submission(run) for run in list_runs(self.runs)]

    def in_words(self, message: str) -> str:
        """A message in which an upload has the name that the user gave it, without the path to this folder."""
        source = Path(self.source)
        if source.parent == self.path / UPLOADS:
            ending = source.name.removeprefix(file_name(self.title))
            message = message.replace(str(source), f"{self.title}{ending}")
        for folder in (self.path / UPLOADS, self.path):
            message = message.replace(f"{folder}{os.sep}", "")
        # A run may wait for one of another workspace, whose number would open it to whoever reads this.
        return re.sub(rf"{re.escape(str(self.path.parent))}{re.escape(os.sep)}{ID.pattern}", "(another)", message)

    @property
    def _backbone(self) -> str:
        return f"backbone={self.settings['backbone']}"


def from_folder(text: str, backbone: str) -> Workspace:
    """A workspace on a folder, an archive or a table that is on this machine already; it is only read.

    Raises:
        TltoolError: if there is none.
    """
    text = text.strip().strip("\"'").strip()  # file managers copy paths in quotes
    if not text:
        raise TltoolError("Type the path of a folder first, such as /home/me/photos.")
    try:
        folder = Path(text).expanduser().absolute()
        found = folder.exists()
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a zero byte
        found = False
    if not found:
        raise TltoolError(f"{text}: there is no such folder or file on the machine that runs tltool. Check the path.")
    with new_workspace() as path:
        return describe(path, folder.name or str(folder), folder, backbone)


def from_sample(backbone: str) -> Workspace:
    """A workspace on the handwritten digits that come with scikit-learn."""
    with new_workspace() as path:
        return describe(path, "digits", write_digits(path / "digits"), backbone)


def open_workspace(id_: str) -> Workspace | None:
    """The workspace of an address, or None if there is none (any more)."""
    if not ID.fullmatch(id_):
        return None
    workspace = Workspace(cache_dir() / FOLDER / id_)
    try:
        workspace.settings  # noqa: B018
    except (OSError, ValueError):
        return None
    return workspace


def recent_workspaces(count: int) -> list[Workspace]:
    """The newest ones, newest first."""
    folder = cache_dir() / FOLDER
    found = [open_workspace(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(filter(None, found), key=lambda space: space.settings["created"], reverse=True)[:count]


@contextmanager
def new_workspace() -> Iterator[Path]:
    """A new folder to fill and to `describe`; it goes again if the block fails.

    Raises:
        TltoolError: if something cannot be written.
    """
    path = cache_dir() / FOLDER / secrets.token_hex(16)
    try:
        path.mkdir(parents=True)
        yield path
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise TltoolError(
            f"{path.parent}: the pictures cannot be kept there ({error.strerror or error}). Free some space."
        ) from None
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def describe(path: Path, title: str, source: Path, backbone: str) -> Workspace:
    """Makes a folder a workspace, which `open_workspace` finds from then on."""
    settings = {"title": title, "source": str(source), "backbone": backbone, "created": time.time()}
    write_json(path / SETTINGS_FILE, settings)
    return Workspace(path)


def file_name(text: str) -> str:
    """Something like it that is a sound file name everywhere, without an ending."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._-")[:LONGEST_NAME] or "pictures"
