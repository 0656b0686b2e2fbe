"""Which kinds of picture are read: one table for the names that are listed and the decoders that may open them."""

from collections.abc import Mapping
from types import MappingProxyType

# Pillow's name of the format, and the endings of its files. Only these decoders ever see a user's bytes: Pillow knows
# about 40 more, and one of them (EPS) hands the file to Ghostscript whatever its name ends in.
FORMATS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
        "PNG": (".png", ".apng"),
        "BMP": (".bmp",),
        "DIB": (".dib",),
        "GIF": (".gif",),
        "WEBP": (".webp",),
        "TIFF": (".tif", ".tiff"),
        "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        "AVIF": (".avif", ".avifs"),
        "JPEG2000": (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
    }
)
PICTURE_SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

# Pictures all the same: telling their owner that they are none would send them looking for another fault.
UNREADABLE_SUFFIXES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".svg", ".eps", ".psd", ".xcf", ".tga", ".ico", ".exr"),
        *(".dcm", ".dicom", ".nii"),  # medical
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),  # cameras
    )
)
# Not unpacked where they lie among pictures: an archive in an archive may be a bomb, and whose class would it be?
ARCHIVE_SUFFIXES = frozenset(
    (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".7z", ".rar", ".zst", ".lz4"),
)


def fault_of_name(suffix: str) -> str | None:
    """Why a file with this ending (with its dot, any letter case) is not read, in words; None if it is read."""
    suffix = suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return None
    if suffix in UNREADABLE_SUFFIXES:
        return f"a kind of picture that cannot be read ({suffix}): save it as JPEG or PNG"
    if suffix in ARCHIVE_SUFFIXES:
        return f"an archive among the pictures is not unpacked ({suffix}): unpack it yourself"
    return (
        f"not a picture: its name ends in {suffix}" if suffix else "not a picture: its name has no ending such as .jpg"
    )
