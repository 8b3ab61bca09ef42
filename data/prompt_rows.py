"""Rows of prompt files in txt, csv and jsonl, as they stand in the file.

A reader takes a file, its limits and the notes it adds to, and gives the row's number, text, domain
and group.
"""

import csv
from collections.abc import Iterator
from math import isnan
from pathlib import Path

from data.lines import Limits, check_rows, json_objects, lines
from data.prompt_columns import NOTED, Places, columns

Unchecked = tuple[int, object, object, object]
NAN_NOTE = "a label that is NaN counts as none; write null, or the word in quotation marks"
Notes = dict[str, None]  # lines, each once, in order


def places_of(names: tuple[str, ...], where: str, notes: Notes) -> Places:
    try:
        places, unused = columns(names)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    notes |= dict.fromkeys(unused[: max(0, NOTED - len(notes))])
    return places


def txt_rows(path: Path, limits: Limits, notes: Notes) -> Iterator[Unchecked]:
    for number, line in lines(path, limits):
        check_rows(number, path.name, limits)
        if line.strip():
            yield number, line.rstrip("\n"), None, None


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
    for number, record in json_objects(path, limits):
        names = tuple(record)
        places = places_of(names, f"{path.name}:{number}", notes)
        text, domain, group = (None if at is None else record[names[at]] for at in places)
        if any(isinstance(label, float) and isnan(label) for label in (domain, group)):
            notes[NAN_NOTE] = None
        yield number, text, domain, group
