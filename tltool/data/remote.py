"""From an address that fsspec opens (s3://, gs://, https:// and many more) to files on this machine."""

import hashlib
import json
import posixpath
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import fsspec
from fsspec import AbstractFileSystem
from fsspec.registry import known_implementations

from tltool.data.archives import is_archive
from tltool.data.formats import PICTURE_SUFFIXES
from tltool.data.listed_files import fault_of_path
from tltool.data.listing import TABLE_SUFFIXES, is_litter, is_table, shortened
from tltool.data.manifests import listed_paths
from tltool.data.mirror import WORKERS, RemoteFile, mirror, reason
from tltool.errors import DataError
from tltool.progress import Report

NAME_DIGITS = 32  # hex digits of the SHA-256 in the folder's name: 128 bits, so that no two places meet
MAX_FILES = 1_000_000  # of a listing that is kept in memory
WEB = frozenset(("http", "https"))
PAGE = "text/html"
WEB_DEPTH = 8  # folders below a web page; a site may link itself deeper without end
ONE_READER = frozenset(("zip", "tar", "libarchive", "ftp"))  # file systems with a single handle or connection
# What a listing says beside a file's size, and what changes with its content. Each file system has its own word.
VERSIONS = (
    *("ETag", "etag", "md5Hash", "md5", "Content-MD5", "checksum", "crc32c", "CRC", "sha", "blob_id"),
    *("LastModified", "last_modified", "mtime", "updated", "modified", "created", "time"),
)
# The package that brings a protocol whose file system is a part of fsspec itself.
NEEDS: Mapping[str, str] = {
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    **dict.fromkeys(("github", "gist", "jupyter", "jlab", "webhdfs", "dbfs"), "requests"),
    **dict.fromkeys(("hdfs", "arrow_hdfs"), "pyarrow"),
    "smb": "smbprotocol",
    "git": "pygit2",
    "libarchive": "libarchive-c",
    "hf": "huggingface_hub",
}


class Fetched(NamedTuple):
    """What lies at an address, on this machine."""

    path: Path  # a folder, an archive or a manifest
    notes: tuple[str, ...] = ()


def fetch(address: str, into: Path, columns: Mapping[str, str] | None, report: Report) -> Fetched:
    """Copies what lies at an address once; later calls return the same as long as its listing stays the same.

    Args:
        address: Of a folder, of which pictures and manifests are copied; of an archive; or of a manifest, with which
            the files that it lists are copied.
        into: The folder that holds the copies, made if it is missing.
        columns: For a manifest, as in `find_columns`.
        report: Told how far it is.

    Raises:
        DataError: if the address cannot be opened or read, holds nothing to read, or lists names that lead elsewhere.
    """
    inner = re.sub(r"^(zip|tar)::", "", address)
    if inner != address and is_archive(Path(_last_name(inner))):
        # Copied and unpacked as any archive is, with all that guards against a malicious one.
        return fetch(inner, into, columns, report)
    system, path = _open(address)
    try:
        return _Place(system, path, address, into, report).fetch(columns)
    except DataError:
        raise
    except FileNotFoundError as error:
        why = f" ({reason(error.__cause__)})" if error.__cause__ else ""
        raise DataError(f"{address}: nothing there{why}. Check the address, and whether it may be read.") from None
    except Exception as error:
        # What a file system raises depends on the package behind it: OSError, ValueError, botocore's own ...
        raise _unreadable(address, error) from None


