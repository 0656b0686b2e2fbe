"""Numbers as people read them."""

from tltool.evaluation.intervals import Interval

MINUTE, HOUR = 60.0, 3600.0
MISSING = "-"


def share(value: float | None, digits: int = 1) -> str:
    """A fraction in percent."""
    return MISSING if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None, digits: int = 3) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def between(found: Interval | None, digits: int = 1, *, percent: bool = True) -> str:
    """An interval."""
    if found is None:
        return MISSING
    low, high = found
    return (
        f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %" if percent else f"{low:.{digits}f} to {high:.{digits}f}"
    )


def duration(seconds: float | None) -> str:
    """A time that a run took."""
    if seconds is None:
        return MISSING
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"
    return f"{seconds // HOUR:.0f} h {seconds % HOUR // MINUTE:.0f} min"


def size(count: int) -> str:
    """Bytes of a file."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"
