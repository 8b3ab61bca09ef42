"""JSON objects of a large file: one, a list of them, or one after another (JSON Lines)."""

import codecs
import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from data.importers.source import DumpFile, Meter
from data.strict_json import what_is_wrong

CHUNK = 1 << 23  # bytes that are read at once
MOST = 96 << 20  # characters of an object: bounds memory
SPACES = re.compile(r"[ \t\r\n]*")


def objects(file: DumpFile, meter: Meter) -> Iterator[dict[str, Any]]:
    """ValueError: something else stands there."""
    text = _Text(file, meter)
    with text.stream:
        first = text.next()
        in_list = first == "["
        if in_list:
            text.drop()
        count = 0
        while (mark := text.next()) and not (in_list and mark == "]"):
            if in_list and count:
                text.require(",")
            yield text.object(count)
            count += 1
        if in_list:
            text.require("]")
            if text.next():
                raise ValueError(f"{file.name}: something stands behind the list; remove it")


def text_or_none(value: object, where: str) -> str | None:
    """ValueError: it is something else, or has half a character, which JSON can hold."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{where} is {type(value).__name__}; a text is expected")
    try:
        return value and str(value.encode(), "utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{where} holds half a character (a lone surrogate)") from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: values of JSON have no cycles, and looking for some among
    millions of lists takes as long as reading them."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class _Text:
    """A file, of which a part is in memory: `_text`, from `_at`."""

    def __init__(self, file: DumpFile, meter: Meter) -> None:
        self.stream = file.path.open("rb")
        self._file, self._meter = file, meter
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder()
        self._text, self._at = "", 0
        self._ended = False

    def next(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            match = SPACES.match(self._text, self._at)
            assert match is not None  # as few as none
            self._at = match.end()
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._read()

    def drop(self) -> None:
        self._at += 1

    def require(self, mark: str) -> None:
        if (found := self.next()) != mark:
            raise ValueError(
                f"{self._file.name}: {found or 'the end'!r} stands in its list where {mark!r} is "
                "expected"
            )
        self.drop()

    def object(self, number: int) -> dict[str, Any]:
        where = f"{self._file.name}: object {number}"
        if (found := self.next()) != "{":
            raise ValueError(f"{where}: {found or 'the end'!r} where an object is expected")
        while True:
            try:
                with _uncollected():
                    value, self._at = self._json.raw_decode(self._text, self._at)
                return dict(value)
            except RecursionError as error:
                raise ValueError(f"{where} is nested too deeply") from error
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._at > MOST:
                    raise self._refusal(where, error) from error
            except ValueError as error:
                raise ValueError(f"{where}: {what_is_wrong(error)}") from error
            self._read(max(CHUNK, len(self._text) - self._at))

    def _refusal(self, where: str, error: json.JSONDecodeError) -> ValueError:
        place = error.pos - self._at
        if not self._ended:
            return ValueError(
                f"{where} is no JSON of at most {MOST:,} characters ({error.msg} at character "
                f"{place}); split it"
            )
        return ValueError(f"{where} is not whole JSON: {error.msg} at its character {place}")

    def _read(self, size: int = CHUNK) -> None:
        data = self.stream.read(size)
        self._meter.advance(len(data))
        self._ended = not data
        try:
            decoded = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            place = self.stream.tell() - len(error.object) + error.start
            raise ValueError(
                f"{self._file.name} is not UTF-8 at byte {place}; copy it again"
            ) from error
        self._text, self._at = self._text[self._at :] + decoded, 0
