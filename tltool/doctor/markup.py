"""HTML that cannot be broken out of: whatever is not made here is text, and text is escaped."""

from html import escape

EMPTY = frozenset(("br", "img", "meta"))  # elements without content


class Markup(str):
    """HTML that `tag` made."""

    __slots__ = ()


def tag(name: str, /, *content: str | None, **attributes: str | None) -> Markup:
    """An element.

    Args:
        name: Of the element.
        content: Markup goes in as it is, text escaped, and None not at all.
        attributes: `class_` and the like for names that Python keeps for itself, and `_` for a dash; None leaves one
            out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in EMPTY:
        return Markup(f"<{name}{written}>")
    inside = "".join(part if isinstance(part, Markup) else escape(part) for part in content if part is not None)
    return Markup(f"<{name}{written}>{inside}</{name}>")


def joined(parts: list[Markup]) -> Markup:
    """Elements after each other."""
    return Markup("\n".join(parts))
