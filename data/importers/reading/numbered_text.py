"""Numbered lines of large text files, none longer than may be."""

import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import PurePath

import numpy as np
import pyarrow as pa
from pyarrow import csv

from data.importers.source import DumpFile, Meter

BLOCK = 1 << 22  # bytes that are read at once
LONGEST = 1 << 20  # bytes of a line in a block
SHOWN = 60  # bytes of a line in a message


def numbered_lines(
    file: DumpFile, meter: Meter, *, longest: int = LONGEST
) -> Generator[tuple[int, bytes]]:
    """Without their ends."""
    number = 0
    with file.path.open("rb") as stream:
        while line := stream.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise too_long(file, number, longest)
            meter.advance(len(line))
            yield number, line.rstrip(b"\r\n")


def line_blocks(file: DumpFile, meter: Meter) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, whole lines with \\n at their ends)"""
    number, rest = 1, b""
    with file.path.open("rb") as stream:
        while chunk := stream.read(BLOCK):
            meter.advance(len(chunk))
            chunk = (rest + chunk).replace(b"\r\n", b"\n")
            end = chunk.rfind(b"\n") + 1
            rest = chunk[end:]
            if len(rest) > LONGEST:
                raise too_long(file, number + chunk.count(b"\n"), LONGEST)
            if end:
                yield number, chunk[:end]
                number += chunk.count(b"\n", 0, end)
    if rest:
        yield number, rest.removesuffix(b"\r") + b"\n"


def too_long(file: DumpFile, number: int, longest: int) -> ValueError:
    return ValueError(
        f"{file.name}:{number}: a line of more than {longest:,} bytes, which this format does not "
        "have; see that it is the right file"
    )


def require_lines(
    file: DumpFile, number: int, block: bytes, lines: re.Pattern[bytes], expected: str
) -> None:
    """ValueError: the block is not `lines`, a pattern of any number of them; names the first."""
    match = lines.match(block)
    place = match.end() if match else 0
    if place < len(block):
        found = block[place : place + SHOWN].split(b"\n")[0].decode("utf-8", "backslashreplace")
        number += block.count(b"\n", 0, place)
        raise ValueError(f"{file.name}:{number}: {found!r} where {expected} is expected")


def columns(block: bytes, types: Sequence[pa.DataType], *, separator: str) -> list[np.ndarray]:
    """Of lines that are known to hold that many numbers of these types each."""
    names = [str(place) for place in range(len(types))]
    table = csv.read_csv(
        pa.BufferReader(block),
        read_options=csv.ReadOptions(column_names=names, use_threads=False),
        parse_options=csv.ParseOptions(delimiter=separator, quote_char=False),
        convert_options=csv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)), null_values=[]
        ),
    )
    return [column.to_numpy() for column in table.columns]


def in_natural_order(name: str) -> list[tuple[int, str]]:
    """Key by which rank_10 comes after rank_9."""
    parts = re.split(r"(\d+)", PurePath(name).as_posix())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
