"""Features once: every picture goes through the frozen backbone a single time, and what it said is kept on disk."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tltool.backbones import Backbone
from tltool.cache import cache_dir
from tltool.data.batches import read_batches
from tltool.data.content import content_key
from tltool.data.dataset import Problem
from tltool.data.decoding import read_bytes
from tltool.errors import PictureError
from tltool.features.engine import ENGINE_BATCH, load_engine
from tltool.features.reading import FEATURES, reading_model
from tltool.features.store import FeatureStore
from tltool.features.taps import TapLayout, tap_layout
from tltool.features.views import View
from tltool.progress import Report, silent

FORMAT = 2  # of the stored vectors: raise it when decoding, resizing or pooling changes what they hold
TASK = "Reading pictures"
TRANSACTION = 64  # pictures written at once: a kill loses at most these, and each write costs a disk flush


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """What a frozen backbone says of each picture.

    Attributes:
        values: Pooled stages, shape (N, layout.width), float32.
        confidence: Largest probability of the backbone's own classifier, shape (N,), in (0, 1]; 0 without one.
        layout: What the columns of `values` are.
        keys: Content keys of the pictures, length N.
        indices: Positions of the pictures in the list that was asked for, shape (N,); unreadable ones are missing.
        problems: The unreadable ones.
    """

    values: np.ndarray
    confidence: np.ndarray
    layout: TapLayout
    keys: tuple[str, ...]
    indices: np.ndarray
    problems: tuple[Problem, ...]

    def take(self, rows: np.ndarray) -> "FeatureTable":
        """The table of these rows alone."""
        keys = tuple(self.keys[row] for row in rows)
        return replace(
            self, values=self.values[rows], confidence=self.confidence[rows], keys=keys, indices=self.indices[rows]
        )

    def select(self, stages: Sequence[str], poolings: Sequence[str]) -> np.ndarray:
        """The columns of these stages under these poolings, shape (N, columns)."""
        return self.values[:, self.layout.select(stages, poolings)]


def extract(
    backbone: Backbone,
    root: Path,
    files: Sequence[str],
    report: Report = silent,
    keys: Sequence[str | None] | None = None,
    view: View | None = None,
    extra: Sequence[str] = (),
) -> FeatureTable:
    """Runs pictures through the backbone, or finds what it said of them before.

    Args:
        backbone: It stays as it is.
        root: The folder that `files` are relative to.
        files: Relative paths.
        report: Told how many pictures are done.
        keys: Content keys of the files, where a scan has told them; a file without one is read for it.
        view: How the pictures are changed before the backbone sees them; not at all where None.
        extra: Of `EXTRA_POOLINGS`, beside those that are always read.

    Returns:
        One row a readable picture, in the order of `files`; its keys are those of the pictures themselves.
    """
    task = TASK if view is None else f"Reading {view.label} pictures"
    layout = tap_layout(backbone, extra)
    store = FeatureStore(cache_dir() / "features" / f"{'-'.join([backbone.fingerprint, str(FORMAT), *extra])}.sqlite")
    keys = [None] * len(files) if keys is None else list(keys)
    unnamed = [index for index in range(len(files)) if keys[index] is None]
    found, problems = content_keys(root, [files[index] for index in unnamed])
    for index, key in zip(unnamed, found, strict=True):
        keys[index] = key
    readable = [index for index in range(len(files)) if keys[index] is not None]
    # What a change of the picture shows is kept beside what the picture itself shows, never in its place.
    names = {index: keys[index] if view is None else f"{keys[index]}-{view.name}" for index in readable}
    known = store.get(list(names.values()))
    missing = [index for index in readable if names[index] not in known]
    report(task, len(readable) - len(missing), len(files))
    if missing:
        engine = load_engine(reading_model(backbone, extra), FEATURES)
        done = len(files) - len(missing)
        paths, named = [root / files[index] for index in missing], [keys[index] for index in missing]
        batches = read_batches(paths, backbone.framing, ENGINE_BATCH, keys=named)
        fresh = {}
        for batch in batches:
            for position, fault in batch.problems:
                problems.append(Problem(files[missing[position]], str(fault), fault.kind))
            if len(batch.indices):
                seen = [missing[position] for position in batch.indices]
                pixels = batch.pixels if view is None else view.change(batch.pixels, [keys[index] for index in seen])
                rows = np.concatenate(engine(pixels), axis=1)
                fresh |= {names[index]: row for index, row in zip(seen, rows, strict=True)}
            done += len(batch.indices) + len(batch.problems)
            report(task, done, len(files))
            if len(fresh) >= TRANSACTION:
                store.put(fresh.items())
                known |= fresh
                fresh = {}
        store.put(fresh.items())
        known |= fresh
    # By name, not by key alone: of two equal files one may have failed to open the second time.
    failed = {problem.path for problem in problems}
    rows = [index for index in readable if names[index] in known and files[index] not in failed]
    table = np.array([known[names[index]] for index in rows], dtype=np.float32).reshape(len(rows), layout.width + 1)
    return FeatureTable(
        values=table[:, :-1],
        confidence=table[:, -1],
        layout=layout,
        keys=tuple(keys[index] for index in rows),
        indices=np.array(rows, dtype=np.int64),
        problems=tuple(sorted(problems, key=lambda problem: problem.path)),
    )


def content_keys(root: Path, files: Sequence[str]) -> tuple[list[str | None], list[Problem]]:
    """Content keys of files, None for those that cannot be read, which are told of as well."""
    problems = []

    def key(file: str) -> str | PictureError:
        try:
            return content_key(read_bytes(root / file))
        except PictureError as error:
            return error

    keys: list[str | None] = []
    with ThreadPoolExecutor() as pool:
        for file, result in zip(files, pool.map(key, files, chunksize=64), strict=True):
            if isinstance(result, PictureError):
                problems.append(Problem(file, str(result), result.kind))
            keys.append(None if isinstance(result, PictureError) else result)
    return keys, problems


def digest(keys: Sequence[str]) -> str:
    """One key for a set of pictures, whatever their order."""
    return hashlib.sha256(",".join(sorted(keys)).encode()).hexdigest()[:40]
