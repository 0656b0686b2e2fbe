"""Finds the files that a manifest lists."""

import os
import posixpath
import re
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from tltool.data.formats import PICTURE_SUFFIXES
from tltool.data.listing import Fault, fault_of_file, list_folder, shortened


def fault_of_path(path: str) -> Fault | None:
    """Why a manifest from a stranger may not list this path (slashes between its parts); None if it may."""
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in path.split("/"):
        return Fault(f"{path} leads out of the folder: only paths below it are followed here", "outside")
    return None


class Finder:
    """Finds files by the paths in a manifest.

    Args:
        folder: The manifest's own, absolute; paths are relative to it.
        confined: Whether nothing outside of it may be found, be it by an absolute path, by ".." or through a link.
    """

    def __init__(self, folder: Path, *, confined: bool) -> None:
        self.folder = folder
        self._confined = confined
        self._top = os.path.realpath(folder)
        self._bases = ("",)
        self._inside: dict[str, bool] = {}  # folder -> whether it lies in the manifest's, links followed
        # Folder -> plain name, or the plain name without its ending and a slash -> names in it.
        self._alike: dict[str, dict[str, list[str]]] = {}

    def look_beside(self, paths: Iterable[str]) -> list[str]:
        """Makes paths relative to folders beside the manifest, if these paths lead to nothing from the manifest itself.

        Args:
            paths: Some of the manifest's.

        Returns:
            Names of the folders in which they are found; none if the paths are relative to the manifest, or to nothing.
        """
        cleaned = [self._cleaned(path) for path in paths]
        if not self._confined and any(self._exists(path) for path in cleaned):
            return []
        # ".." after a folder's name would leave that folder, and perhaps the manifest's.
        cleaned = [path for path in cleaned if path and not fault_of_path(path)]
        if any(self._exists(path) for path in cleaned):
            return []
        beside = [f"{name}/" for name in list_folder(self.folder, self.folder).folders]
        bases = [base for base in beside if any(self._exists(base + path) for path in cleaned)]
        if bases:
            self._bases = tuple(bases)
        return [base.rstrip("/") for base in bases]

    def find(self, path: str) -> tuple[str, Fault | None]:
        """The file that is meant, so that `folder / file` opens it, and why it cannot be used (None if it can).

        Backslashes count as slashes. Where there is no such file, one is taken whose name differs only in letter case,
        in how accents are composed, or in that it has an ending (".jpg"), if there is exactly one.
        """
        cleaned = self._cleaned(path)
        if not cleaned:
            return cleaned, Fault("no path", "missing-file")
        fault = fault_of_path(cleaned)
        if fault and self._confined:
            return cleaned, fault
        files = [base + cleaned for base in (("",) if fault else self._bases)]
        found = [file for file in files if self._status(file)] or [name for file in files for name in self._like(file)]
        if len(found) != 1:
            several = f"several files could be meant by {path}: {shortened(found)}"
            return cleaned, Fault(several if found else f"no such file {path}", "missing-file")
        (file,) = found
        if self._confined and not self._is_inside(file):
            return file, Fault(f"{file} is a link out of the folder: only files in it are read here", "outside")
        status = self._status(file)
        fault = fault_of_file(file, status) if status else Fault(f"no such file {path}", "missing-file")
        return file, fault and fault._replace(reason=f"{file}: {fault.reason}")

    def _cleaned(self, path: str) -> str:
        path = path.replace("\\", "/")
        if not path or "\0" in path:
            return ""
        cleaned = str(PurePosixPath(path))
        if cleaned.startswith(f"{self.folder.as_posix()}/"):
            return cleaned[len(self.folder.as_posix()) + 1 :]
        return "" if cleaned == "." else cleaned

    def _exists(self, file: str) -> bool:
        return bool(self._status(file) or self._like(file))

    def _status(self, file: str) -> os.stat_result | None:
        try:
            status = os.stat(os.path.join(self.folder, file))
        except (OSError, ValueError):
            return None
        return None if stat.S_ISDIR(status.st_mode) else status

    def _is_inside(self, file: str) -> bool:
        full = os.path.join(self.folder, file)
        if os.path.islink(full):
            return self._lies_below(os.path.realpath(full))
        parent = os.path.dirname(full)
        if parent not in self._inside:
            self._inside[parent] = self._lies_below(os.path.realpath(parent))
        return self._inside[parent]

    def _lies_below(self, real: str) -> bool:
        return real == self._top or real.startswith(os.path.join(self._top, ""))

    def _like(self, file: str) -> list[str]:
        parent, name = posixpath.split(file)
        if parent not in self._alike:
            self._alike[parent] = self._list(parent)
        alike = self._alike[parent]
        names = alike.get(_plain(name), [])
        if not names and posixpath.splitext(name)[1].lower() not in PICTURE_SUFFIXES:
            names = alike.get(f"{_plain(name)}/", [])
        return [posixpath.join(parent, found) for found in names]

    def _list(self, parent: str) -> dict[str, list[str]]:
        alike = defaultdict(list)
        full = os.path.join(self.folder, parent)
        # Nothing is listed outside, so that a message cannot tell a stranger what lies there.
        if self._confined and not self._lies_below(os.path.realpath(full)):
            return alike
        with suppress(OSError, ValueError), os.scandir(full) as entries:
            for entry in entries:
                if not entry.is_dir():
                    alike[_plain(entry.name)].append(entry.name)
                    stem, ending = os.path.splitext(entry.name)
                    if ending.lower() in PICTURE_SUFFIXES:
                        alike[f"{_plain(stem)}/"].append(entry.name)  # a slash: no file can be called that
        return alike


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
