"""Files that stand beside the package in a checkout and inside it in an installed wheel."""

from pathlib import Path


def shipped(name: str) -> Path:
    """The file or folder `name` that ships with tltool: `recipes` or `app.py`."""
    package = Path(__file__).parent
    inside = package / name
    return inside if inside.exists() else package.parent / name
