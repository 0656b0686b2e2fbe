"""What may leave an archive: members whose names stay inside the folder, and no more bytes than there is room for."""

import errno
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tltool.cache import VARIABLE
from tltool.data.formats import ARCHIVE_SUFFIXES
from tltool.data.listing import is_litter
from tltool.errors import DataError
from tltool.progress import Report, silent

TASK = "Unpacking the archive"
MAX_MEMBERS = 200_000  # members; ImageNet-100 has 130,000, and a folder tree of more makes file systems crawl
MAX_TOTAL_BYTES = 20 * 2**30  # bytes on disk once unpacked; more does not fit beside a user's other files
RATIO_ABOVE_BYTES = 16 * 2**20  # bytes of one member or archive; below it even a bomb is small
MAX_RATIO = 200  # unpacked / packed; pictures reach 1.1, blank BMP pages about 100, bombs 1000
CHUNK_BYTES = 2**20  # bytes read at once; a bound is overrun by one chunk at most
KEPT_FREE_BYTES = 64 * 2**20  # bytes that are left on the disk: without any, other programs fail too
LOOK_EVERY_BYTES = 64 * 2**20  # bytes between two looks at the free space; it must not exceed what is kept free
MAX_DEPTH = 64  # folders in each other; removing a tree recurses, and Python allows about 1,000 levels
MAX_NAME_BYTES = 255  # bytes of one name in UTF-8; NAME_MAX of Linux and of most file systems
MAX_PATH_BYTES = 4095  # bytes of a whole path; PATH_MAX of Linux is 4,096 with the zero at its end
NAME_SHOWN = 80  # characters of a name in a message: it is chosen by whoever packed the archive


