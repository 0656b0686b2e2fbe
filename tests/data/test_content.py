"""Keys by content."""

from tltool.data.content import content_key


def test_content_keys_follow_the_bytes_alone() -> None:
    assert content_key(b"a picture") == content_key(b"a picture")
    assert len({content_key(data) for data in (b"", b"a", b"b", b"a" * 1000)}) == 4
