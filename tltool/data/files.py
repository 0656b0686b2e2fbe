"""Which picture files somebody means by a list of paths."""

from collections.abc import Iterable
from pathlib import Path

from tltool.data.dataset import Problem
from tltool.data.listing import list_class


def picture_files(paths: Iterable[str | Path]) -> tuple[list[Path], list[Problem]]:
    """Files as they are named, and for a folder all pictures in it and below, sorted.

    Returns:
        The files, and what is missing or is left out of a folder.
    """
    files, problems = [], []
    for path in map(Path, paths):
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except OSError as error:
            problems.append(Problem(str(path), f"cannot be read ({error.strerror})"))
            continue
        if is_folder:
            pictures, faults = list_class(path, path)
            files += sorted(path / name for name in pictures)
            problems += [Problem(str(path / fault.path), fault.reason) for fault in faults]
            if not pictures and not faults:
                problems.append(Problem(str(path), "no pictures in this folder"))
        elif exists:
            files.append(path)
        else:
            problems.append(Problem(str(path), "no such file"))
    return files, problems
