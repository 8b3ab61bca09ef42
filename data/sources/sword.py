"""Reads compressed SWORD modules: zlib blocks, one per book or chapter."""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

BLOCK = struct.Struct("<III")  # offset, compressed size, size
_BREAKS = re.compile(
    r"<(?:div|lb|p|/p|l|title|milestone type=\"x-p\")[^>]*>|</(?:verse|title|l|div)>"
)


def texts(module: Path) -> Iterator[str]:
    for blocks in sorted(module.rglob("*.[bc]zz")):
        data = blocks.read_bytes()
        index = blocks.with_suffix(blocks.suffix[:-1] + "s").read_bytes()
        for offset, size, _ in BLOCK.iter_unpack(index):
            yield without_markup(zlib.decompress(data[offset : offset + size]).decode())


def without_markup(text: str) -> str:
    """Words of OSIS or ThML markup; notes are dropped, verses and paragraphs become lines."""
    text = re.sub(r"<note.*?</note>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<[^>]+>", "", _BREAKS.sub("\n", text.replace("\x00", "\n")))
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(filter(None, lines))
