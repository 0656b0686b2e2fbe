"""Archives from strangers: what is good is unpacked once, what is bad leaves nothing behind."""

import os
import random
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures import make_class_folders
from tltool.data import archives
from tltool.data.archives import unpack_zip
from tltool.errors import DataError


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "datasets"


def pack(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def everything_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_content_arrives(tmp_path: Path, into: Path) -> None:
    root = make_class_folders(tmp_path / "photos", {"cat": 2, "кот 犬": 2})
    packed = pack(tmp_path / "photos.zip", tree(root))
    before = packed.read_bytes(), packed.stat().st_mtime_ns
    target = unpack_zip(packed, into)
    assert tree(target) == tree(root)
    assert target.parent == into
    assert len(target.name) == 32
    assert os.listdir(into) == [target.name]
    assert (packed.read_bytes(), packed.stat().st_mtime_ns) == before


def test_the_same_bytes_are_unpacked_once(tmp_path: Path, into: Path) -> None:
    target = unpack_zip(pack(tmp_path / "a.zip", {"cat/1.png": b"1"}), into)
    (target / "mark").touch()
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes())
    assert unpack_zip(tmp_path / "b.zip", into) == target
    assert (target / "mark").exists()
    assert unpack_zip(pack(tmp_path / "c.zip", {"cat/1.png": b"2"}), into) != target


