"""What a picture is known by."""

import hashlib

KEY_DIGITS = 40  # hex digits of the SHA-256: 160 bits, so that no two pictures meet


def content_key(data: bytes) -> str:
    """The key of a picture: a hash of the file's bytes, so that a renamed or moved file keeps what is known of it."""
    return hashlib.sha256(data).hexdigest()[:KEY_DIGITS]
