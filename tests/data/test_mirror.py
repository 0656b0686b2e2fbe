"""Copies that are interrupted, shared, too large, or not what was promised."""

import io
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from fsspec import AbstractFileSystem

from tests.packing import tree
from tltool.data import mirror as mirror_module
from tltool.data.mirror import RemoteFile, mirror, reason
from tltool.errors import DataError
from tltool.progress import silent


class Shelf(AbstractFileSystem):
    """A file system in memory that counts what is opened and can fail."""

    protocol = "shelf"
    cachable = False

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__()
        self.contents = contents
        self.opened: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self.lock = threading.Lock()

    def open(self, path: str, mode: str = "rb") -> io.BytesIO:
        with self.lock:
            self.opened.append(path)
            if self.failures.get(path):
                raise self.failures[path].pop(0)
        if path not in self.contents:
            raise FileNotFoundError(path)
        return io.BytesIO(self.contents[path])

    def listed(self, **changes: object) -> list[RemoteFile]:
        return [
            RemoteFile(path, path, len(content))._replace(**changes) for path, content in sorted(self.contents.items())
        ]


class DiskUsage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def shelf() -> Shelf:
    return Shelf({f"c{n % 3}/{n:02}.png": bytes([n]) * (n + 1) for n in range(30)})


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "datasets" / "remote-1"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


def copy(
    shelf: Shelf, target: Path, files: list[RemoteFile] | None = None, workers: int = 4, **options: object
) -> Path:
    return mirror(shelf, shelf.listed() if files is None else files, target, "shelf://x", workers=workers, **options)


def run(shelf: Shelf, target: Path, files: list[RemoteFile] | None = None, workers: int = 4) -> Path:
    return copy(shelf, target, files, workers, report=silent)


def only(target: Path) -> bool:
    """Whether nothing but the target is left where it stands."""
    return [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("workers", [1, 8])
def test_files_are_copied_once_and_reported(shelf: Shelf, target: Path, workers: int) -> None:
    told = []
    assert copy(shelf, target, workers=workers, report=lambda *progress: told.append(progress)) == target
    assert tree(target) == shelf.contents
    assert only(target)
    assert told == [("Copying files", done, 30) for done in range(31)]
    assert run(shelf, target) == target
    assert len(shelf.opened) == 30


def test_a_single_file_is_reported_by_its_size(target: Path) -> None:
    shelf = Shelf({"photos.zip": b"x" * 5_000_000})
    told = []
    copy(shelf, target, report=lambda *progress: told.append(progress))
    assert (target / "photos.zip").stat().st_size == 5_000_000
    assert told[0] == ("Copying (MB)", 1, 5)
    assert told[-1] == ("Copying (MB)", 5, 5)


def test_sizes_need_not_be_known(shelf: Shelf, target: Path) -> None:
    run(shelf, target, shelf.listed(size=None))
    assert tree(target) == shelf.contents


def test_an_interrupted_copy_is_continued(shelf: Shelf, target: Path) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(task: str, done: int, total: int) -> None:
        if done == 20:
            raise Interrupted

    with pytest.raises(Interrupted):
        copy(shelf, target, workers=1, report=interrupt)
    assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == [".partial-remote-1"]
    first = set(shelf.opened)
    told = []
    shelf.opened.clear()
    copy(shelf, target, report=lambda *progress: told.append(progress))
    assert tree(target) == shelf.contents
    assert only(target)
    # What was complete is not asked for again; one that was under way may be.
    assert len(first | set(shelf.opened)) == 30
    assert len(shelf.opened) <= 10
    assert told[0] == ("Copying files", 30 - len(shelf.opened), 30)


def test_half_a_file_is_copied_again(shelf: Shelf, target: Path) -> None:
    half = target.with_name(".partial-remote-1") / "c0" / "00.png"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"xx")
    run(shelf, target)
    assert tree(target) == shelf.contents


def test_a_network_that_stumbles_is_asked_again(shelf: Shelf, target: Path, pauses: list[float]) -> None:
    shelf.failures["c0/00.png"] = [ConnectionError("reset"), TimeoutError("slow")]
    run(shelf, target)
    assert tree(target) == shelf.contents
    assert pauses == [0.5, 1.0]


