"""Arrays with one row a picture, on disk: memory does not grow with their number."""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from tltool.files import write_json

ABOUT = "rows.json"  # written last: without it, whoever wrote the rows was stopped
FREE_KEPT = 2 * 10**9  # bytes of the disk that are left to others
ITEM = 4  # bytes of a number


class StoredRows:
    """Float32 arrays of equally many rows, which are read by their numbers.

    Args:
        folder: Holds a file an array.
        shapes: Of one row of each array.
    """

    def __init__(self, folder: Path, shapes: Sequence[tuple[int, ...]]):
        self.folder = folder
        self.shapes = [tuple(shape) for shape in shapes]

    @classmethod
    def bytes_needed(cls, shapes: Sequence[tuple[int, ...]], rows: int) -> int:
        return rows * ITEM * sum(int(np.prod(shape)) for shape in shapes)

    def fit_in(self, rows: int) -> bool:
        """Whether the disk has room for so many rows, with some to spare."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.folder).free > self.bytes_needed(self.shapes, rows) + FREE_KEPT

    def are_complete(self, rows: int) -> bool:
        """Whether so many rows were written before, to the last."""
        try:
            return json.loads((self.folder / ABOUT).read_text("utf-8")) == self._about(rows)
        except (OSError, ValueError):
            return False

    def write(self, parts: Iterable[Sequence[np.ndarray]]) -> None:
        """Writes all rows, in order; each part holds some rows of every array."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ABOUT).unlink(missing_ok=True)
        files = [path.open("wb") for path in self._paths()]
        rows = 0
        try:
            for arrays in parts:
                for file, array in zip(files, arrays, strict=True):
                    file.write(np.ascontiguousarray(array, np.float32).tobytes())
                rows += len(arrays[0])
        finally:
            for file in files:
                file.close()
        write_json(self.folder / ABOUT, self._about(rows))

    def __enter__(self) -> Self:
        self._files = [os.open(path, os.O_RDONLY) for path in self._paths()]
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            os.close(file)

    def read(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """These rows of every array, while it is entered."""
        # Not a memory map: its pages count as memory of the process, as many as were ever touched.
        found = []
        for file, shape in zip(self._files, self.shapes, strict=True):
            size = ITEM * int(np.prod(shape))
            parts = [np.frombuffer(os.pread(file, size, int(row) * size), np.float32) for row in rows]
            found.append(np.stack(parts).reshape(len(parts), *shape))
        return found

    def _paths(self) -> list[Path]:
        return [self.folder / f"{number}.f32" for number in range(len(self.shapes))]

    def _about(self, rows: int) -> dict:
        return {"rows": rows, "shapes": [list(shape) for shape in self.shapes]}