def test_a_faster_process_wins(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1"})
    unpack = archives._unpack

    def beaten(archive: Path, working: Path) -> None:
        unpack(archive, working)
        monkeypatch.setattr(archives, "_unpack", unpack)
        unpack_zip(archive, into)

    monkeypatch.setattr(archives, "_unpack", beaten)
    target = unpack_zip(packed, into)
    assert tree(target) == {"cat/1.png": b"1"}
    assert os.listdir(into) == [target.name]


def test_litter_is_left_out(tmp_path: Path, into: Path) -> None:
    members = {
        "./cat/1.png": b"1",
        "__MACOSX/cat/._1.png": b"x",
        "cat/.DS_Store": b"x",
        ".git/a": b"x",
        "Thumbs.db": b"x",
    }
    assert tree(unpack_zip(pack(tmp_path / "a.zip", members), into)) == {"cat/1.png": b"1"}


def test_empty_folders_arrive(tmp_path: Path, into: Path) -> None:
    assert everything_under(unpack_zip(pack(tmp_path / "a.zip", {"cat/": b"", "dog/in/": b""}), into)) == {
        "cat",
        "dog",
        "dog/in",
    }


def test_names_in_utf8_without_the_flag(tmp_path: Path, into: Path) -> None:
    # As macOS packs them: UTF-8 bytes, and nothing that says so. zipfile cannot write this; the flag is cleared after.
    packed = pack(tmp_path / "a.zip", {"кот/1.png": b"1"})
    data = bytearray(packed.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(signature) + offset
        (flags,) = struct.unpack_from("<H", data, at)
        struct.pack_into("<H", data, at, flags & ~0x800)
    packed.write_bytes(data)
    assert tree(unpack_zip(packed, into)) == {"кот/1.png": b"1"}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("/etc/passwd", "an absolute path"),
        ("//server/share", "an absolute path"),
        ("../outside.png", r"'\.\.'"),
        ("cat/../../outside.png", r"'\.\.'"),
        ("..", r"'\.\.'"),
        ("C:/outside.png", "a drive letter"),
        ("c:outside.png", "a drive letter"),
        (r"cat\1.png", "a backslash"),
        (r"..\outside.png", "a backslash"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, into: Path, name: str, rule: str) -> None:
    packed = pack(tmp_path / "bad.zip", {"cat/1.png": b"1", name: b"x"})
    before = everything_under(tmp_path)
    with pytest.raises(DataError, match=rf"bad\.zip: member .* has {rule} in its name"):
        unpack_zip(packed, into)
    assert everything_under(tmp_path) - before == {"cache", "cache/datasets"}


def test_a_zero_byte_in_a_name_is_refused(tmp_path: Path, into: Path) -> None:
    packed = pack(tmp_path / "bad.zip", {"cat/1.pngX.exe": b"x"})
    packed.write_bytes(packed.read_bytes().replace(b"1.pngX", b"1.png\0"))
    with pytest.raises(DataError, match="a zero byte"):
        unpack_zip(packed, into)


@pytest.mark.parametrize(("kind", "message"), [(stat.S_IFLNK, "a symbolic link"), (stat.S_IFIFO, "a special file")])
def test_links_and_devices_are_refused(tmp_path: Path, into: Path, kind: int, message: str) -> None:
    info = zipfile.ZipInfo("cat/link")
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(info, "/etc")
        archive.writestr("cat/link/1.png", "x")
    with pytest.raises(DataError, match=f"member 'cat/link' is {message}"):
        unpack_zip(tmp_path / "bad.zip", into)
    assert os.listdir(into) == []


def test_encrypted_members_are_refused(tmp_path: Path, into: Path) -> None:
    packed = pack(tmp_path / "bad.zip", {"cat/1.png": b"1"})
    data = bytearray(packed.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    packed.write_bytes(data)
    with pytest.raises(DataError, match=r"member 'cat/1\.png' is encrypted"):
        unpack_zip(packed, into)


@pytest.mark.parametrize(("bound", "refused"), [(3, False), (2, True)])
def test_number_of_members(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, bound: int, refused: bool
) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", bound)
    packed = pack(tmp_path / "a.zip", {f"cat/{i}.png": b"1" for i in range(3)})
    check_bound(packed, into, "3 members; at most 2" if refused else None)


@pytest.mark.parametrize(("bound", "refused"), [(3000, False), (2999, True)])
def test_bytes_in_all(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, bound: int, refused: bool) -> None:
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", bound)
    packed = pack(tmp_path / "a.zip", {f"cat/{i}.png": os.urandom(1000) for i in range(3)})
    check_bound(packed, into, r"member 'cat/2\.png': more than 2,999 bytes in all" if refused else None)


@pytest.mark.parametrize(("size", "refused"), [(2**16, False), (2**18, True)])
def test_compression_ratio(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch, size: int, refused: bool
) -> None:
    monkeypatch.setattr(archives, "RATIO_ABOVE_BYTES", 2**17)
    packed = pack(tmp_path / "a.zip", {"cat/1.bmp": bytes(size)})
    check_bound(packed, into, r"member 'cat/1\.bmp' unpacks to more than 200 times" if refused else None)


def test_a_large_member_that_is_no_bomb_is_unpacked(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "RATIO_ABOVE_BYTES", 1000)
    check_bound(pack(tmp_path / "a.zip", {"cat/1.bmp": os.urandom(5000)}), into, None)


def check_bound(packed: Path, into: Path, message: str | None) -> None:
    """Unpacks completely where `message` is None, otherwise refuses with it and leaves nothing behind."""
    if message is None:
        with zipfile.ZipFile(packed) as archive:
            assert len(tree(unpack_zip(packed, into))) == len(archive.infolist())
        return
    with pytest.raises(DataError, match=message):
        unpack_zip(packed, into)
    assert os.listdir(into) == []


def test_a_header_that_lies_about_the_size_does_not_lift_the_bound(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.bmp": bytes(50_000)})
    data = bytearray(packed.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 100)
    packed.write_bytes(data)
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(DataError, match=r"cat/1\.bmp"):
        unpack_zip(packed, into)
    assert os.listdir(into) == []


@pytest.mark.parametrize("names", [("cat/1.png", "cat/1.png"), ("cat", "cat/1.png"), ("cat/1.png", "cat")])
def test_members_in_each_others_place_are_refused(tmp_path: Path, into: Path, names: tuple[str, str]) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        warnings.simplefilter("ignore")  # zipfile does not like to write it either
        for name in names:
            archive.writestr(name, name)
    with pytest.raises(DataError, match=r"is there twice"):
        unpack_zip(tmp_path / "bad.zip", into)
    assert os.listdir(into) == []


def crc(data: bytearray) -> bytes:
    data[data.index(b"payload")] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (crc, r"member 'cat/1\.png' is damaged \(Bad CRC-32"),
        (lambda data: data[: len(data) // 2], "not a whole .zip"),
        (lambda data: b"", "not a whole .zip"),
        (lambda data: b"Rar!\x1a\x07\x00" + bytes(50), "not a whole .zip"),
    ],
)
def test_damage_is_refused(tmp_path: Path, into: Path, damage: Callable[[bytearray], bytes], message: str) -> None:
    packed = pack(tmp_path / "bad.zip", {"cat/1.png": b"payload" * 9, "cat/2.png": b"x"}, zipfile.ZIP_STORED)
    packed.write_bytes(damage(bytearray(packed.read_bytes())))
    with pytest.raises(DataError, match=message):
        unpack_zip(packed, into)
    assert os.listdir(into) == []


def test_random_damage_never_surprises(tmp_path: Path, into: Path) -> None:
    rng = random.Random(0)
    good = pack(tmp_path / "a.zip", {"cat/1.png": b"payload" * 9, "dog/2.png": bytes(200)}).read_bytes()
    packed = tmp_path / "bad.zip"
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        packed.write_bytes(data)
        refused += not unpacks(packed, into)
        assert not [name for name in os.listdir(into) if name.startswith(".")]
    assert 50 < refused < 300
    assert set(os.listdir(tmp_path)) == {"a.zip", "bad.zip", "cache"}


def unpacks(packed: Path, into: Path) -> bool:
    try:
        unpack_zip(packed, into)
    except DataError:
        return False
    return True


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be unpacked into"):
        unpack_zip(pack(tmp_path / "a.zip", {"cat/1.png": b"1"}), tmp_path / "file" / "in")


def test_a_full_disk_leaves_nothing(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1", "cat/2.png": b"1"})

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "_write", full)
    with pytest.raises(DataError, match="No space left on device"):
        unpack_zip(packed, into)
    assert os.listdir(into) == []
