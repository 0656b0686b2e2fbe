"""Small copies of pictures that an HTML file carries within itself."""

import base64
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from tltool.data.decoding import decode
from tltool.doctor.markup import Markup, tag
from tltool.errors import PictureError

SIDE = 144  # pixels of the longer side; twice as many would make a report of tens of megabytes
QUALITY = 72  # of the JPEG; about 4 kB a picture
MAGNIFIED_BELOW = 64  # pixels of the longer side; smaller ones are shown with their pixels as squares


def read_icons(root: Path, files: Iterable[str]) -> dict[str, str]:
    """Data URIs of small copies, by file; unreadable files are missing."""
    files = list(dict.fromkeys(files))
    with ThreadPoolExecutor() as pool:
        icons = pool.map(lambda file: _icon(root / file), files)
        return {file: icon for file, icon in zip(files, icons, strict=True) if icon}


def _icon(path: Path) -> str | None:
    try:
        picture = Image.fromarray(decode(path, SIDE))
    except PictureError:
        return None
    picture.thumbnail((SIDE, SIDE))
    return data_uri(picture)


def data_uri(picture: Image.Image) -> str:
    """An RGB picture as HTML can carry it."""
    # An icon's own pixels, without the halos of JPEG around them.
    kind = "PNG" if max(picture.size) < MAGNIFIED_BELOW else "JPEG"
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=QUALITY, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def figure(file: str, icons: Mapping[str, str], *caption: str) -> Markup:
    """A picture with its name and what there is to say of it."""
    if file in icons:
        icon = "icon" if icons[file].startswith("data:image/png") else None
        shown = tag("img", src=icons[file], alt=file, class_=icon)
    else:
        shown = Markup("no picture")
    # Isolated: a name written from right to left must not turn around what stands beside it.
    return tag("figure", tag("div", shown, class_="frame"), tag("figcaption", tag("bdi", file), *caption))
