"""Telling a file that was cut short from one that is damaged."""

import pytest

from tests.hostile import encoded
from tltool.data.truncation import ends_early

KINDS = ("WEBP", "TIFF", "GIF", "AVIF", "JPEG2000", "J2K")


def file_of(kind: str) -> bytes:
    if kind == "J2K":
        return encoded("JPEG2000", (64, 64), no_jp2=True)
    return encoded(kind, (64, 64), **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", [b"", bytes(512)])
def test_whole_files_do_not_end_early(kind: str, padding: bytes) -> None:
    assert not ends_early(file_of(kind) + padding)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_truncated_files_end_early(kind: str, share: float) -> None:
    data = file_of(kind)
    assert ends_early(data[: max(12, int(len(data) * share))])


def test_a_box_may_be_long_or_reach_to_the_end() -> None:
    start = (20).to_bytes(4) + b"ftypavif" + bytes(8)
    assert not ends_early(start + bytes(4) + b"mdat" + bytes(99))
    assert not ends_early(start + (1).to_bytes(4) + b"mdat" + (26).to_bytes(8) + bytes(10))
    assert ends_early(start + (1).to_bytes(4) + b"mdat" + (27).to_bytes(8) + bytes(10))
    assert ends_early(start + (1).to_bytes(4) + b"mdat")


@pytest.mark.parametrize("data", [b"", b"x", b"RIFF", b"II*\0", b"MM\0*\0\0", b"GIF89a", b"\0\0\0\0ftyp", b"\0" * 99])
def test_any_bytes_get_an_answer(data: bytes) -> None:
    assert ends_early(data) in (True, False)
