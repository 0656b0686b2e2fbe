"""Addresses: what lies there is read like a folder on this machine, and is trusted less."""

import functools
import http.server
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.packing import everything_under, pack, tree
from tests.pictures import make_class_folders, make_picture
from tltool.cache import cache_dir
from tltool.data import load_dataset
from tltool.errors import DataError

REGISTRY = importlib.import_module("fsspec.registry")  # the package has something else of that name
COUNTS = {"chien é": 6, "dog": 5}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> MemoryFileSystem:
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    return fsspec.filesystem("memory")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with class folders, an archive and a table of it beside it, and what systems leave."""
    site = tmp_path / "site"
    folder = make_class_folders(site / "photos", COUNTS, size=8)
    (folder / "read me.txt").write_text("x")
    (folder / ".DS_Store").write_text("x")
    make_picture(folder / "__MACOSX" / "dog" / "1.png")
    pack(site / "photos.tar.gz", {f"photos/{path}": content for path, content in pictures(folder).items()})
    pack(site / "photos.zip", {f"photos/{path}": content for path, content in pictures(folder).items()})
    lines = [f"photos/{path},{Path(path).parent.name}" for path in sorted(pictures(folder))]
    (site / "labels.csv").write_text("\n".join(["path,label", *lines]), "utf-8")
    return folder


def pictures(folder: Path) -> dict[str, bytes]:
    return {path: content for path, content in tree(folder).items() if path.endswith(".png") and "__MACOSX" not in path}


def upload(memory: MemoryFileSystem, folder: Path, to: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            memory.pipe(f"{to}/{path.relative_to(folder).as_posix()}", path.read_bytes())


@pytest.fixture
def site(photos: Path) -> Iterator[str]:
    """The address of a web server on this machine that shows the folder beside `photos`."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Says nothing."""

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 64  # with the usual 5, a connection that must wait is tried again a second later

    server = Server(("127.0.0.1", 0), functools.partial(Quiet, directory=str(photos.parent)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def mirrors(cache: Path) -> list[Path]:
    return sorted(cache.glob("remote-*"))


def test_a_folder_is_the_same_as_on_this_machine(memory: MemoryFileSystem, photos: Path, cache: Path) -> None:
    upload(memory, photos, "/bucket/photos")
    told = []
    data = load_dataset("memory://bucket/photos", seed=3, report=lambda *progress: told.append(progress))
    local = load_dataset(photos, seed=3)
    assert (data.files, data.labels, data.parts) == (local.files, local.labels, local.parts)
    assert data.source == "memory://bucket/photos"
    assert data.name == "photos"
    assert data.root == mirrors(cache)[0]
    assert tree(data.root) == pictures(photos)
    assert data.notes[0] == "Not copied, for they are no pictures: read me.txt."
    assert told[-1] == ("Copying files", 11, 11)


@pytest.mark.parametrize("address", ["memory://bucket", "memory://bucket/", "memory://bucket/a/photos/"])
def test_wrapping_folders_are_seen_through(memory: MemoryFileSystem, photos: Path, address: str) -> None:
    upload(memory, photos, "/bucket/a/photos")
    assert load_dataset(address).counts() == COUNTS


def test_parts(memory: MemoryFileSystem, photos: Path) -> None:
    for part in ("train", "test"):
        upload(memory, photos, f"/photos/{part}")
    assert load_dataset("memory://photos").counts("test") == COUNTS


def test_the_second_time_nothing_is_copied(
    memory: MemoryFileSystem, photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(memory, photos, "/photos")
    first = load_dataset("memory://photos")

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opened again")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "_open", opened)
        assert load_dataset("memory://photos/").root == first.root
    # A change there is another content here; the copy of before is left as it is.
    memory.pipe("/photos/dog/new.png", make_picture(cache / "new.png").read_bytes())
    assert len(load_dataset("memory://photos")) == 12
    assert len(mirrors(cache)) == 2
    memory.rm("/photos/dog/new.png")
    assert load_dataset("memory://photos").root == first.root


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar.gz"])
def test_an_archive(memory: MemoryFileSystem, photos: Path, name: str) -> None:
    upload(memory, photos.parent, "/site")
    data = load_dataset(f"memory://site/{name}")
    assert data.counts() == COUNTS
    assert data.name == "photos"
    assert data.source == f"memory://site/{name}"


@pytest.mark.parametrize("address", ["zip::memory://site/photos.zip", "zip://photos::memory://site/photos.zip"])
def test_chained_addresses(memory: MemoryFileSystem, photos: Path, address: str) -> None:
    upload(memory, photos.parent, "/site")
    assert load_dataset(address).counts() == COUNTS


def test_messages_name_the_address_not_the_cache(memory: MemoryFileSystem, cache: Path) -> None:
    memory.pipe("/photos.zip", b"PK\3\4 not really")
    with pytest.raises(DataError, match=r"^memory://photos\.zip: ") as caught:
        load_dataset("memory://photos.zip")
    assert str(cache) not in str(caught.value)


def test_a_table_and_what_it_lists(memory: MemoryFileSystem, photos: Path, cache: Path) -> None:
    upload(memory, photos.parent, "/site")
    make_picture(cache / "secret.png")
    lines = memory.cat("/site/labels.csv").decode().splitlines()
    lines[1] = lines[1].replace(".png", "").replace("/", "\\")
    faults = ["photos/gone.png,dog", "../secret.png,dog", str(cache / "secret.png") + ",dog", "../secret.png"]
    memory.pipe("/site/labels.csv", "\n".join([*lines, *faults]).encode())
    memory.pipe("/secret.png", b"x")
    data = load_dataset("memory://site/labels.csv")
    assert data.counts() == COUNTS
    assert data.source == "memory://site/labels.csv"
    assert [problem.kind for problem in data.problems] == ["missing-file", "outside", "outside", "empty-label"]
    assert tree(data.root).keys() == {"labels.csv", *(f"photos/{path}" for path in pictures(photos))}
    assert everything_under(cache) == {"secret.png", data.root.name} | {
        f"{data.root.name}/{path}" for path in everything_under(data.root)
    }


def test_columns_of_a_remote_table(memory: MemoryFileSystem, photos: Path) -> None:
    upload(memory, photos.parent, "/site")
    memory.pipe("/site/labels.csv", memory.cat("/site/labels.csv").replace(b"path,label", b"where,what"))
    data = load_dataset("memory://site/labels.csv", columns={"path": "where", "label": "what"})
    assert data.counts() == COUNTS
    with pytest.raises(DataError, match=r"^memory://site/labels\.csv: no column with the path found"):
        load_dataset("memory://site/labels.csv")


def test_a_table_beside_remote_pictures(memory: MemoryFileSystem, photos: Path) -> None:
    lines = ["path,label"]
    for path, content in pictures(photos).items():
        memory.pipe(f"/site/images/{Path(path).name}", content)
        lines.append(f"{Path(path).stem},{Path(path).parent.name}")
    memory.pipe("/site/labels.csv", "\n".join([*lines, "../../secret,dog"]).encode())
    data = load_dataset("memory://site")
    assert data.counts() == COUNTS
    assert [problem.kind for problem in data.problems] == ["outside"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("../evil.png", "'..' or '.'"),
        ("dog/../../../evil.png", "'..' or '.'"),
        ("__MACOSX/../../evil.png", "'..' or '.'"),
        ("dog\\..\\..\\evil.png", "a backslash"),
        ("C:evil.png", "a drive letter"),
        ("/evil.png", "an empty folder name"),
        ("dog//evil.png", "an empty folder name"),
        ("dog/a\0.png", "a zero byte"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(
    memory: MemoryFileSystem, photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, rule: str
) -> None:
    upload(memory, photos, "/photos")
    find = MemoryFileSystem.find

    def lie(self: MemoryFileSystem, path: str, **options: object) -> dict[str, dict]:
        return find(self, path, **options) | {f"/photos/{name}": {"type": "file", "size": 1, "name": name}}

    monkeypatch.setattr(MemoryFileSystem, "find", lie)
    before = everything_under(cache.parent)
    with pytest.raises(DataError, match=r"^memory://photos: lists '") as caught:
        load_dataset("memory://photos")
    assert f"which has {rule} in its name" in str(caught.value)
    assert everything_under(cache.parent) == before


@pytest.mark.parametrize("name", ["../evil.png", "/evil.png", "dog/../../evil.png"])
def test_names_in_a_remote_archive_are_no_better(
    memory: MemoryFileSystem, cache: Path, tmp_path: Path, name: str
) -> None:
    picture = make_picture(tmp_path / "a.png").read_bytes()
    archive = pack(
        tmp_path / "evil.zip", {"cat/1.png": picture, "cat/2.png": picture, "dog/1.png": picture, name: picture}
    )
    memory.pipe("/evil.zip", archive.read_bytes())
    for address in ("memory://evil.zip", "zip::memory://evil.zip"):
        with pytest.raises(DataError, match="name"):
            load_dataset(address)
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://gone", r"nothing there\. Check the address"),
        ("memory://gone.zip", r"nothing there\. Check the address"),
        ("memory://gone.csv", r"nothing there\. Check the address"),
        ("memory://site/photos/dog/dog_0000.png", "neither a folder nor an archive"),
        ("memory://site/photos/read me.txt", "neither a folder nor an archive"),
        ("memory://texts", r"no pictures there\. It holds a\.txt\. Check the address"),
        ("nothing://bucket", "'nothing' is no protocol that fsspec knows"),
        ("zip::nothing://a.zip", "'nothing' is no protocol that fsspec knows"),
    ],
)
def test_what_cannot_be_read_is_explained(
    memory: MemoryFileSystem, photos: Path, cache: Path, address: str, message: str
) -> None:
    upload(memory, photos.parent, "/site")
    memory.pipe("/texts/a.txt", b"x")
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(address)
    assert "\n" not in str(caught.value)
    assert mirrors(cache) == []


@pytest.mark.parametrize(
    ("address", "package", "module"),
    [
        ("s3://bucket/photos", "s3fs", "s3fs"),
        ("gs://bucket/photos", "gcsfs", "gcsfs"),
        ("abfs://container/photos", "adlfs", "adlfs"),
        ("hf://datasets/a/b", "huggingface_hub", "huggingface_hub"),
        ("https://host/photos.zip", "aiohttp", "fsspec.implementations.http"),
        ("sftp://host/photos", "paramiko", "fsspec.implementations.sftp"),
        ("zip::s3://bucket/photos.zip", "s3fs", "s3fs"),
    ],
)
def test_the_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, address: str, package: str, module: str
) -> None:
    # As if it were not installed, whether it is or not.
    monkeypatch.setitem(sys.modules, module, None)
    for protocol in ("s3", "gs", "abfs", "hf", "https", "sftp"):
        monkeypatch.delitem(REGISTRY._registry, protocol, raising=False)
    with pytest.raises(DataError, match=rf"needs a package that is not installed .* Run: pip install {package}$"):
        load_dataset(address)


class Locked(MemoryFileSystem):
    """A place that asks for credentials, and says so over several lines."""

    protocol = "locked"

    def info(self, path: str, **_: object) -> dict:
        raise RuntimeError("Unable to locate credentials.\nRequest id: 7")


def test_what_a_file_system_raises_becomes_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY._registry, "locked", Locked)
    with pytest.raises(
        DataError,
        match=r"^locked://photos: cannot be read \(RuntimeError: Unable to locate credentials\)\. Check the address",
    ):
        load_dataset("locked://photos")


def test_a_listing_without_end_is_refused(
    memory: MemoryFileSystem, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(memory, photos, "/photos")
    monkeypatch.setattr("tltool.data.remote.MAX_FILES", 5)
    with pytest.raises(DataError, match=r"^memory://photos: \d+ files; at most 5 are copied"):
        load_dataset("memory://photos")


@pytest.mark.parametrize("path", ["photos/", "photos", "photos.zip", "photos.tar.gz?key=1", "labels.csv?key=a/b"])
def test_the_web(site: str, path: str) -> None:
    data = load_dataset(f"{site}/{path}")
    assert data.counts() == COUNTS
    assert data.source == f"{site}/{path}"
    assert data.problems == ()


def test_a_table_on_the_web_may_list_what_is_not_there(site: str, photos: Path) -> None:
    with open(photos.parent / "labels.csv", "a", encoding="utf-8") as file:
        file.write("\nphotos/gone.png,dog\nphotos/no ending,dog\n../up.png,dog\n")
    data = load_dataset(f"{site}/labels.csv")
    assert data.counts() == COUNTS
    assert [problem.kind for problem in data.problems] == ["missing-file", "missing-file", "outside"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.zip", r"nothing there \(404.*\)"),
        ("gone/", r"nothing there \(404.*\)"),
        ("photos/read%20me.txt", "neither a folder nor an archive"),
        ("empty/", "no pictures there"),
    ],
)
def test_what_the_web_has_not(site: str, photos: Path, path: str, message: str) -> None:
    (photos.parent / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        load_dataset(f"{site}/{path}")


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"^http://127\.0\.0\.1:9/photos\.zip: nothing there \(Cannot connect to host"):
        load_dataset("http://127.0.0.1:9/photos.zip")


def test_the_cache_of_the_tests_is_used(cache: Path) -> None:
    assert cache_dir() / "datasets" == cache
