"""Whether a picture file is something else besides: one that a server would run, or an archive that rides along."""

import struct

# Where each kind of guest must be to be found by what would open it, so that only these parts are searched.
PDF_WITHIN = 1024  # bytes from the start; PDF readers search no further (ISO 32000-1, annex H.3, note 13)
TEXT_WITHIN = 2**14  # bytes at either end; comments lie there, and a search of whole files would take milliseconds
ZIP_WITHIN = 2**16 + 22  # bytes from the end: the end record and the longest comment; APPNOTE.TXT 4.3.16

PICTURE_ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82")  # JPEG, PNG
MAX_ENDS = 1000  # of one kind that are looked at; thumbnails and chance make a few a megabyte
APPENDED = {
    b"\x7fELF": "executable",
    b"MZ\x90\0": "executable",
    b"#!/": "executable",
    b"Rar!\x1a\x07": "rar",
    b"7z\xbc\xaf\x27\x1c": "7z",
}
# Lower case. Real pictures hold XML (XMP), so none of its marks may be here.
MARKUP = {b"<?php": "php", b"<script": "html", b"<html": "html", b"<!doctype html": "html", b"<iframe": "html"}
# The bytes behind a GIF's or a JPEG's signature open a comment in JavaScript, which makes the whole file a program.
SCRIPT_STARTS = (b"GIF87a/*", b"GIF89a/*", b"\xff\xd8\xff\xe0/*")


def hidden_content(data: bytes) -> str:
    """What else a picture file is.

    Args:
        data: The file's bytes.

    Returns:
        "zip", "rar", "7z", "pdf", "html", "php", "javascript" or "executable"; "" for a picture that is nothing else.
    """
    if _is_zip(data):
        return "zip"
    if b"%PDF-" in data[:PDF_WITHIN]:
        return "pdf"
    if data.startswith(SCRIPT_STARTS):
        return "javascript"
    edges = (data[:TEXT_WITHIN] + data[max(TEXT_WITHIN, len(data) - TEXT_WITHIN) :]).lower()
    for mark, kind in MARKUP.items():
        if mark in edges:
            return kind
    return _appended(data)


def _is_zip(data: bytes) -> bool:
    """Whether unzip would find a table of contents: the end record points at one, or says that there is none."""
    start = data.rfind(b"PK\5\6", max(0, len(data) - ZIP_WITHIN))
    if start < 0 or start + 22 > len(data):
        return False
    entries, size, offset = struct.unpack_from("<HII", data, start + 10)
    # Counted from the end record, as most readers do: a picture in front moves all offsets.
    return entries > 0 and (data.startswith(b"PK\1\2", start - size) or data.startswith(b"PK\1\2", offset))


def _appended(data: bytes) -> str:
    """What begins where the picture ends, or where it may end: the two marks together are rare."""
    if data.endswith(PICTURE_ENDS):
        return ""
    for end in PICTURE_ENDS:
        at = -1
        for _ in range(MAX_ENDS):
            at = data.find(end, at + 1)
            if at < 0:
                break
            for start, kind in APPENDED.items():
                if data.startswith(start, at + len(end)):
                    return kind
    return ""
