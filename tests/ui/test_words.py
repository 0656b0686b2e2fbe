"""Text for the page."""

import pytest

from tltool.ui.words import counted, duration, plain, shortened, size


@pytest.mark.parametrize(
    "text", ["*a*", "_a_", "`a`", "<b>", "[a](b)", ":red[a]", "$a$", "~~a~~", "# a", "a|b", "![a](b)"]
)
def test_plain_leaves_no_special_character_alone(text):
    escaped = plain(text)
    assert escaped.replace("\\", "") == text
    for position, character in enumerate(escaped):
        if character in "*_`<>[]():$~#|!":
            assert escaped[position - 1] == "\\"


def test_plain_is_one_line():
    assert plain("a\n\n# b\tc") == "a \\# b c"


def test_shortened_keeps_both_ends():
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abcde", 5) == "abcde"


def test_counts_times_and_sizes():
    assert (counted(1, "class", "classes"), counted(1200, "picture")) == ("1 class", "1,200 pictures")
    assert [duration(seconds) for seconds in (0.2, 59, 150, 7500)] == ["1 s", "59 s", "2 min", "2 h 5 min"]
    assert [size(bytes_) for bytes_ in (320_000, 14_200_000, 2_100_000_000)] == ["320 kB", "14.2 MB", "2.1 GB"]