@pytest.mark.parametrize(
    ("errors", "message", "attempts"),
    [
        ([ConnectionError("reset by peer")] * 3, r"c0/00\.png cannot be copied \(reset by peer\)\. Start again", 3),
        ([RuntimeError("NoCredentials\nat line 3")] * 3, r"cannot be copied \(NoCredentials\)", 3),
        ([PermissionError("Forbidden")] * 3, r"cannot be copied \(Forbidden\)", 1),
        ([FileNotFoundError("x")], r"c0/00\.png is listed but not there", 1),
    ],
)
def test_what_cannot_be_copied_is_named(
    shelf: Shelf, target: Path, errors: list[Exception], message: str, attempts: int
) -> None:
    shelf.failures["c0/00.png"] = errors
    with pytest.raises(DataError, match=f"^shelf://x: .*{message}"):
        run(shelf, target)
    assert shelf.opened.count("c0/00.png") == attempts
    assert not target.exists()
    assert {path.name for path in target.parent.iterdir()} == {".partial-remote-1"}


def test_after_an_error_the_rest_is_not_copied(target: Path) -> None:
    shelf = Shelf({f"{n:04}.png": b"x" for n in range(2000)})
    shelf.failures["0000.png"] = [PermissionError("Forbidden")]
    with pytest.raises(DataError, match="Forbidden"):
        run(shelf, target, workers=2)
    assert len(shelf.opened) < 1000


def test_files_that_need_not_be_there(shelf: Shelf, target: Path) -> None:
    run(shelf, target, [*shelf.listed(), RemoteFile("gone.png", "gone.png", None, required=False)])
    assert tree(target) == shelf.contents


@pytest.mark.parametrize("size", [1, 100])
def test_a_file_of_another_size_than_listed_is_refused(shelf: Shelf, target: Path, size: int) -> None:
    files = [file._replace(size=size) if file.name == "c2/29.png" else file for file in shelf.listed()]
    with pytest.raises(DataError, match=rf"c2/29\.png cannot be copied \(not the {size} bytes that were listed\)"):
        run(shelf, target, files)
    assert not target.exists()
    assert "c2/29.png" not in tree(target.with_name(".partial-remote-1"))


def test_what_does_not_fit_is_refused_before_a_byte_is_copied(
    shelf: Shelf, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = mirror_module.SPARE_BYTES + 3_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda _: DiskUsage(0, 0, free))
    files = [*shelf.listed(), RemoteFile("big.png", "big.png", 4_000_000)]
    with pytest.raises(
        DataError, match=r"^shelf://x: 4 MB to copy, but only 3 MB may be used in .*datasets\. .*TLTOOL_CACHE"
    ):
        run(shelf, target, files)
    assert shelf.opened == []
    # On the boundary it fits.
    run(shelf, target, [*shelf.listed(), RemoteFile("c0/00.png", "again.png", 1)])


@pytest.mark.parametrize("count", [1, 3])
def test_a_place_that_lies_about_sizes_does_not_fill_the_disk(
    target: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(mirror_module, "CHUNK_BYTES", 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: DiskUsage(0, 0, mirror_module.SPARE_BYTES + 50_000))
    shelf = Shelf({f"{n}.zip": b"x" * 1_000_000 for n in range(count)})
    with pytest.raises(DataError, match=r"0\.zip does not fit on the disk any more"):
        run(shelf, target, shelf.listed(size=None), 1)
    assert all(path.stat().st_size <= 50_000 for path in target.parent.rglob("*") if path.is_file())
    assert not target.exists()


def test_two_processes_at_once(shelf: Shelf, target: Path) -> None:
    """A second copy finishes while the first is at work: both end with the same folder."""
    other = Shelf(shelf.contents)

    def finish_meanwhile(task: str, done: int, total: int) -> None:
        if done == 10 and not target.exists():
            run(other, target)

    assert copy(shelf, target, workers=2, report=finish_meanwhile) == target
    assert tree(target) == shelf.contents
    assert only(target)


@pytest.mark.parametrize("names", [("a.jpg", "a.jpg/b.jpg"), ("x" * 300 + ".jpg", "y.jpg")])
def test_names_that_no_disk_takes(target: Path, names: tuple[str, str]) -> None:
    shelf = Shelf(dict.fromkeys(names, b"x"))
    with pytest.raises(DataError, match=r"^shelf://x: cannot be copied into "):
        run(shelf, target)
    assert not target.exists()


def test_a_cache_that_cannot_be_written(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"^shelf://x: cannot be copied into .*file"):
        run(shelf, tmp_path / "file" / "remote-1")


def test_reasons_are_one_short_line() -> None:
    assert reason(ValueError("\n  first.\nsecond")) == "first"
    assert reason(ValueError()) == "ValueError"
    assert len(reason(ValueError("x" * 1000))) < 310
