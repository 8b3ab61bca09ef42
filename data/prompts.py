"""Documents from a file of a user's: txt, csv, jsonl or parquet.

- txt: one prompt a line; blank lines are ignored.
- csv, jsonl, parquet: one prompt a row, in a column or field `text` or `prompt`, with an optional
  `domain` and `group`. Rows without text are skipped and counted.

Everything is UTF-8. What cannot be read is a ValueError that names the line.
"""

import csv
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from data.groups import GroupDomains, Grouping, TextGroups
from data.labels import LABELS, checked_label
from data.routing import Document

TEXT_NAMES = ("text", "prompt")
PARQUET_ROWS = 256  # read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a prompt file may hold."""

    documents: int = 1_000_000
    characters: int = 1_000_000  # of one document
    total_characters: int = 1_000_000_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSummary:
    """A prompt file that was read to its end without an error."""

    documents: int
    skipped: int  # rows without text
    sha256: str  # of all texts, domains and given groups
    grouping: Grouping
    joined: Mapping[int, str]  # groups of the texts that are equal or nearly equal to another


# Line or row number, text (None: has none), domain, group.
Row = tuple[int, str | None, str | None, str | None]
Unchecked = tuple[int, object, object, object]  # the same as it stands in the file


def read_documents(
    path: Path,
    limits: Limits = DEFAULT_LIMITS,
    *,
    joined: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[Document]:
    """The prompts of a file, numbered from 0; `joined` has groups of those that name none."""
    doc_id = 0
    for place, text, domain, group in rows(path, limits):
        if text is not None:
            yield Document(
                doc_id=doc_id,
                text=text,
                domain=domain,
                group=joined.get(doc_id, group),
                origin=f"{path.name}:{place}",
            )
            doc_id += 1


def summarize_prompts(path: Path, limits: Limits = DEFAULT_LIMITS) -> PromptSummary:
    """Read the whole file, so that nothing has to be undone when its last line is bad."""
    digest, texts = hashlib.sha256(), TextGroups()
    documents = skipped = 0
    for _, text, domain, group in rows(path, limits):
        if text is None:
            skipped += 1
            continue
        texts.add(documents, text, domain, group)
        documents += 1
        digest.update(
            json.dumps([text, domain] if group is None else [text, domain, group]).encode()
        )
    if documents == 0:
        raise ValueError(f"{path.name} holds no prompts")
    joined, grouping = texts.groups()
    return PromptSummary(
        documents=documents,
        skipped=skipped,
        sha256=digest.hexdigest(),
        grouping=grouping,
        joined=joined,
    )


def rows(path: Path, limits: Limits) -> Iterator[Row]:
    """Checked rows: the text is None where a row has none."""
    documents = characters = 0
    groups = GroupDomains()
    for place, unchecked, *labels in reader(path)(path, limits):
        where = f"{path.name}:{place}"
        text = checked_text(unchecked, where, limits)
        domain, group = (
            checked_label(name, label, where) for name, label in zip(LABELS, labels, strict=True)
        )
        if text is not None:
            groups.check(group, domain, where)
        yield place, text, domain, group
        if text is None:
            continue
        documents += 1
        characters += len(text)
        if documents > limits.documents or characters > limits.total_characters:
            raise ValueError(
                f"{where}: more than {limits.documents:,} prompts or "
                f"{limits.total_characters:,} characters; split the file"
            )


def reader(path: Path) -> Callable[[Path, Limits], Iterator[Unchecked]]:
    readers = {".txt": txt_rows, ".csv": csv_rows, ".jsonl": jsonl_rows, ".parquet": parquet_rows}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path.name} is not one of {', '.join(readers)}")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return readers[path.suffix.lower()]


def checked_text(text: object, where: str, limits: Limits) -> str | None:
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    if not isinstance(text, str):
        raise ValueError(f"{where}: the text is {type(text).__name__}, not a string")
    if len(text) > limits.characters:
        raise ValueError(
            f"{where}: {len(text):,} characters, the limit is {limits.characters:,}; split it"
        )
    if "\0" in text:
        raise ValueError(f"{where}: a NUL byte; is this a text file?")
    if not encodable(text):
        raise ValueError(f"{where}: half a surrogate pair, which is no character")
    return text


def encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def lines(path: Path, limits: Limits) -> Iterator[tuple[int, str]]:
    """Numbered lines with their ends, none longer than a document and its quoting may be."""
    longest = 2 * limits.characters + 1_000
    number = 1
    try:
        with open_text(path) as file:
            while line := file.readline(longest + 1):
                if len(line) > longest:
                    raise ValueError(
                        f"{path.name}:{number}: a line of more than {longest:,} characters"
                    )
                yield number, line
                number += 1
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} is not UTF-8 (byte {error.object[error.start]:#04x} after line "
            f"{number - 1}); save it as UTF-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path.name} is not a whole gzip file: {error}") from error
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def open_text(path: Path) -> IO[str]:
    """As text; only csv keeps its line ends."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig", newline="" if path.suffix.lower() == ".csv" else None)


def txt_rows(path: Path, limits: Limits) -> Iterator[Unchecked]:
    for number, line in lines(path, limits):
        if line.strip():
            yield number, line.rstrip("\n"), None, None


def csv_rows(path: Path, limits: Limits) -> Iterator[Unchecked]:
    csv.field_size_limit(2 * limits.characters)
    table = csv.reader((line for _, line in lines(path, limits)), strict=True)
    try:
        header = next(table, None)
        if header is None:
            raise ValueError(f"{path.name} is empty")
        places = columns([name.strip() for name in header], path.name)
        for fields in table:
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(
                    f"{path.name}:{table.line_num}: {len(fields)} fields, the header has "
                    f"{len(header)}"
                )
            text, domain, group = (None if at is None else fields[at] for at in places)
            yield table.line_num, text, domain, group
    except csv.Error as error:
        raise ValueError(f"{path.name}:{table.line_num}: {error}") from error


def columns(names: list[str], file_name: str) -> tuple[int | None, ...]:
    """Where the text, the domain and the group are."""
    texts = [name for name in names if name in TEXT_NAMES]
    if len(texts) != 1 or any(names.count(label) > 1 for label in LABELS):
        problem = "no column" if not texts else "more than one column"
        shown = ", ".join(repr(name[:40]) for name in names[:10])
        raise ValueError(
            f"{file_name} has {problem} named text or prompt, or two named domain or group; "
            f"found {shown}"
        )
    wanted = (texts[0], *LABELS)
    return tuple(names.index(name) if name in names else None for name in wanted)


def jsonl_rows(path: Path, limits: Limits) -> Iterator[Unchecked]:
    for number, record in json_objects(path, limits):
        fields = [name for name in TEXT_NAMES if name in record]
        if len(fields) != 1:
            raise ValueError(
                f"{path.name}:{number}: an object needs one of the fields text and prompt, "
                f"found {', '.join(repr(name[:40]) for name in list(record)[:10]) or 'none'}"
            )
        yield number, record[fields[0]], record.get("domain"), record.get("group")


def json_objects(
    path: Path, limits: Limits = DEFAULT_LIMITS
) -> Iterator[tuple[int, dict[str, object]]]:
    """Numbered lines of a jsonl file, each one object; blank lines are ignored."""
    for number, line in lines(path, limits):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = str(error) if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise ValueError(f"{path.name}:{number}: not JSON: {problem}") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path.name}:{number}: {type(value).__name__}, not an object")
        yield number, value


def parquet_rows(path: Path, limits: Limits) -> Iterator[Unchecked]:
    """A row at a time from dictionaries: a small file can hold one long text a million times."""
    try:
        schema = pq.read_schema(path)
        places = columns(schema.names, path.name)
        wanted = [schema.names[place] for place in places if place is not None]
        for name in wanted:
            check_type(schema.field(name), path.name)
        with pq.ParquetFile(path, memory_map=True, read_dictionary=wanted) as file:
            number = 1
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=wanted):
                yield from numbered_rows(batch, number, wanted)
                number += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path.name} is not readable Parquet: {first_line(error)}") from error


def check_type(field: pa.Field, file_name: str) -> None:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ValueError(
            f"{file_name}: column {field.name!r} is {field.type}, not strings; write it as text"
        )


def numbered_rows(batch: pa.RecordBatch, number: int, wanted: list[str]) -> Iterator[Unchecked]:
    absent = pa.nulls(len(batch))
    domains, groups = (batch.column(name) if name in wanted else absent for name in LABELS)
    cells = zip(batch.column(wanted[0]), domains, groups, strict=True)
    for offset, (text, domain, group) in enumerate(cells):
        yield number + offset, text.as_py(), domain.as_py(), group.as_py()


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
