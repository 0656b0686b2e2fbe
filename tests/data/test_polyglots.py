"""Pictures that are something else besides."""

import io
import time
import zipfile

import pytest

from tests.conftest import REAL_DATA
from tests.hostile import PNG_SIGNATURE, by_length, chunk, encoded, png
from tltool.data.decoding import decode
from tltool.data.formats import FORMATS
from tltool.data.polyglots import MAX_ENDS, TEXT_WITHIN, hidden_content

PHP = b"<?php system($_GET['c']); ?>"


def zipped(names: tuple[str, ...] = ("a.class",), comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = comment
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def jpeg_with_comment(comment: bytes) -> bytes:
    data = encoded("JPEG")
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + data[2:]


def zip_with_its_offsets_from_the_start(picture: bytes) -> bytes:
    buffer = io.BytesIO(picture)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("a.class", b"x")
    return buffer.getvalue()


JPEG, GIF = encoded("JPEG"), encoded("GIF")
POLYGLOTS = [
    (GIF + zipped(), "zip"),
    (JPEG + zipped(comment=b"x" * 65535), "zip"),
    (zip_with_its_offsets_from_the_start(JPEG), "zip"),
    (jpeg_with_comment(b"%PDF-1.4\n%"), "pdf"),
    (jpeg_with_comment(PHP), "php"),
    (png(4, 4, chunk(b"tEXt", b"Comment\0" + PHP.upper())), "php"),
    (encoded("WEBP") + b"\n<ScRipt>alert(1)</script>", "html"),
    (JPEG + b"<!DOCTYPE html><body>", "html"),
    (encoded("BMP") + b"<HTML>", "html"),
    (b"GIF89a/*" + GIF[8:] + b"*/=1;alert(1)", "javascript"),
    (JPEG + b"\x7fELF" + bytes(99), "executable"),
    (png(4, 4) + b"MZ\x90\0" + bytes(99), "executable"),
    (JPEG + b"#!/bin/sh\nrm -rf .", "executable"),
    (png(4, 4) + b"Rar!\x1a\x07\x01\0", "rar"),
    (JPEG + b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
    (JPEG + b"\0" * 10 + JPEG + b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
]


@pytest.mark.parametrize(("data", "kind"), POLYGLOTS, ids=by_length)
def test_what_rides_along_is_named(data: bytes, kind: str) -> None:
    assert hidden_content(data) == kind


def test_they_are_pictures_all_the_same() -> None:
    # Otherwise the tests above would be about files that are refused anyway.
    assert all(decode(data).size for data, kind in POLYGLOTS if kind != "javascript")


@pytest.mark.parametrize("kind", FORMATS)
def test_plain_pictures_hide_nothing(kind: str) -> None:
    assert hidden_content(encoded(kind)) == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        JPEG + b"PK\5\6" + bytes(18),  # an end record without members
        JPEG + b"PK\5\6" + b"\1" * 18,  # one that points nowhere
        JPEG + b"PK\5\6",
        jpeg_with_comment(b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'),
        JPEG + JPEG,
        JPEG + bytes(10_000),
        jpeg_with_comment(b"x" * 1100 + b"%PDF-"),
        jpeg_with_comment(b"MZ\x90\0 and Rar!\x1a\x07"),
        JPEG + (20).to_bytes(4) + b"ftypmp42" + bytes(8),  # the film of a moving photo
    ],
    ids=by_length,
)
def test_what_only_resembles_a_guest_is_none(data: bytes) -> None:
    assert hidden_content(data) == ""


def test_a_large_picture_takes_little_time() -> None:
    hostile = PNG_SIGNATURE + b"\xff\xd9" * 2**22 + b"\x7fELF"
    start = time.perf_counter()
    assert hidden_content(hostile) == ""
    assert time.perf_counter() - start < 1
    assert MAX_ENDS < 2**22
    assert len(hostile) > TEXT_WITHIN


@pytest.mark.realdata
def test_no_real_picture_hides_anything() -> None:
    pictures = [path for path in REAL_DATA.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg")]
    assert len(pictures) > 17_000
    assert {str(path): found for path in pictures if (found := hidden_content(path.read_bytes()))} == {}
