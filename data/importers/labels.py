"""What a user adds to the documents of a dump: texts, domains and groups of the prompts that were
sent, or a domain by where a document came from."""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from data.groups import Grouping
from data.importers.checks.findings import finding
from data.importers.source import Options
from data.inputs import require_file
from data.labels import checked_label
from data.lines import json_objects, lines
from data.prompts import PromptSummary, read_documents, summarize_prompts
from data.routing import Document, Finding

PLACE = re.compile(r":(\d+)( id=\S+)?$")  # how origins end: line or record, and a request's id
OWN_ID = re.compile(r" id=(\S+)$")
ID_NAMES = ("id", "custom_id", "request_id")


def file_of(origin: str) -> PurePosixPath:
    """The file that a document came from, as it is named below the folder given."""
    return PurePosixPath(PLACE.sub("", origin))


def id_of(document: Document) -> str | None:
    """Of the request, where its source names it."""
    match = OWN_ID.search(document.origin)
    return match[1] if match else None


class Labels:
    """What the options say of each document."""

    def __init__(self, options: Options) -> None:
        """ValueError: a file of them cannot be read, or both say the domain."""
        self.source = options.domain_from
        self.summary: PromptSummary | None = None
        self._prompts: list[Document] = []
        self._by_id: dict[str, Document] = {}
        self._domains: dict[str, str | None] = {}
        self._unjoined, self._joined, self._first_unjoined = 0, 0, ""
        if options.prompts is not None:
            self._read_prompts(options.prompts)
        if self.source not in (None, "origin", "folder"):
            self._domains = dict(_domain_rows(Path(str(self.source))))

    @property
    def grouping(self) -> Grouping | None:
        return self.summary.grouping if self.summary else None

    def _read_prompts(self, path: Path) -> None:
        require_file(path, what="prompt file")
        self.summary = summarize_prompts(path)
        self._prompts = list(read_documents(path, joined=self.summary.joined))
        ids = list(_ids(path))
        if len(ids) == len(self._prompts) and all(ids):
            if len(set(ids)) < len(ids):
                raise ValueError(f"{path.name}: several prompts have the id {_repeated(ids)!r:.80}")
            self._by_id = dict(zip(ids, self._prompts, strict=True))

    def labelled(self, document: Document) -> Document:
        document = self._with_prompt(document)
        if self.source is None:
            return document
        file = file_of(document.origin)
        if self.source == "origin":
            label: str | None = file.stem
        elif self.source == "folder":
            label = file.parent.name or None
        else:
            label = self._domain_of(document, file)
        return replace(document, domain=checked_label("domain", label, document.origin))

    def _domain_of(self, document: Document, file: PurePosixPath) -> str | None:
        for name in (id_of(document), file.as_posix(), file.name, file.stem):
            if name is not None and name in self._domains:
                return self._domains[name]
        self._leave(document)
        return None

    def _with_prompt(self, document: Document) -> Document:
        if self.summary is None:
            return document
        prompt = None
        if self._by_id and (own := id_of(document)) is not None:
            prompt = self._by_id.get(own)
        elif document.doc_id < len(self._prompts):
            prompt = self._prompts[document.doc_id]
        if prompt is None:
            self._leave(document)
            return document
        self._joined += 1
        return replace(
            document,
            text=document.text if prompt.text in document.text else prompt.text + document.text,
            domain=prompt.domain,
            group=prompt.group,
        )

    def _leave(self, document: Document) -> None:
        self._unjoined += 1
        self._first_unjoined = self._first_unjoined or document.origin

    def findings(self) -> list[Finding]:
        """After the last document."""
        left = max(0, len(self._prompts) - self._joined)
        if not left and not self._unjoined:
            return []
        first = self._first_unjoined or f"{left} prompts have no routing"
        return [finding("prompts-left", left + self._unjoined, first)]


def _ids(path: Path) -> Iterator[str]:
    """Of prompts that have text, in their order; none where the file has no column for it."""
    texts = ("text", "prompt")
    for record in _records(path):
        names = {name.strip().casefold(): name for name in record if isinstance(name, str)}
        name = next((names[one] for one in ID_NAMES if one in names), None)
        if name is None:
            return
        text = next((record[names[one]] for one in texts if one in names), None)
        if isinstance(text, str) and text.strip():
            yield str(record[name] if record[name] is not None else "")


def _records(path: Path) -> Iterator[dict[str, object]]:
    if path.suffix == ".jsonl":
        yield from (record for _, record in json_objects(path))
    elif path.suffix == ".csv":
        rows = csv.DictReader(line for _, line in lines(path))
        yield from ({**row} for row in rows)
    elif path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            wanted = {*ID_NAMES, "text", "prompt"}
            columns = [name for name in file.schema_arrow.names if name.casefold() in wanted]
            for batch in file.iter_batches(columns=columns):
                yield from batch.to_pylist()


def _repeated(ids: list[str]) -> str:
    return next(one for one in ids if ids.count(one) > 1)


def _domain_rows(path: Path) -> Iterator[tuple[str, str | None]]:
    """Rows of a CSV file: the name of a file, or the id of a request, and a domain."""
    require_file(path, what="file of domains")
    for number, row in enumerate(csv.reader(line for _, line in lines(path)), start=1):
        if len(row) != 2:
            raise ValueError(
                f"{path.name}:{number}: {len(row)} fields; a row is the name of a file or request "
                "and its domain"
            )
        yield row[0].strip(), checked_label("domain", row[1], f"{path.name}:{number}")