class Target:
    """The folder that one archive is unpacked into. All members go through it, so that none escapes a bound.

    Attributes:
        archive: The archive; messages start with it.
        files: Written so far.
        bytes: Written so far.
        nested: Names of the archives among the files.
    """

    def __init__(self, archive: Path, folder: Path, report: Report = silent):
        self.archive = archive
        self.files = 0
        self.bytes = 0
        self.nested: list[str] = []
        self._folder = folder
        self._report = report
        self._members = 0
        self._told = 0
        self._looked = 0
        self._spellings: dict[str, str] | None = None if _tells_case_apart(folder) else {}

    def fault(self, name: str, what: str) -> DataError:
        """The error that refuses the archive for one member."""
        return DataError(f"{self.archive}: member {_shortened(name)!r} {what}")

    def admit(self, name: str) -> PurePosixPath | None:
        """Checks a member's name, and counts the member.

        Returns:
            Its path relative to the folder, or None if it belongs to the system and is left out.

        Raises:
            DataError: naming the member and the rule that it breaks, or that there are too many members.
        """
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise DataError(f"{self.archive}: more than {MAX_MEMBERS:,} members. {_YOURSELF}")
        path = PurePosixPath(name)
        rules = {
            "an absolute path": path.is_absolute(),
            "a drive letter": re.match(r"[A-Za-z]:", name),
            "a backslash": "\\" in name,
            "a zero byte": "\0" in name,
            "'..'": ".." in path.parts,
        }
        for rule, broken in rules.items():
            if broken:
                raise self.fault(name, f"has {rule} in its name. Pack the folder again with plain names.")
        if any(is_litter(part) for part in path.parts):
            return None
        if len(path.parts) > MAX_DEPTH:
            raise self.fault(name, f"lies more than {MAX_DEPTH} folders deep. Pack the folder again with fewer.")
        if _is_too_long(self._folder, path):
            raise self.fault(name, _TOO_LONG)
        return path

    def make_room(self, wanted: int) -> None:
        """Checks that the disk has room for so many bytes more.

        Raises:
            DataError: if it has not.
        """
        free = shutil.disk_usage(self._folder).free
        if wanted + KEPT_FREE_BYTES > free:
            raise DataError(
                f"{self.archive}: no room to unpack it in {self._folder.parent}: it takes "
                f"{_shown(wanted + KEPT_FREE_BYTES)}, and {_shown(free)} are free. "
                f"Make room, or set {VARIABLE} to a folder on a larger disk."
            )

    def check_whole(self, unpacked: int, packed: int) -> None:
        """Checks that the archive, as far as it is known, is no bomb.

        Raises:
            DataError: if it unpacks to more than the bound, or to far more than pictures do.
        """
        if unpacked > MAX_TOTAL_BYTES:
            raise too_large(self.archive)
        if _is_bomb(unpacked, packed):
            raise DataError(
                f"{self.archive}: unpacks to more than {MAX_RATIO} times its size; pictures do not. {_YOURSELF}"
            )

    def check_member(self, name: str, unpacked: int, packed: int) -> None:
        """As `check_whole`, for one member."""
        if _is_bomb(unpacked, packed):
            raise self.fault(
                name, f"unpacks to more than {MAX_RATIO} times its packed size; pictures do not. {_YOURSELF}"
            )

    def add_folder(self, name: str, path: PurePosixPath) -> None:
        """Makes a folder and those that it lies in."""
        self._check_spelling(name, path)
        with self._placing(name):
            (self._folder / path).mkdir(parents=True, exist_ok=True)

    def add_file(self, name: str, path: PurePosixPath, content: Iterable[bytes]) -> int:
        """Writes a file, and makes the folders that it lies in.

        Returns:
            The bytes written, which are counted: what an archive says of its sizes may be a lie.

        Raises:
            DataError: if there is such a file, its name cannot be, or a bound is exceeded.
            OSError: if the disk does not take it.
        """
        if not path.parts:
            raise self.fault(name, "has no name. Pack the folder again.")
        self._check_spelling(name, path)
        before = self.bytes
        place = self._folder / path
        with self._placing(name):
            place.parent.mkdir(parents=True, exist_ok=True)
            file = place.open("xb")  # "x": a second member of the same name must not replace the first
        with file:
            for chunk in content:
                file.write(chunk)
                self.bytes += len(chunk)
                if self.bytes > MAX_TOTAL_BYTES:
                    raise too_large(self.archive)
                if self.bytes - self._looked >= LOOK_EVERY_BYTES:
                    self.make_room(0)
                    self._looked = self.bytes
        self.files += 1
        if path.suffix.lower() in ARCHIVE_SUFFIXES:
            self.nested.append(name)
        return self.bytes - before

    def tell(self, done: int, total: int) -> None:
        """Reports progress, but not of every small member."""
        if done - self._told >= CHUNK_BYTES or done >= total:
            self._told = done
            self._report(TASK, done, total)

    @contextmanager
    def _placing(self, name: str) -> Iterator[None]:
        """Blames the member for what the file system does not take."""
        try:
            yield
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise self.fault(name, "is there twice. Pack the folder again.") from None
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            # Some file systems take fewer bytes in a name than most, or not every character.
            if error.errno == errno.ENAMETOOLONG:
                raise self.fault(name, _TOO_LONG) from None
            raise self.fault(name, f"cannot be written ({error.strerror}). Rename it.") from None

    def _check_spelling(self, name: str, path: PurePosixPath) -> None:
        """Without it, "Cat" and "cat" would become one class where the file system takes them for one folder."""
        if self._spellings is None:
            return
        for part in (path, *path.parents):
            spelling = self._spellings.setdefault(unicodedata.normalize("NFC", str(part).casefold()), str(part))
            if spelling != str(part):
                raise self.fault(
                    name,
                    f"and {_shortened(spelling)!r} have names that this file system takes for the same: they differ "
                    "only in letter case or in how accents are written. "
                    f"Rename one, or set {VARIABLE} to a folder on another disk.",
                )


def too_large(archive: Path) -> DataError:
    """The error that refuses an archive for its size."""
    return DataError(f"{archive}: more than {_shown(MAX_TOTAL_BYTES)} once unpacked. {_YOURSELF}")


_YOURSELF = "If that is as it should be, unpack it yourself and give the folder."
_TOO_LONG = "has a name too long for the file system. Pack the folder again with shorter names."


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_SHOWN else f"{name[: NAME_SHOWN // 2]}...{name[-NAME_SHOWN // 2 :]}"


def _is_too_long(folder: Path, path: PurePosixPath) -> bool:
    whole = len(os.fsencode(folder)) + 1 + len(str(path).encode())
    return whole > MAX_PATH_BYTES or any(len(part.encode()) > MAX_NAME_BYTES for part in path.parts)


def _tells_case_apart(folder: Path) -> bool:
    """Whether the file system that `folder` is on takes "Cat" and "cat" for two names."""
    return not folder.with_name(folder.name.swapcase()).exists()


def _is_bomb(unpacked: int, packed: int) -> bool:
    return unpacked > RATIO_ABOVE_BYTES and unpacked > MAX_RATIO * packed


def _shown(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
