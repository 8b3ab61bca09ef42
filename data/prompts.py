"""Documents from a file of a user's: txt, csv, jsonl or parquet.

- txt: one prompt a line, or what lies between lines of --- and blank lines, where there are any.
- csv, jsonl, parquet: one prompt a row, in a column or field `text` or `prompt`, with an optional
  `domain` and `group`. Rows without text are left out, which is noted.

Everything is UTF-8. What cannot be read is a ValueError that names file and line or row, cause and
remedy.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from data.groups import GroupDomains, Grouping, TextGroups
from data.inputs import require_file
from data.labels import LABELS, checked_label, look_alikes_in_words
from data.lines import DEFAULT_LIMITS, Limits, encodable
from data.prompt_parquet import parquet_rows
from data.prompt_rows import Notes, Unchecked, csv_rows, jsonl_rows, txt_rows
from data.routing import Document
from data.words import listed

NAMED = 5  # rows without text, in a note
READERS: dict[str, Callable[[Path, Limits, Notes], Iterator[Unchecked]]] = {
    ".txt": txt_rows,
    ".csv": csv_rows,
    ".jsonl": jsonl_rows,
    ".parquet": parquet_rows,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSummary:
    """A prompt file that was read to its end without an error."""

    documents: int
    skipped: int  # rows without text
    sha256: str  # of all texts, domains and given groups
    grouping: Grouping
    joined: Mapping[int, str]  # groups of the texts that are equal or nearly equal to another
    notes: tuple[str, ...]  # for its author: columns not used, labels alike, rows without text


@dataclass(frozen=True, slots=True)
class Prompts:
    """All of a small file."""

    documents: list[Document]
    notes: tuple[str, ...]


# Line or row number, text (None: has none), domain, group.
Row = tuple[int, str | None, str | None, str | None]


def read_documents(
    path: Path,
    limits: Limits = DEFAULT_LIMITS,
    *,
    joined: Mapping[int, str] = MappingProxyType({}),
    notes: Notes | None = None,
) -> Iterator[Document]:
    """The prompts of a file, numbered from 0; `joined` has groups of those that name none."""
    doc_id = 0
    for place, text, domain, group in rows(path, limits, {} if notes is None else notes):
        if text is not None:
            yield Document(
                doc_id=doc_id,
                text=text,
                domain=domain,
                group=joined.get(doc_id, group),
                origin=f"{path.name}:{place}",
            )
            doc_id += 1


def read_prompts(path: Path, limits: Limits) -> Prompts:
    notes: Notes = {}
    documents = list(read_documents(path, limits, notes=notes))
    if not documents:
        raise ValueError(f"{path.name} holds no prompts; write one a line or row")
    return Prompts(documents, tuple(notes))


def summarize_prompts(path: Path, limits: Limits = DEFAULT_LIMITS) -> PromptSummary:
    """Read the whole file, so that nothing has to be undone when its last line is bad."""
    digest, texts, notes = hashlib.sha256(), TextGroups(), Notes()
    documents = skipped = 0
    for _, text, domain, group in rows(path, limits, notes):
        if text is None:
            skipped += 1
            continue
        texts.add(documents, text, domain, group)
        documents += 1
        digest.update(
            json.dumps([text, domain] if group is None else [text, domain, group]).encode()
        )
    if documents == 0:
        raise ValueError(f"{path.name} holds no prompts; write one a line or row")
    joined, grouping = texts.groups()
    return PromptSummary(
        documents=documents,
        skipped=skipped,
        sha256=digest.hexdigest(),
        grouping=grouping,
        joined=joined,
        notes=tuple(notes),
    )


def rows(path: Path, limits: Limits, notes: Notes) -> Iterator[Row]:
    """Checked rows: the text is None where a row has none."""
    documents = characters = without = 0
    groups, domains, first_without = GroupDomains(), set[str](), list[int]()
    for place, unchecked, *labels in reader(path)(path, limits, notes):
        where = f"{path.name}:{place}"
        text = checked_text(unchecked, where, limits)
        domain, group = (
            checked_label(name, label, where) for name, label in zip(LABELS, labels, strict=True)
        )
        if text is not None:
            groups.check(group, domain, where)
            domains.update(filter(None, [domain]))
        yield place, text, domain, group
        if text is None:
            without += 1
            first_without += [place][: NAMED - len(first_without)]
            continue
        documents += 1
        characters += len(text)
        if documents > limits.documents or characters > limits.total_characters:
            raise ValueError(
                f"{where}: more than {limits.documents:,} prompts or "
                f"{limits.total_characters:,} characters; split the file"
            )
    notes |= dict.fromkeys(look_alikes_in_words(domains))
    if without:
        what = "row" if path.suffix.lower() == ".parquet" else "line"
        notes[_without_text(without, first_without, what)] = None


def _without_text(count: int, first: list[int], what: str) -> str:
    """How many rows have no text, and the first of them."""
    more = [f"{count - len(first):,} more"] if count > len(first) else []
    which = listed([f"{place:,}" for place in first] + more)
    if count == 1:
        return f"1 row has no text and was left out: {what} {which}"
    return f"{count:,} rows have no text and were left out: {what}s {which}"


def reader(path: Path) -> Callable[[Path, Limits, Notes], Iterator[Unchecked]]:
    require_file(path)
    if path.suffix.lower() not in READERS:
        raise ValueError(f"{path.name} is not one of {', '.join(READERS)}; save it as one of them")
    return READERS[path.suffix.lower()]


def checked_text(text: object, where: str, limits: Limits) -> str | None:
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    if not isinstance(text, str):
        raise ValueError(f"{where}: the text is {type(text).__name__}, not a string; quote it")
    if len(text) > limits.characters:
        raise ValueError(
            f"{where}: {len(text):,} characters, the limit is {limits.characters:,}; split it"
        )
    if "\0" in text:
        raise ValueError(f"{where}: a NUL byte; is this a text file? Remove it")
    if not encodable(text):
        raise ValueError(f"{where}: half a surrogate pair, which is no character; remove it")
    return text
