"""What only a .tar can do to whoever unpacks it."""

import gzip
import os
import random
import tarfile
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hostile import by_length
from tests.packing import pack, pack_tar, tar_member, tree
from tltool.data import inflating, members, tars
from tltool.data.archives import unpack
from tltool.errors import DataError

BLOCK = 512
CONTENT = {"cat/1.png": b"1" * 700, "dog/2.png": b"2" * 100}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def check_refused(packed: Path, into: Path, message: str) -> None:
    with pytest.raises(DataError, match=message):
        unpack(packed, into)
    assert not into.exists() or os.listdir(into) == []


def header(name: str, size: int, kind: bytes = b"0", magic: bytes = b"ustar\00000", size_field: bytes = b"") -> bytes:
    """A header as it stands in the file, checksum included, so that what `tarfile` would not write can be written."""
    block = bytearray(BLOCK)
    block[: len(name)] = name.encode()
    block[100:108] = b"0000644\0"
    block[124:136] = size_field or b"%011o\0" % size
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257 : 257 + len(magic)] = magic
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def written(path: Path, *parts: bytes, end: bytes = bytes(2 * BLOCK)) -> Path:
    data = b"".join(parts) + end
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".tgz" else data)
    return path


def record(key: str, value: str) -> bytes:
    """A line of an extended header, which begins with its own length."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def extended(content: bytes, kind: bytes = b"x") -> bytes:
    return header("PaxHeaders/1", len(content), kind) + padded(content)


GOOD = header("cat/1.png", 1) + padded(b"1")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_and_long_names(tmp_path: Path, into: Path, form: int) -> None:
    name = "/".join(("кот 犬" * 3, "x" * 70, "1.png"))
    packed = pack_tar(tmp_path / "a.tar", [tar_member("cat/"), tar_member(name, b"1"), tar_member("cat/2", b"")], form)
    assert tree(unpack(packed, into)) == {name: b"1", "cat/2": b""}


def test_the_oldest_format_has_no_signature(tmp_path: Path, into: Path) -> None:
    packed = written(
        tmp_path / "a.tar", header("cat/", 0, b"\0", b""), header("cat/1.png", 3, b"\0", b""), padded(b"abc")
    )
    assert tree(unpack(packed, into)) == {"cat/1.png": b"abc"}


def test_names_in_another_encoding_stay_apart(tmp_path: Path, into: Path) -> None:
    packed = pack_tar(
        tmp_path / "a.tar",
        [tar_member("кот/1.png", b"1"), tar_member("пёс/1.png", b"2")],
        tarfile.GNU_FORMAT,
        encoding="koi8-r",
    )
    assert sorted(tree(unpack(packed, into)).values()) == [b"1", b"2"]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"M", "a special file"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, into: Path, kind: bytes, what: str) -> None:
    info, _ = tar_member("cat/link", kind=kind)
    info.linkname = "/etc/passwd"
    packed = pack_tar(tmp_path / "a.tgz", [tar_member("cat/1.png", b"1"), (info, b"")])
    check_refused(packed, into, f"member 'cat/link' is {what}. Pack the files themselves")


def test_a_link_that_is_left_out_anyway_does_no_harm(tmp_path: Path, into: Path) -> None:
    info, _ = tar_member(".venv/bin/python", kind=tarfile.SYMTYPE)
    info.linkname = "/usr/bin/python"
    packed = pack_tar(tmp_path / "a.tar", [(info, b""), tar_member("cat/1.png", b"1")])
    assert tree(unpack(packed, into)) == {"cat/1.png": b"1"}


@pytest.mark.parametrize("key", ["GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size"])
def test_sparse_files_are_refused(tmp_path: Path, into: Path, key: str) -> None:
    # One block in the archive may stand for a file of terabytes.
    packed = written(tmp_path / "a.tar", extended(record(key, "1")), GOOD)
    check_refused(packed, into, r"member 'cat/1\.png' is a sparse file")


@pytest.mark.parametrize("name", ["../x", "/x", "a\0b"])
@pytest.mark.parametrize("kind", [b"x", b"X", b"L"])
def test_a_long_name_cannot_lead_elsewhere(tmp_path: Path, into: Path, kind: bytes, name: str) -> None:
    content = name.encode() + b"\0" if kind == b"L" else record("path", name)
    check_refused(written(tmp_path / "a.tar", extended(content, kind), GOOD), into, "in its name")


def test_what_an_extended_header_says_counts_once(tmp_path: Path, into: Path) -> None:
    first = extended(record("path", "dog/1.png") + record("size", "2")) + header("short", 0) + padded(b"ab")
    for_all = extended(record("comment", "b37a29") + record("path", "never.png"), b"g")
    packed = written(tmp_path / "a.tar", for_all, first, extended(b"bird/1.png\0", b"L"), GOOD, header("fox", 0))
    assert tree(unpack(packed, into)) == {"dog/1.png": b"ab", "bird/1.png": b"1", "fox": b""}


@pytest.mark.parametrize(
    "content",
    [
        b"5 a=1\n",  # one less than it is
        b"99999999 path=x\n",
        b"-9 path=x\n",
        b"path=x\n",
        b"9 path x\n",
        b"8 path=x\n\n",
        record("size", "many"),
        record("size", "9" * 5000),
        b"2 2 2 2 2 2 2 2=",
    ],
    ids=by_length,
)
def test_a_damaged_extended_header_is_refused(tmp_path: Path, into: Path, content: bytes) -> None:
    check_refused(written(tmp_path / "a.tar", extended(content), GOOD), into, r"a\.tar: ")


@pytest.mark.parametrize(
    "content", [b"2 " * 30_000 + b"=", b"1" * 60_000, b" " * 60_000, record("a", "1" * 60_000)], ids=by_length
)
def test_hostile_extended_headers_take_no_time(tmp_path: Path, into: Path, content: bytes) -> None:
    packed = written(tmp_path / "a.tar", extended(content) * 5, GOOD)
    tracemalloc.start()
    start = time.perf_counter()
    with suppress(DataError):
        unpack(packed, into)
    assert time.perf_counter() - start < 5  # minutes where each byte is looked at again and again
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


def test_absurd_extended_headers_are_refused(tmp_path: Path, into: Path) -> None:
    comment = extended(record("comment", "x"))
    assert len(tree(unpack(written(tmp_path / "a.tar", comment * tars.MAX_EXTENDED, GOOD), into))) == 1
    for name, content in {
        "many.tar": comment * (tars.MAX_EXTENDED + 1) + GOOD,
        "large.tar": extended(record("comment", "x" * tars.MAX_EXTENDED_BYTES)) + GOOD,
        "lying.tar": header("x", 2**40, b"x", size_field=b"\x80" + (2**40).to_bytes(11)),
    }.items():
        check_refused(written(tmp_path / name, content), tmp_path / "other", "absurd extended headers")


@pytest.mark.parametrize("size", [2, 700, 2**33, 2**62])
@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_a_lie_about_the_size_is_found_out(tmp_path: Path, into: Path, ending: str, size: int) -> None:
    lie = header("cat/1.png", 0, size_field=b"\x80" + size.to_bytes(11))
    packed = written(tmp_path / f"a{ending}", lie, padded(b"1"), header("cat/2.png", 1), padded(b"2"), end=b"")
    check_refused(packed, into, "is cut short|not a whole .tar|: cut short")


def test_a_size_below_zero_is_refused(tmp_path: Path, into: Path) -> None:
    # In some releases of Python it sends tarfile back to the same header for ever.
    lie = header("cat/1.png", 0, size_field=(2**96 - BLOCK).to_bytes(12))
    check_refused(written(tmp_path / "a.tar", lie), into, "size below zero|not a .tar")
    lie = header("cat/2.png", 0, size_field=b"\xff" + (2**88 - BLOCK).to_bytes(11))
    check_refused(written(tmp_path / "b.tar", GOOD, lie), into, "size below zero")


def test_damage_in_the_middle_does_not_end_the_archive(tmp_path: Path, into: Path) -> None:
    data = bytearray(pack(tmp_path / "a.tar", CONTENT).read_bytes())
    data[data.index(b"dog/2.png") + 101] ^= 1
    (tmp_path / "a.tar").write_bytes(data)
    check_refused(tmp_path / "a.tar", into, r"not a whole \.tar \(at byte 1,536: bad checksum\)")


@pytest.mark.parametrize("ending", [".tar", ".tgz", ".tar.bz2", ".tar.xz"])
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path, into: Path, ending: str) -> None:
    packed = pack(tmp_path / f"a{ending}", {name: random.Random(0).randbytes(700) for name in CONTENT})
    data = packed.read_bytes()
    # A .tar ends with up to twenty blocks of zeros, and one is enough.
    whole = len(data.rstrip(b"\0")) // BLOCK * BLOCK + 2 * BLOCK if ending == ".tar" else len(data)
    for length in {*range(0, whole, 97), *range(0, whole, BLOCK), whole - 1}:
        packed.write_bytes(data[:length])
        check_refused(packed, into, r"cut short|not a|damaged|empty")


def test_a_checksum_that_is_wrong_is_noticed(tmp_path: Path, into: Path) -> None:
    packed = pack(tmp_path / "a.tgz", CONTENT)
    data = bytearray(packed.read_bytes())
    data[-8] ^= 1
    packed.write_bytes(data)
    check_refused(packed, into, "damaged .*incorrect data check")


def test_joined_archives_are_refused_rather_than_halved(tmp_path: Path, into: Path) -> None:
    packed = written(tmp_path / "a.tar", GOOD, bytes(2 * BLOCK), header("cat/2.png", 0))
    check_refused(packed, into, "goes on after its end mark, as joined archives do")


@pytest.mark.parametrize(("packer", "ending"), [("gzip", ".tgz"), ("bz2", ".tar.bz2"), ("lzma", ".tar.xz")])
def test_a_packed_tar_in_several_streams_with_padding(tmp_path: Path, into: Path, packer: str, ending: str) -> None:
    # As parallel packers write it.
    compress = __import__(packer).compress
    data = GOOD + header("cat/2.png", 2**18) + bytes(2**18) + bytes(2 * BLOCK)
    parts = [compress(data[start : start + 50_000]) for start in range(0, len(data), 50_000)]
    (tmp_path / f"a{ending}").write_bytes(compress(b"").join(parts) + bytes(2**17))
    assert tree(unpack(tmp_path / f"a{ending}", into)) == {"cat/1.png": b"1", "cat/2.png": bytes(2**18)}


@pytest.mark.parametrize("ending", [".tgz", ".tar.bz2", ".tar.xz"])
def test_a_bomb_is_stopped_on_the_way(tmp_path: Path, into: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(tmp_path / f"a{ending}", {"cat/1.bmp": bytes(40 * 2**20)})
    largest = 0
    taken = members.Target.check_whole

    def watched(target: members.Target, unpacked: int, packed_bytes: int) -> None:
        nonlocal largest
        largest = max(largest, unpacked)
        taken(target, unpacked, packed_bytes)

    monkeypatch.setattr(members.Target, "check_whole", watched)
    tracemalloc.start()
    check_refused(packed, into, "unpacks to more than 200 times its size; pictures do not")
    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    tracemalloc.stop()
    assert largest <= members.RATIO_ABOVE_BYTES + members.CHUNK_BYTES


def test_a_bomb_in_what_is_left_out_is_stopped_too(tmp_path: Path, into: Path) -> None:
    packed = pack(tmp_path / "a.tgz", {".git/pack": bytes(40 * 2**20), "cat/1.png": b"1"})
    check_refused(packed, into, "unpacks to more than 200 times its size")


def test_xz_is_not_given_all_the_memory_that_it_asks_for(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(tmp_path / "a.tar.xz", CONTENT)
    monkeypatch.setattr(inflating, "XZ_MEMORY", 2**20)
    check_refused(packed, into, "damaged .*[Mm]emory")


def test_members_of_every_size_around_a_block_and_a_chunk(tmp_path: Path, into: Path) -> None:
    sizes = [0, 1, 511, 512, 513, 2**16 - 1, 2**16, 2**20 - 1, 2**20, 2**20 + 1]
    content = {f"cat/{size}": random.Random(size).randbytes(size) for size in sizes}
    assert tree(unpack(pack(tmp_path / "a.tgz", content), into)) == content


def test_the_helpers_write_what_tarfile_reads(tmp_path: Path) -> None:
    packed = written(tmp_path / "a.tar", extended(record("path", "x" * 95)), GOOD)
    with tarfile.open(packed) as archive:
        assert archive.getnames() == ["x" * 95]
