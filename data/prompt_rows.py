"""Rows of prompt files in txt, csv and jsonl, as they stand in the file.

A reader takes a file, its limits and the notes it adds to, and gives the row's number, text, domain
and group.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from io import StringIO
from math import isnan
from pathlib import Path

from data.lines import Limits, check_rows, json_objects, lines
from data.prompt_columns import NOTED, NoTextError, Places, columns

Unchecked = tuple[int, object, object, object]
NAN_NOTE = "a label that is NaN counts as none; write null, or the word in quotation marks"
SEPARATED_NOTE = "blank lines and lines of --- separate its texts, so a text may have several lines"
DASHES = re.compile(r"\s*-{3,}\s*")  # a whole line
Notes = dict[str, None]  # lines, each once, in order


def places_of(names: tuple[str, ...], where: str, notes: Notes) -> Places:
    try:
        places, unused = columns(names)
    except ValueError as error:
        raise type(error)(f"{where}: {error}") from error
    notes |= dict.fromkeys(unused[: max(0, NOTED - len(notes))])
    return places


def separate_texts(text: str) -> list[str]:
    """Blank lines and lines of dashes lie between texts; a text alone keeps its own."""
    all_lines = list(StringIO(text, newline="\n"))
    texts = [part for _, part in _parts(enumerate(all_lines))]
    return [text] if len(texts) == 1 and not any(map(DASHES.fullmatch, all_lines)) else texts


def are_separated(lines_of_file: Iterable[str]) -> bool:
    """Whether a txt file has lines of dashes, or blank lines between others; else each line is a
    text."""
    text = gap = False
    for line in lines_of_file:
        if not line.strip():
            gap = text
        elif gap or DASHES.fullmatch(line):
            return True
        else:
            text = True
    return False


def txt_rows(path: Path, limits: Limits, notes: Notes) -> Iterator[Unchecked]:
    if not are_separated(line for _, line in _checked_lines(path, limits)):
        for number, line in _checked_lines(path, limits):
            if line.strip():
                yield number, line.rstrip("\n"), None, None
        return
    for number, text in _parts(_checked_lines(path, limits), path.name, limits.characters):
        if "\n" in text:
            notes[SEPARATED_NOTE] = None
        yield number, text, None, None


def _checked_lines(path: Path, limits: Limits) -> Iterator[tuple[int, str]]:
    for number, line in lines(path, limits):
        check_rows(number, path.name, limits)
        yield number, line


def _parts(
    numbered: Iterable[tuple[int, str]], name: str = "", most: int | None = None
) -> Iterator[tuple[int, str]]:
    """What lies between blank lines and lines of dashes, with the number of its first line. It has
    at most so many characters."""
    begins, part, size = 0, list[str](), 0
    for number, line in numbered:
        if line.strip() and not DASHES.fullmatch(line):
            if not part:
                begins, size = number, 0
            part.append(line)
            size += len(line.rstrip("\n"))
            if most is not None and size > most:
                raise ValueError(
                    f"{name}:{begins}: a text of more than {most:,} characters begins here; "
                    "separate it by blank lines"
                )
        elif part:
            yield begins, "".join(part).strip("\r\n")
            part = []
    if part:
        yield begins, "".join(part).strip("\r\n")


def csv_rows(path: Path, limits: Limits, notes: Notes) -> Iterator[Unchecked]:
    csv.field_size_limit(2 * limits.characters)
    table = csv.reader((line for _, line in lines(path, limits)), strict=True)
    begins = 1  # the line of the row, which may hold line breaks
    try:
        header = next(table, None)
        if header is None:
            raise ValueError(f"{path.name} is empty; its first line names the columns")
        places = places_of(tuple(header), f"{path.name}:1", notes)
        begins = table.line_num + 1
        for number, fields in enumerate(table, start=1):
            at_line, begins = begins, table.line_num + 1
            check_rows(number, path.name, limits)
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(
                    f"{path.name}:{at_line}: {len(fields)} fields, the header has "
                    f"{len(header)}; quote a text that holds commas"
                )
            text, domain, group = (None if at is None else fields[at] for at in places)
            yield at_line, text, domain, group
    except csv.Error as error:
        raise ValueError(
            f"{path.name}:{begins}: {error}; check the quotes of the row that begins here"
        ) from error


def jsonl_rows(path: Path, limits: Limits, notes: Notes) -> Iterator[Unchecked]:
    """A row without the field has no text; if none has it, the first is the error."""
    first_without: ValueError | None = None
    has_field = False
    for number, record in json_objects(path, limits):
        names = tuple(record)
        try:
            places = places_of(names, f"{path.name}:{number}", notes)
        except NoTextError as error:
            first_without = first_without or error
            yield number, None, None, None
            continue
        has_field = True
        text, domain, group = (None if at is None else record[names[at]] for at in places)
        if any(isinstance(label, float) and isnan(label) for label in (domain, group)):
            notes[NAN_NOTE] = None
        yield number, text, domain, group
    if first_without and not has_field:
        raise first_without
