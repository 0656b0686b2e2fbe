"""Packs archives for tests, good ones and bad ones."""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

TAR_MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    """Writes an archive of the kind that the path ends in; names that end in "/" are folders."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo()
                info.filename = name  # given to the constructor, it would be cut at a zero byte
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, content)
        return path
    return pack_tar(path, [tar_member(name, content) for name, content in members.items()])


def tar_member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """One member for `pack_tar`."""
    info = tarfile.TarInfo(name.rstrip("/"))
    info.type = tarfile.DIRTYPE if name.endswith("/") else kind
    info.size = len(content)
    return info, content


def pack_tar(
    path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT, **options: object
) -> Path:
    """Writes a .tar, packed as the path ends; each member's header is written as it is, lies included."""
    mode = next(mode for ending, mode in TAR_MODES.items() if path.name.lower().endswith(ending))
    with tarfile.open(path, mode, format=form, **options) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Paths and contents of all files but those that start with a dot."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def everything_under(folder: Path) -> set[str]:
    """Relative paths of all files and folders."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
