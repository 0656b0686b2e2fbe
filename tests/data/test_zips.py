"""What only a .zip can do to whoever unpacks it."""

import os
import random
import stat
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packing import pack, tree
from tltool.data import members, zips
from tltool.data.archives import unpack
from tltool.errors import DataError

LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def patched(packed: Path, form: str, value: int, local: int | None, central: int | None) -> Path:
    """Overwrites a field in the first local header and the first entry of the table of contents."""
    data = bytearray(packed.read_bytes())
    for signature, offset in ((LOCAL, local), (CENTRAL, central)):
        if offset is not None:
            struct.pack_into(form, data, data.index(signature) + offset, value)
    packed.write_bytes(data)
    return packed


def check_refused(packed: Path, into: Path, message: str) -> None:
    with pytest.raises(DataError, match=message):
        unpack(packed, into)
    assert not into.exists() or os.listdir(into) == []


def test_names_in_utf8_without_the_flag(tmp_path: Path, into: Path) -> None:
    # As macOS packs them: UTF-8 bytes, and nothing that says so. zipfile cannot write this; the flag is cleared after.
    packed = patched(pack(tmp_path / "a.zip", {"кот/1.png": b"1"}), "<H", 0, 6, 8)
    assert tree(unpack(packed, into)) == {"кот/1.png": b"1"}


def test_names_in_a_code_page_stay_apart(tmp_path: Path, into: Path) -> None:
    packed = pack(tmp_path / "a.zip", {"XXX/1.png": b"1", "YYY/1.png": b"2"})
    names = "кот".encode("cp866"), "пёс".encode("cp866")
    packed.write_bytes(packed.read_bytes().replace(b"XXX", names[0]).replace(b"YYY", names[1]))
    assert sorted(tree(unpack(packed, into)).values()) == [b"1", b"2"]


@pytest.mark.parametrize("sound", [True, False])
def test_the_name_in_the_unicode_field_counts_if_it_is_of_this_member(tmp_path: Path, into: Path, sound: bool) -> None:
    name = "кот/1.png"
    info = zipfile.ZipInfo("cat/1.png")
    checksum = zlib.crc32(b"cat/1.png" if sound else b"dog/1.png")
    field = b"\1" + struct.pack("<I", checksum) + name.encode()
    info.extra = b"UT\5\0\1abcd" + struct.pack("<HH", 0x7075, len(field)) + field
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, b"1")
    assert tree(unpack(tmp_path / "a.zip", into)) == {name if sound else "cat/1.png": b"1"}


def test_a_unicode_field_cannot_lead_elsewhere(tmp_path: Path, into: Path) -> None:
    info = zipfile.ZipInfo("cat/1.png")
    field = b"\1" + struct.pack("<I", zlib.crc32(b"cat/1.png")) + b"../../1.png"
    info.extra = struct.pack("<HH", 0x7075, len(field)) + field
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, b"1")
    check_refused(tmp_path / "a.zip", into, r"'\.\.' in its name")


def test_a_zero_byte_in_a_name_is_refused(tmp_path: Path, into: Path) -> None:
    packed = pack(tmp_path / "bad.zip", {"cat/1.pngX.exe": b"x"})
    packed.write_bytes(packed.read_bytes().replace(b"1.pngX", b"1.png\0"))
    check_refused(packed, into, "a zero byte")


@pytest.mark.parametrize(("kind", "message"), [(stat.S_IFLNK, "a symbolic link"), (stat.S_IFIFO, "a special file")])
def test_links_and_devices_are_refused(tmp_path: Path, into: Path, kind: int, message: str) -> None:
    info = zipfile.ZipInfo("cat/link")
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(info, "/etc")
        archive.writestr("cat/link/1.png", "x")
    check_refused(tmp_path / "bad.zip", into, f"member 'cat/link' is {message}")


