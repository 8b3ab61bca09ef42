"""Numbered lines of a UTF-8 file, and the JSON in them. What cannot be read is a ValueError of one
line that names file, line, cause and remedy."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data.strict_json import each_name_once, what_is_wrong

BAD_BYTE = re.compile("[\udc80-\udcff]")  # how "surrogateescape" reads what is not UTF-8
BAD_BYTE_BASE = 0xDC00
MARKS = (  # byte order marks, the longer ones first
    ("UTF-32", ("\udcff\udcfe\0\0", "\0\0\udcfe\udcff")),
    ("UTF-16", ("\udcff\udcfe", "\udcfe\udcff")),
)
UNMARKED = {"UTF-32": 0.6, "UTF-16": 0.35}  # share of NUL in the first line, from which it is that


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a prompt file may hold."""

    documents: int = 1_000_000
    rows: int = 10_000_000  # blank ones too
    characters: int = 1_000_000  # of one document
    total_characters: int = 1_000_000_000


DEFAULT_LIMITS = Limits()


def lines(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[tuple[int, str]]:
    """With their ends, none longer than a document and its quoting may be."""
    longest = 2 * limits.characters + 1_000
    number = 1
    try:
        with open_text(path) as file:
            while line := file.readline(longest + 1):
                if number == 1 and "\0" in line:
                    check_unmarked(line, f"{path.name}:1")
                if not line.isascii():
                    check_utf8(line, f"{path.name}:{number}")
                if len(line) > longest:
                    raise ValueError(
                        f"{path.name}:{number}: a line of more than {longest:,} characters; "
                        "split it"
                    )
                yield number, line
                number += 1
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path.name} is not a whole gzip file ({error}); copy it again"
        ) from error
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def open_text(path: Path) -> IO[str]:
    """As text; only csv keeps its line ends."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape")
    newline = "" if path.suffix.lower() == ".csv" else None
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def check_utf8(line: str, where: str) -> None:
    if bad := BAD_BYTE.search(line):
        byte, place = ord(bad[0]) - BAD_BYTE_BASE, bad.start() + 1
        encoding = marked_encoding(line)
        raise ValueError(
            f"{where}: {f'{encoding}, ' if encoding else ''}not UTF-8 (byte {byte:#04x} at "
            f"character {place}); save the file as UTF-8"
        )


def marked_encoding(line: str) -> str | None:
    return next((name for name, marks in MARKS if line.startswith(marks)), None)


def check_unmarked(line: str, where: str) -> None:
    """Latin letters of UTF-16 and UTF-32 are ASCII, with NUL between."""
    if marked_encoding(line):
        return
    for encoding, share in UNMARKED.items():
        if line.count("\0") >= share * len(line):
            raise ValueError(
                f"{where}: looks like {encoding}, and only UTF-8 is read; save the file as UTF-8"
            )


def parsed_json(text: str, where: str, *, names_once: bool = False) -> object:
    try:
        return json.loads(text, object_pairs_hook=each_name_once if names_once else None)
    except json.JSONDecodeError as error:
        line = f":{error.lineno}" if "\n" in text.strip() else ""  # of a file that is one value
        raise ValueError(
            f"{where}{line}: not JSON: {error.msg} at character {error.colno}; correct it"
        ) from error
    except RecursionError as error:
        raise ValueError(f"{where}: JSON nested too deeply; make it flatter") from error
    except ValueError as error:
        raise ValueError(f"{where}: {what_is_wrong(error)}; correct it") from error


def json_objects(
    path: Path, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[int, dict[str, object]]]:
    """Numbered lines of a jsonl file, each one object; blank lines are ignored."""
    for number, line in lines(path, limits):
        check_rows(number, path.name, limits)
        if not line.strip():
            continue
        value = parsed_json(line, f"{path.name}:{number}", names_once=True)
        if not isinstance(value, dict):
            raise ValueError(
                f"{path.name}:{number}: {type(value).__name__}, not an object; write "
                'one line as {"text": …}'
            )
        yield number, value


def check_rows(number: int, file_name: str, limits: Limits) -> None:
    """Blank or not: a small file can hold millions of them."""
    if number > limits.rows:
        raise ValueError(f"{file_name}: more than {limits.rows:,} rows; split the file")


def encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