class _Place:
    """What lies at an address, and where its copy goes."""

    def __init__(self, system: AbstractFileSystem, path: str, address: str, into: Path, report: Report) -> None:
        self._system, self._path, self._address, self._into, self._report = system, path, address, into, report
        self._is_web = not WEB.isdisjoint(_protocols(address))

    def fetch(self, columns: Mapping[str, str] | None) -> Fetched:
        name, info = _last_name(self._path), self._system.info(self._path)
        # On the web everything is a file; a page may be the listing of a folder.
        kind = (info.get("mimetype") or PAGE) if self._is_web else info["type"]
        if is_archive(Path(name)) and kind not in ("directory", PAGE):
            return Fetched(self._copy([self._file(name, info)]) / name)
        if is_table(name) and kind not in ("directory", PAGE):
            return self._fetch_manifest(self._file(name, info), columns)
        if kind in ("directory", PAGE):
            return self._fetch_folder()
        raise DataError(f"{self._address}: neither a folder nor an archive (.zip, .tar) nor a table (.csv, .parquet).")

    def _file(self, name: str, info: Mapping[str, Any], full: str | None = None) -> RemoteFile:
        return RemoteFile(full or self._path, self._checked(name), info.get("size"), _version(info))

    def _copy(self, files: list[RemoteFile]) -> Path:
        listing = [[file.name, file.size, file.version] for file in files]
        digest = hashlib.sha256(json.dumps([self._address.rstrip("/"), listing]).encode()).hexdigest()[:NAME_DIGITS]
        return self._mirror(files, self._into / f"remote-{digest}")

    def _mirror(self, files: list[RemoteFile], target: Path) -> Path:
        workers = 1 if ONE_READER & set(_protocols(self._address)) else WORKERS
        return mirror(self._system, files, target, self._address, self._report, workers)

    def _fetch_folder(self) -> Fetched:
        depth = {"maxdepth": WEB_DEPTH} if self._is_web else {}
        infos = self._system.find(self._path, detail=True, **depth)
        if len(infos) > MAX_FILES:
            raise DataError(f"{self._address}: {len(infos):,} files; at most {MAX_FILES:,} are copied.")
        wanted, others = [], []
        for full, info in sorted(infos.items()):
            name = self._relative(full)
            is_wanted = posixpath.splitext(name)[1].lower() in PICTURE_SUFFIXES | TABLE_SUFFIXES
            if is_wanted:
                self._checked(name)  # before litter is left out, which ".." would pass for
            if info.get("type") != "file" or not name or any(map(is_litter, name.split("/"))):
                continue
            if is_wanted:
                wanted.append(self._file(name, info, full))
            else:
                others.append(name)
        if not wanted:
            found = f" It holds {shortened(others)}." if others else ""
            raise DataError(f"{self._address}: no pictures there.{found} Check the address.")
        notes = (f"Not copied, for they are no pictures: {shortened(others)}.",) if others else ()
        return Fetched(self._copy(wanted), notes)

    def _fetch_manifest(self, table: RemoteFile, columns: Mapping[str, str] | None) -> Fetched:
        self._into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".reading-", dir=self._into) as folder:
            alone = self._mirror([table], Path(folder) / "table") / table.name
            paths = {path.replace("\\", "/") for path in listed_paths(alone, columns, self._address)}
        # Those that lead elsewhere are reported when the table is read, row by row.
        plain = (path for path in paths if "\0" not in path and not fault_of_path(path))
        wanted = {str(PurePosixPath(path)) for path in plain} - {table.name, "."}
        listed = self._expected(wanted) if self._is_web else self._found(wanted)
        return Fetched(self._copy([table, *listed]) / table.name)

    def _expected(self, wanted: Iterable[str]) -> list[RemoteFile]:
        """Most web servers list no folders: each file is asked for, and one that is not there stays missing."""
        base = urlsplit(self._path)._replace(query="", fragment="").geturl().rsplit("/", 1)[0]
        pictures = (name for name in sorted(wanted) if posixpath.splitext(name)[1].lower() in PICTURE_SUFFIXES)
        return [RemoteFile(f"{base}/{quote(name)}", self._checked(name), None, required=False) for name in pictures]

    def _found(self, wanted: Collection[str]) -> list[RemoteFile]:
        """The files that a manifest lists, as far as they are there; ids without an ending find their pictures."""
        base = self._path.rpartition("/")[0]
        found = {}
        for parent in sorted({posixpath.dirname(name) for name in wanted}):
            try:
                infos = self._system.ls(f"{base}/{parent}".rstrip("/"), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                continue
            for info in infos:
                name = posixpath.join(parent, PurePosixPath(info["name"]).name)
                stem, ending = posixpath.splitext(name)
                is_picture = ending.lower() in PICTURE_SUFFIXES
                if info["type"] == "file" and is_picture and (name in wanted or stem in wanted):
                    found[name] = self._file(name, info, info["name"])
        return [found[name] for name in sorted(found)]

    def _relative(self, full: str) -> str:
        """The name below the address; of a page on the web "" if it only shows the folder in another order."""
        base = self._path.rstrip("/")
        if not base:
            return full.lstrip("/")
        name = full.removeprefix(f"{base}/")
        return unquote(name) if self._is_web and not {"?", "#"} & set(name) else "" if self._is_web else name

    def _checked(self, name: str) -> str:
        """The name, if it stays below a folder in which it is created; it is as little to be trusted as an archive's.

        Raises:
            DataError: if it does not.
        """
        parts = name.split("/")
        rules = {
            "'..' or '.'": ".." in parts or "." in parts,
            "an empty folder name": "" in parts,
            "a backslash": "\\" in name,
            "a zero byte": "\0" in name,
            "a drive letter": re.match(r"[A-Za-z]:", name),
        }
        for rule, broken in rules.items():
            if broken:
                raise DataError(f"{self._address}: lists {name!r}, which has {rule} in its name. Rename it there.")
        return name


def _open(address: str) -> tuple[AbstractFileSystem, str]:
    for protocol in _protocols(address):
        try:
            fsspec.get_filesystem_class(protocol)
        except ValueError:
            raise DataError(f"{address}: '{protocol}' is no protocol that fsspec knows. Check the address.") from None
        except ImportError as error:
            package = NEEDS.get(protocol) or known_implementations[protocol]["class"].split(".")[0]
            raise DataError(
                f"{address}: '{protocol}' needs a package that is not installed ({reason(error)}). "
                f"Run: pip install {package}"
            ) from None
    try:
        system, path = fsspec.core.url_to_fs(address)
        # File systems are kept by fsspec, with what they listed before: files may have been added since.
        system.invalidate_cache()
    except Exception as error:
        raise _unreadable(address, error) from None
    return system, path


def _unreadable(address: str, error: Exception) -> DataError:
    return DataError(
        f"{address}: cannot be read ({type(error).__name__}: {reason(error)}). "
        "Check the address, the network, and the credentials that it needs."
    )


def _protocols(address: str) -> list[str]:
    return [match[1].lower() for match in re.finditer(r"(?:^|::)([A-Za-z][A-Za-z0-9+.-]*)(?=::|://)", address)]


def _last_name(path: str) -> str:
    """The last part of a path or of an address, without what follows a question mark there."""
    parts = urlsplit(path) if "://" in path else None
    return unquote(PurePosixPath(parts.netloc + parts.path).name) if parts else PurePosixPath(path).name


def _version(info: Mapping[str, Any]) -> str:
    return "|".join(str(info[key]) for key in VERSIONS if info.get(key) is not None)
