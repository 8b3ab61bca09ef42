"""Checksums of stored members of a zip, which nothing compares where parts of them are read."""

import zlib
from typing import IO

CHUNK = 1 << 20  # bytes


def crc_of(opened: IO[bytes], begin: int, size: int) -> int | None:
    """None: there are fewer bytes."""
    opened.seek(begin)
    checksum = 0
    while size:
        part = opened.read(min(size, CHUNK))
        if not part:
            return None
        checksum, size = zlib.crc32(part, checksum), size - len(part)
    return checksum
