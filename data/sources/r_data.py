"""Reads the character vectors of an R lazy-load database."""

import re
import struct
import zlib
from collections.abc import Iterator

# An element of a character vector: flags of its encoding, type 9 (CHARSXP), length.
_STRING = re.compile(rb"\x00[\x00\x04\x08]\x00\x09(?P<length>.{4})", re.S)
MIN_LINES = 1000


def character_vectors(database: bytes) -> Iterator[list[str]]:
    """Vectors of at least 1,000 strings; every record is a 4-byte size and a zlib stream."""
    position = 0
    while position + 6 < len(database):
        stream = zlib.decompressobj()
        try:
            record = stream.decompress(database[position + 4 :])
        except zlib.error:
            return
        position = len(database) - len(stream.unused_data)
        strings = list(_strings(record))
        if len(strings) >= MIN_LINES:
            yield strings


def _strings(record: bytes) -> Iterator[str]:
    position = 0
    while match := _STRING.search(record, position):
        (length,) = struct.unpack(">i", match["length"])
        position = match.end() + max(length, 0)
        if 0 <= length <= len(record) - match.end():
            yield record[match.end() : position].decode(errors="replace")
