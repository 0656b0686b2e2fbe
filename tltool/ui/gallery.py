"""Pictures of each class, small."""

import io
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image, ImageOps

from tltool.data import Dataset, decode
from tltool.errors import DataError
from tltool.ui.words import counted, plain, shortened

PIXELS = 220  # side of a thumbnail: twice what is shown, for screens with fine pixels
SHOWN = 110  # pixels on the page
A_CLASS = 5  # pictures
CLASSES = 6  # shown at first
NAME_LENGTH = 13  # characters of a file name below its picture


def show_gallery(data: Dataset) -> None:
    """Draws some pictures of each class, with the class and the file as the text that stands for them."""
    names = data.class_names
    count = CLASSES
    if len(names) > CLASSES and st.toggle(f"Show all {len(names)} classes", key="all-classes"):
        count = len(names)
    totals = data.counts()
    for name, rows in list(pick(data).items())[:count]:
        st.markdown(f"**{plain(shortened(name, 60))}** · {counted(totals[name], 'picture')}")
        with st.container(horizontal=True, gap="small", key=f"pictures-{data.class_names.index(name)}"):
            for row in rows:
                file = data.files[row]
                picture = thumbnail(data.root / file)
                if picture is not None:
                    caption = plain(shortened(Path(file).name, NAME_LENGTH))
                    st.image(picture, width=SHOWN, alt=f"{name}: {file}", caption=caption)


def pick(data: Dataset, a_class: int = A_CLASS) -> dict[str, list[int]]:
    """Positions of some pictures of each class, spread over it: neighbours often show the same thing."""
    rows_of: dict[int, list[int]] = {}
    for row, labels in enumerate(data.labels):
        for label in labels:
            rows_of.setdefault(label, []).append(row)
    picked = {}
    for index, name in enumerate(data.class_names):
        rows = rows_of.get(index, [])
        chosen = np.linspace(0, len(rows) - 1, min(a_class, len(rows))).round().astype(int)
        picked[name] = [rows[i] for i in chosen]
    return picked


@st.cache_data(show_spinner=False, max_entries=2000)
def thumbnail(path: Path) -> bytes | None:
    """A square JPEG from the middle of a picture; None where it cannot be read."""
    try:
        picture = Image.fromarray(decode(path, PIXELS))
    except DataError:
        return None
    buffer = io.BytesIO()
    ImageOps.fit(picture, (PIXELS, PIXELS), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
