"""Cleaning and grouping of extracted text, shared by every source."""

import gzip
import hashlib
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

PAGE_BYTES = 3000  # short items are grouped into pages of about this size
REPETITION_RATIO = 5  # a long line that zlib shrinks more than this is a table or broken markup
LONG_LINE_BYTES = 150
REPEATED_LINE_BYTES = 30
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffd]")
_BLANK_LINES = re.compile(r"\n{3,}")


def clean(text: str) -> str:
    """NFC text with single line ends, no control characters and no repetitive lines."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = (line.rstrip() for line in _CONTROL.sub("", text).split("\n"))
    text = "\n".join(line for line in lines if not _is_repetitive(line))
    return _BLANK_LINES.sub("\n\n", text).strip("\n") + "\n"


def _is_repetitive(line: str) -> bool:
    data = line.encode()
    return len(data) > LONG_LINE_BYTES and len(data) > REPETITION_RATIO * len(
        zlib.compress(data, 1)
    )


class RepeatedLines:
    """Drops every longer line that an earlier document of the same source already had."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._seen = {self._key(line) for line in known}

    def drop(self, text: str) -> str:
        return "\n".join(line for line in text.split("\n") if self._is_new(line))

    def _is_new(self, line: str) -> bool:
        if len(line.encode()) < REPEATED_LINE_BYTES:
            return True
        key = self._key(line)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    @staticmethod
    def _key(line: str) -> bytes:
        return hashlib.blake2b(line.strip().encode(), digest_size=8).digest()


def pages(
    items: Iterable[str], *, separator: str = "\n\n", size: int = PAGE_BYTES
) -> Iterator[str]:
    """Joins consecutive short items until a page has `size` bytes."""
    page: list[str] = []
    page_bytes = 0
    for item in items:
        page.append(item.strip("\n"))
        page_bytes += len(item.encode())
        if page_bytes >= size:
            yield separator.join(page)
            page, page_bytes = [], 0
    if page:
        yield separator.join(page)


def paragraph_cut(text: str, limit: int) -> str:
    """The longest beginning within `limit` bytes that ends a paragraph, else a line or a word."""
    data = text.encode()
    if len(data) <= limit:
        return text
    head = data[:limit].decode(errors="ignore")
    for boundary in ("\n\n", "\n", " "):
        cut = head.rfind(boundary)
        if cut > len(head) // 2:
            return head[:cut] + "\n"
    return head


def excerpts(text: str, size: int) -> Iterator[str]:
    """Consecutive pieces of at most `size` bytes, cut between paragraphs."""
    while text.strip():
        piece = paragraph_cut(text, size)
        yield piece.strip("\n") + "\n"
        text = text[len(piece) :]


def shuffled_files(folder: Path, pattern: str) -> list[Path]:
    """Files in an order fixed by the hash of their names, so that a cap keeps a fair sample."""
    files = [path for path in folder.rglob(pattern) if path.is_file() and not path.is_symlink()]
    return sorted(files, key=lambda path: _stable_key(str(path.relative_to(folder))))


def _stable_key(name: str) -> bytes:
    return hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()


def read_text(path: Path) -> str:
    """Text of a file, unzipped if it is gzip; Latin-1 where it is not UTF-8."""
    data = path.read_bytes()
    if path.suffix in (".gz", ".dz"):
        data = gzip.decompress(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
