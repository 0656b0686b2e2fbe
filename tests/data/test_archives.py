"""Archives from strangers: what is good is unpacked once, what is bad leaves nothing behind."""

import errno
import os
import shutil
import sys
import threading
import time
import warnings
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packing import everything_under, pack, pack_tar, tar_member, tree
from tests.pictures import make_class_folders
from tltool.data import archives, members
from tltool.data.archives import ARCHIVE_ENDINGS, is_archive, unpack
from tltool.data.listing import list_folder
from tltool.errors import DataError

BOTH = pytest.mark.parametrize("ending", [".zip", ".tgz"])


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "datasets"


def check_refused(packed: Path, into: Path, message: str) -> None:
    """The archive is refused with this message, and nothing is left of it."""
    with pytest.raises(DataError, match=message) as error:
        unpack(packed, into)
    assert str(error.value).startswith(str(packed))
    assert not into.exists() or os.listdir(into) == []


@pytest.mark.parametrize("ending", [".zip", ".ZIP", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_the_content_arrives(tmp_path: Path, into: Path, ending: str) -> None:
    root = make_class_folders(tmp_path / "photos", {"cat": 2, "кот 犬": 2, "..dots": 1})
    packed = pack(tmp_path / f"photos{ending}", {"empty/": b"", "кот 犬/big": os.urandom(3 * 2**20), **tree(root)})
    before = packed.read_bytes(), packed.stat().st_mtime_ns
    target = unpack(packed, into)
    assert tree(target).items() >= {k: v for k, v in tree(root).items() if not k.startswith(".")}.items()
    assert (target / "empty").is_dir()
    assert target.parent == into
    assert len(target.name) == 32
    assert os.listdir(into) == [target.name]
    assert (packed.read_bytes(), packed.stat().st_mtime_ns) == before


@BOTH
def test_the_same_bytes_are_unpacked_once(tmp_path: Path, into: Path, ending: str) -> None:
    target = unpack(pack(tmp_path / f"a{ending}", {"cat/1.png": b"1"}), into)
    (target / "mark").touch()
    (tmp_path / f"b{ending}").write_bytes((tmp_path / f"a{ending}").read_bytes())
    assert unpack(tmp_path / f"b{ending}", into) == target
    assert (target / "mark").exists()
    assert unpack(pack(tmp_path / f"c{ending}", {"cat/1.png": b"2"}), into) != target


def test_a_faster_process_wins(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1"})
    fill = archives._fill

    def beaten(*args: object) -> None:
        fill(*args)
        monkeypatch.setattr(archives, "_fill", fill)
        unpack(packed, into)

    monkeypatch.setattr(archives, "_fill", beaten)
    target = unpack(packed, into)
    assert tree(target) == {"cat/1.png": b"1"}
    assert os.listdir(into) == [target.name]


@BOTH
def test_many_threads_at_once_get_one_whole_folder(tmp_path: Path, into: Path, ending: str) -> None:
    content = {f"cat/{i}.png": os.urandom(5000) for i in range(50)}
    packed = pack(tmp_path / f"a{ending}", content)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(tree(unpack(packed, into)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [content] * 4
    assert len(os.listdir(into)) == 1


@BOTH
def test_litter_is_left_out_whatever_it_is(tmp_path: Path, into: Path, ending: str) -> None:
    content = {
        "./cat/1.png": b"1",
        "__MACOSX/cat/._1.png": b"x",
        "cat/.DS_Store": b"x" * 600,
        ".git/a": b"x",
        "Thumbs.db": b"x",
        "cat/2.png": b"2",
    }
    target = unpack(pack(tmp_path / f"a{ending}", content), into)
    assert everything_under(target) == {".unpacked.json", "cat", "cat/1.png", "cat/2.png"}


@BOTH
def test_progress_is_reported_up_to_the_end(tmp_path: Path, into: Path, ending: str) -> None:
    packed = pack(tmp_path / f"a{ending}", {f"cat/{i}.png": os.urandom(2**20) for i in range(3)})
    told = []
    unpack(packed, into, lambda *call: told.append(call))
    for task in ("Checking the archive", "Unpacking the archive"):
        done, totals = zip(*[call[1:] for call in told if call[0] == task], strict=True)
        assert len(done) >= 3
        assert list(done) == sorted(done)
        assert set(totals) == {done[-1]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", ".tar", r"by its content a \.tar\. Rename it to end in \.tar\."),
        ("a.zip", ".tgz", r"by its content a \.tar\.gz\. Rename"),
        ("a.tar", ".zip", r"by its content a \.zip\. Rename it to end in \.zip"),
        ("a.tgz", ".tar", r"by its content a \.tar\. Rename it to end in \.tar"),
        ("a.tar.gz", ".tar.xz", r"by its content a \.tar\.xz"),
        ("a.tar.bz2", ".tgz", r"by its content a \.tar\.gz"),
    ],
)
def test_a_wrong_ending_is_named(tmp_path: Path, into: Path, name: str, content: str, message: str) -> None:
    packed = pack(tmp_path / f"packed{content}", {"cat/1.png": b"1" * 2000})
    packed.rename(tmp_path / name)
    check_refused(tmp_path / name, into, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Rar!\x1a\x07\x01\0" + bytes(50), r"by its content a \.rar\. Unpack it yourself"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), r"by its content a \.7z\. Unpack it yourself"),
        (b"\n<!DOCTYPE HTML><html><body>Please log in", "a web page, not an archive"),
        (b"", r"empty \(0 bytes\)"),
        (b"holiday" * 1000, r"not a whole \.zip|not a \.tar|not that of an archive"),
    ],
)
@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz", ".tar.xz"])
def test_what_is_no_archive_is_named(tmp_path: Path, into: Path, content: bytes, message: str, ending: str) -> None:
    packed = tmp_path / f"a{ending}"
    packed.write_bytes(content)
    check_refused(packed, into, message)


def test_what_is_no_file_is_named(tmp_path: Path, into: Path) -> None:
    (tmp_path / "folder.zip").mkdir()
    os.mkfifo(tmp_path / "pipe.tar")
    check_refused(tmp_path / "folder.zip", into, "a folder, not an archive")
    check_refused(tmp_path / "pipe.tar", into, "a special file, not an archive")
    check_refused(tmp_path / "gone.zip", into, r"cannot be read \(No such file or directory\)")
    check_refused(tmp_path / "a\0b.zip", into, r"cannot be read \(.*embedded null")
    check_refused(pack(tmp_path / "a.zip", {"a": b"1"}).rename(tmp_path / "a.rar"), into, r"Give one of \.zip, \.tar")


def test_archives_are_known_by_their_names() -> None:
    assert all(is_archive(Path(f"Photos{ending.upper()}")) for ending in ARCHIVE_ENDINGS)
    assert not any(is_archive(Path(name)) for name in ("photos", "zip", "a.csv", "a.gz", "a.zip.part", "a.rar"))


@BOTH
@pytest.mark.parametrize("content", [{}, {"cat/": b""}, {"__MACOSX/1.png": b"1", ".git/x": b"1"}])
def test_an_archive_without_files_is_refused(
    tmp_path: Path, into: Path, ending: str, content: dict[str, bytes]
) -> None:
    check_refused(pack(tmp_path / f"a{ending}", content), into, "no files in this archive")


@BOTH
def test_an_archive_of_archives_is_refused(tmp_path: Path, into: Path, ending: str) -> None:
    inner = pack(tmp_path / "photos.tar", {"cat/1.png": b"1"}).read_bytes()
    packed = pack(tmp_path / f"a{ending}", {".DS_Store": b"x", "data/photos.tar": inner})
    check_refused(packed, into, r"holds nothing but another archive \(data/photos\.tar\).* Unpack it yourself")
    packed = pack(tmp_path / f"b{ending}", {"train.ZIP": inner, "test.tar.gz": inner})
    check_refused(packed, into, r"holds nothing but 2 other archives \(train\.ZIP, test\.tar\.gz\)")


@BOTH
def test_an_archive_beside_pictures_is_left_packed_and_reported(tmp_path: Path, into: Path, ending: str) -> None:
    inner = pack(tmp_path / "photos.tar", {"cat/1.png": b"1"}).read_bytes()
    target = unpack(pack(tmp_path / f"a{ending}", {"cat/1.png": b"1", "cat/more.tar": inner}), into)
    assert (target / "cat/more.tar").read_bytes() == inner
    (problem,) = list_folder(target / "cat", target).bad_files
    assert str(problem) == "more.tar: an archive among the pictures is not unpacked (.tar): unpack it yourself"


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path: Path, into: Path) -> None:
    for name, age in (
        (".unpacking-old", 25),
        (".copying-old", 25),
        (".partial-old", 25),
        (".unpacking-new", 23),
        ("0123", 25),
        (".other", 25),
    ):
        (into / name / "cat").mkdir(parents=True)
        os.utime(into / name, (time.time() - age * 3600,) * 2)
    (into / ".unpacking-link").symlink_to(tmp_path)
    target = unpack(pack(tmp_path / "a.zip", {"cat/1.png": b"1"}), into)
    assert set(os.listdir(into)) == {target.name, ".unpacking-new", "0123", ".other", ".unpacking-link"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda target: (target / "cat/1.png").unlink(),
        lambda target: (target / "cat/1.png").write_bytes(b""),
        lambda target: (target / ".unpacked.json").unlink(),
        lambda target: (target / ".unpacked.json").write_text("[]"),
        lambda target: (target / ".unpacked.json").write_text('{"files": 2, "byt'),
        lambda target: shutil.rmtree(target / "cat"),
        lambda target: [path.unlink() for path in target.rglob("*") if path.is_file()],
    ],
)
def test_a_damaged_folder_in_the_cache_is_unpacked_again(
    tmp_path: Path, into: Path, damage: Callable[[Path], object]
) -> None:
    content = {"cat/1.png": b"1" * 100, "dog/1.png": b"2"}
    packed = pack(tmp_path / "a.zip", content)
    damage(unpack(packed, into))
    target = unpack(packed, into)
    assert tree(target) == content
    assert os.listdir(into) == [target.name]


def test_files_that_a_system_adds_are_no_damage(tmp_path: Path, into: Path) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1"})
    target = unpack(packed, into)
    (target / "cat/Thumbs.db").write_bytes(b"x")
    assert unpack(packed, into) == target
    assert (target / "cat/Thumbs.db").exists()
    # They make up for nothing that is missing.
    (target / "cat/1.png").unlink()
    assert tree(unpack(packed, into)) == {"cat/1.png": b"1"}


def test_an_archive_that_changes_meanwhile_is_refused(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1"})
    fill = archives._fill

    def changed(*args: object) -> None:
        fill(*args)
        with packed.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(archives, "_fill", changed)
    check_refused(packed, into, "changed while it was read")


BAD_NAMES = [
    ("/etc/passwd", "an absolute path"),
    ("//server/share", "an absolute path"),
    ("../outside.png", r"'\.\.'"),
    ("cat/../../outside.png", r"'\.\.'"),
    ("..", r"'\.\.'"),
    (".hidden/../../outside.png", r"'\.\.'"),
    ("C:/outside.png", "a drive letter"),
    ("c:outside.png", "a drive letter"),
    (r"cat\1.png", "a backslash"),
    (r"..\outside.png", "a backslash"),
]


@BOTH
@pytest.mark.parametrize(("name", "rule"), BAD_NAMES)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, into: Path, ending: str, name: str, rule: str) -> None:
    packed = pack(tmp_path / f"bad{ending}", {"cat/1.png": b"1", name: b"x"})
    before = everything_under(tmp_path)
    check_refused(packed, into, rf"member '.*' has {rule} in its name")
    assert everything_under(tmp_path) - before == {"cache", "cache/datasets"}


LONG = 255 * "x"


@BOTH
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"cat/{LONG}", None),
        (f"cat/{LONG}x", "a name too long for the file system"),
        ("cat/" + 127 * "я" + "x", None),
        ("cat/" + 128 * "я", "a name too long for the file system"),
        ("/".join([LONG] * 12), None),
        ("/".join([LONG] * 16), "a name too long for the file system"),
        ("a/" * 63 + "1.png", None),
        ("a/" * 64 + "1.png", "more than 64 folders deep"),
        ("a/" * 1500 + "1.png", "more than 64 folders deep"),
    ],
)
def test_long_names(tmp_path: Path, into: Path, ending: str, name: str, message: str | None) -> None:
    packed = pack(tmp_path / f"a{ending}", {name: b"1"})
    if message is None:
        assert tree(unpack(packed, into)) == {name: b"1"}
    else:
        with pytest.raises(DataError, match=message) as error:
            unpack(packed, into)
        assert len(str(error.value)) < 400 + len(str(packed))
        assert os.listdir(into) == []


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENAMETOOLONG, "has a name too long"), (errno.EILSEQ, "cannot be written .*Rename it")],
)
def test_names_that_only_this_file_system_does_not_take(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1"})
    open_file = Path.open

    def refused(path: Path, mode: str = "r", *args: object) -> object:
        if mode == "xb":
            raise OSError(number, os.strerror(number))
        return open_file(path, mode, *args)

    monkeypatch.setattr(Path, "open", refused)
    check_refused(packed, into, rf"member 'cat/1\.png' {message}")


@BOTH
@pytest.mark.parametrize(
    ("first", "second"), [("Cat/1.png", "cat/1.png"), ("cat/A.png", "cat/a.png"), ("é/1.png", "e\u0301/2.png")]
)
def test_names_that_differ_in_letter_case(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, ending: str, first: str, second: str
) -> None:
    packed = pack(tmp_path / f"a{ending}", {first: b"1", second: b"2"})
    monkeypatch.setattr(members, "_tells_case_apart", lambda folder: False)
    check_refused(packed, into, "differ only in letter case or in how accents are written")
    monkeypatch.undo()
    if members._tells_case_apart(tmp_path):
        assert tree(unpack(packed, into)) == {first: b"1", second: b"2"}


def test_a_file_system_that_tells_case_apart_is_known(tmp_path: Path) -> None:
    (tmp_path / "abc").mkdir()
    apart = members._tells_case_apart(tmp_path / "abc")
    (tmp_path / "ABC").mkdir(exist_ok=True)
    assert apart == (len(os.listdir(tmp_path)) == 2)
    assert not members._tells_case_apart(tmp_path / "abc")


@pytest.mark.parametrize("names", [("cat/1.png", "cat/1.png"), ("cat", "cat/1.png"), ("cat/1.png", "cat")])
@BOTH
def test_members_in_each_others_place_are_refused(
    tmp_path: Path, into: Path, ending: str, names: tuple[str, str]
) -> None:
    packed = tmp_path / f"bad{ending}"
    if ending == ".zip":
        with warnings.catch_warnings(), zipfile.ZipFile(packed, "w") as archive:
            warnings.simplefilter("ignore")  # zipfile does not like to write it either
            for name in names:
                archive.writestr(name, name)
    else:
        pack_tar(packed, [tar_member(name, name.encode()) for name in names])
    check_refused(packed, into, "is there twice")


@BOTH
@pytest.mark.parametrize(("bound", "refused"), [(3, False), (2, True)])
def test_number_of_members(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, ending: str, bound: int, refused: bool
) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", bound)
    packed = pack(tmp_path / f"a{ending}", {f"cat/{i}.png": b"1" for i in range(3)})
    if refused:
        check_refused(packed, into, "more than 2 members")
    else:
        assert len(tree(unpack(packed, into))) == 3


@BOTH
@pytest.mark.parametrize(("more", "refused"), [(0, False), (1, True)])
def test_bytes_in_all(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, ending: str, more: int, refused: bool
) -> None:
    # A .tar counts with its headers and its padding, for they have to be read as well.
    bound = 3000 if ending == ".zip" else 10240
    monkeypatch.setattr(members, "MAX_TOTAL_BYTES", bound - more)
    packed = pack(tmp_path / f"a{ending}", {f"cat/{i}.png": os.urandom(1000) for i in range(3)})
    if refused:
        check_refused(packed, into, r"more than 0\.0 MiB once unpacked")
    else:
        assert len(tree(unpack(packed, into))) == 3


def test_an_archive_that_is_too_large_is_not_even_read(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1"})
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", packed.stat().st_size - 1)
    told = []
    with pytest.raises(DataError, match="once unpacked"):
        unpack(packed, into, lambda *call: told.append(call))
    assert told == []


@pytest.mark.parametrize("ending", [".zip", ".tgz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize(("size", "refused"), [(2**16, False), (2**19, True)])
def test_compression_ratio(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, ending: str, size: int, refused: bool
) -> None:
    monkeypatch.setattr(members, "RATIO_ABOVE_BYTES", 2**17)
    packed = pack(tmp_path / f"a{ending}", {"cat/1.bmp": bytes(size)})
    if refused:
        check_refused(packed, into, "unpacks to more than 200 times its")
    else:
        assert tree(unpack(packed, into)) == {"cat/1.bmp": bytes(size)}


@BOTH
def test_a_large_member_that_is_no_bomb_is_unpacked(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(members, "RATIO_ABOVE_BYTES", 1000)
    content = {"cat/1.bmp": os.urandom(5000)}
    assert tree(unpack(pack(tmp_path / f"a{ending}", content), into)) == content


def test_a_bomb_in_many_small_members_is_refused(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "RATIO_ABOVE_BYTES", 2**19)
    packed = pack(tmp_path / "a.zip", {f"cat/{i}.bmp": bytes(2**18) for i in range(8)})
    check_refused(packed, into, r"a\.zip: unpacks to more than 200 times its size")


Usage = namedtuple("Usage", ("total", "used", "free"))


@pytest.mark.parametrize("ending", [".zip", ".tar", ".tgz"])
def test_a_disk_without_room_is_named(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    packed = pack(tmp_path / f"a{ending}", {"cat/1.png": os.urandom(3 * 2**20)})
    monkeypatch.setattr(members, "LOOK_EVERY_BYTES", 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, members.KEPT_FREE_BYTES - 1))
    check_refused(packed, into, r"no room to unpack it in .*datasets: .* are free\. Make room, or set TLTOOL_CACHE")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, members.KEPT_FREE_BYTES + 4 * 2**20))
    assert len(tree(unpack(packed, into))) == 1


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1", "cat/2.png": b"1"})

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(members.Target, "add_file", full)
    check_refused(packed, into, r"No space left on device\)\. Is the disk full\?")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be unpacked into"):
        unpack(pack(tmp_path / "a.zip", {"cat/1.png": b"1"}), tmp_path / "file" / "in")


@pytest.mark.parametrize("kind", ["bz2", "lzma"])
def test_a_python_without_a_decompressor_says_so(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    packed = pack(tmp_path / ("a.tar.bz2" if kind == "bz2" else "a.tar.xz"), {"cat/1.png": b"1"})
    monkeypatch.setitem(sys.modules, kind, None)
    check_refused(packed, into, r"this Python was built without .*\. Pack the folder as \.zip or \.tar\.gz")
