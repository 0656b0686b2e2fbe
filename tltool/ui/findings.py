"""What the doctor says of the data set, with the first pictures of each finding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from tltool.data import Dataset
from tltool.ui.gallery import NAME_LENGTH, SHOWN, thumbnail
from tltool.ui.words import counted, plain, shortened

PICTURES = 6  # of a finding; two rows on a telephone
BADGES: Mapping[str, str] = {"error": "red", "warning": "orange", "note": "gray"}


def show_findings(data: Dataset, findings: Sequence[Mapping[str, Any]]) -> None:
    """Draws the findings of an inspection, the grave ones first; nothing where there are none."""
    if not findings:
        st.caption("The doctor has looked at every file and found nothing wrong.")
        return
    worst = findings[0]["severity"]
    label = f":{BADGES[worst]}-badge[The doctor: {counted(len(findings), 'finding')}]"
    with st.expander(label, expanded=worst == "error"):
        for number, finding in enumerate(findings):
            st.markdown(f":{BADGES[finding['severity']]}-badge[{finding['severity']}] {plain(finding['message'])}")
            _show_pictures(data, finding, number)
            if finding["fix"]:
                st.caption(plain(finding["fix"]))


def _show_pictures(data: Dataset, finding: Mapping[str, Any], number: int) -> None:
    details = finding["details"] or [""] * len(finding["files"])
    shown = [
        (file, detail, picture)
        for file, detail in list(zip(finding["files"], details, strict=True))[:PICTURES]
        if (picture := thumbnail(data.root / file)) is not None
    ]
    if not shown:
        return
    with st.container(horizontal=True, gap="small", key=f"finding-{number}"):
        for file, detail, picture in shown:
            caption = plain(detail or shortened(Path(file).name, NAME_LENGTH))
            st.image(picture, width=SHOWN, alt=f"{file}: {detail}" if detail else file, caption=caption)
    if len(finding["files"]) > PICTURES:
        with st.expander(f"All {len(finding['files']):,} files"):
            rows = [{"file": file, "what": detail} for file, detail in zip(finding["files"], details, strict=True)]
            st.dataframe(rows, hide_index=True, width="stretch")
