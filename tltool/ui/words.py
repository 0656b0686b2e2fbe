"""Numbers and other people's names as text that is safe to show."""

import re

# Markdown and Streamlit's own directives (:red[...], $formula$). A class folder called "*bee*" must look like that.
SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-!|~$:&^=])")


def plain(text: str) -> str:
    """Markdown that shows exactly this text, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def shortened(text: str, length: int) -> str:
    """The text, with its middle left out where it is longer than `length` >= 3 characters."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """ "1 picture", "2 pictures", "1,200 pictures"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """ "8 s", "3 min" or "2 h 5 min"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def size(bytes_: int) -> str:
    """ "320 kB", "14.2 MB" or "2.1 GB"."""
    if bytes_ >= 1e9:
        return f"{bytes_ / 1e9:.1f} GB"
    return f"{bytes_ / 1e6:.1f} MB" if bytes_ >= 1e6 else f"{max(1, round(bytes_ / 1e3))} kB"
