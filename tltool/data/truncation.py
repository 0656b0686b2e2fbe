"""Whether a picture file that cannot be decoded was cut short: then a whole copy may exist elsewhere."""


def ends_early(data: bytes) -> bool:
    """Whether the file ends before its own structure says that it does.

    A guess for files that a decoder has refused already: where the format keeps no lengths, a missing end mark counts.
    JPEG, PNG, BMP and PPM are not looked at, for of them the decoder itself says so.
    """
    if data.startswith(b"RIFF"):
        return 8 + int.from_bytes(data[4:8], "little") > len(data)
    if data.startswith((b"II*\0", b"MM\0*")):
        order = "little" if data.startswith(b"II") else "big"
        directory = int.from_bytes(data[4:8], order)
        entries = int.from_bytes(data[directory : directory + 2], order)
        return directory + 2 + 12 * entries > len(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return not data.rstrip(b"\0").endswith(b";")
    if data.startswith(b"\xff\x4f\xff\x51"):
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    return data[4:8] in (b"ftyp", b"jP  ") and _ends_inside_a_box(data)


def _ends_inside_a_box(data: bytes) -> bool:
    """Of AVIF and JPEG 2000, which are rows of boxes (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if size == 0:  # to the end of the file
            return False
        if size == 1:  # the size follows the name, in eight bytes
            size = int.from_bytes(data[at + 8 : at + 16])
        at += max(16, size) if data[at : at + 4] == b"\0\0\0\1" else max(8, size)
    return at != len(data)