def test_a_password_is_named(tmp_path: Path, into: Path) -> None:
    packed = patched(pack(tmp_path / "old.zip", {"cat/1.png": b"1"}), "<H", 1, 6, 8)
    check_refused(packed, into, r"member 'cat/1\.png' is encrypted\. Pack the folder again without a password")
    # AES has a method of its own beside the flag, and says the true one in an extra field; APPNOTE.TXT, appendix E.
    packed = patched(pack(tmp_path / "aes.zip", {"cat/1.png": b"1"}), "<H", 1, 6, 8)
    packed = patched(packed, "<H", 99, 8, 10)
    check_refused(packed, into, r"member 'cat/1\.png' is encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9, 93, 1234])
def test_rare_methods_are_refused_by_name(tmp_path: Path, into: Path, method: int) -> None:
    # One read of these may give 20,000 times what was read, all of it in memory.
    packed = patched(pack(tmp_path / "a.zip", {"cat/1.png": bytes(1000)}), "<H", method, 8, 10)
    check_refused(packed, into, rf"member 'cat/1\.png' is packed by a rare method \({method}, ")


@pytest.mark.parametrize("size", [100, 40_000, 60_000, 2**32 - 2])
def test_a_lie_about_the_size_is_found_out(tmp_path: Path, into: Path, size: int) -> None:
    content = random.Random(0).randbytes(100) * 500
    packed = patched(pack(tmp_path / "a.zip", {"cat/1.bmp": content}), "<I", size, 22, 24)
    check_refused(packed, into, r"cat/1\.bmp")


def test_a_lie_about_the_packed_size_is_found_out(tmp_path: Path, into: Path) -> None:
    packed = patched(pack(tmp_path / "a.zip", {"cat/1.bmp": bytes(5000)}), "<I", 10**6, 18, 20)
    check_refused(packed, into, "its members overlap or lie about their sizes")


def test_overlapping_members_are_refused(tmp_path: Path, into: Path) -> None:
    # Each entry of the table of contents points at the same data; only their sum tells.
    packed = pack(tmp_path / "a.zip", {"cat/000.png": random.Random(0).randbytes(2000)})
    data = packed.read_bytes()
    central, end = data.index(CENTRAL), data.index(END)
    entries = [data[central:end].replace(b"cat/000", b"cat/%03d" % i) for i in range(500)]
    head = data[:central].replace(b"cat/000", b"cat/%03d" % 0)
    table = b"".join(entries)
    packed.write_bytes(head + table + struct.pack("<4s4H2IH", END, 0, 0, 500, 500, len(table), central, 0))
    with zipfile.ZipFile(packed) as archive:
        assert len(archive.infolist()) == 500
    check_refused(packed, into, "its members overlap")


def absurd(path: Path, entries: int) -> Path:
    entry = struct.pack("<4s4B4H3I5H2I", CENTRAL, 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    table = entry * entries
    end = struct.pack("<4s4H2IH", END, 0, 0, min(entries, 65535), min(entries, 65535), len(table), 0, 0)
    path.write_bytes(table + end)
    return path


def test_an_absurd_table_of_contents_does_not_fill_the_memory(tmp_path: Path, into: Path) -> None:
    packed = absurd(tmp_path / "a.zip", 300_000)
    tracemalloc.start()
    try:
        check_refused(packed, into, "more than 200,000 members")
        assert tracemalloc.get_traced_memory()[1] < 3 * packed.stat().st_size
    finally:
        tracemalloc.stop()


def test_an_absurd_size_of_the_table_of_contents_is_refused(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = absurd(tmp_path / "a.zip", 1000)
    monkeypatch.setattr(zips, "MAX_DIRECTORY_BYTES", packed.stat().st_size - 23)
    check_refused(packed, into, "absurd size of its table of contents")


def test_a_comment_and_a_program_in_front_do_no_harm(tmp_path: Path, into: Path) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1"})
    with zipfile.ZipFile(packed, "a") as archive:
        archive.comment = b"holidays"
    packed.write_bytes(b"MZ self-extracting" + packed.read_bytes())
    assert tree(unpack(packed, into)) == {"cat/1.png": b"1"}


def crc(data: bytearray) -> bytes:
    data[data.index(b"payload")] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (crc, r"member 'cat/1\.png' is damaged \(Bad CRC-32"),
        (lambda data: data[: len(data) // 2], "not a whole .zip"),
        (lambda data: data[:-1], "not a whole .zip"),
        (lambda data: data[60:], "its beginning is missing"),
    ],
)
def test_damage_is_refused(tmp_path: Path, into: Path, damage: Callable[[bytearray], bytes], message: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for name, content in {"cat/1.png": b"payload" * 9, "cat/2.png": b"x"}.items():
            archive.writestr(name, content)
    (tmp_path / "bad.zip").write_bytes(damage(bytearray((tmp_path / "bad.zip").read_bytes())))
    check_refused(tmp_path / "bad.zip", into, message)


def test_a_bomb_is_refused_before_anything_is_written(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(tmp_path / "a.zip", {"cat/1.png": b"1", "cat/2.bmp": bytes(17 * 2**20)})
    monkeypatch.setattr(members.Target, "add_file", lambda *args: pytest.fail("written"))
    check_refused(packed, into, r"member 'cat/2\.bmp' unpacks to more than 200 times its packed size")
