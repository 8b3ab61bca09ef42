"""A folder of our Parquet export: its manifest, and what the trace says of itself."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from data.exports.tables import FORMAT, MANIFEST, TABLES, sha256
from data.importers.parquet_rows import Table
from data.importers.source import DumpFile, Meter
from data.new_trace import TraceDescription
from data.routing import Document, Finding, LayerDescription
from data.strict_json import read_object
from data.trace_check import DEEPEST, nested_deeper
from data.trace_format import FORMAT_VERSION

LARGEST_MANIFEST = 1_000_000  # bytes
SAME_TABLES = (7, FORMAT_VERSION)  # exports of these look alike
AGAIN = "export the trace again"
CUT = ("documents", "tokens")


def is_manifest(head: bytes) -> bool:
    """By its first bytes."""
    return re.match(rb'\s*\{\s*"format": "%b"' % FORMAT.encode(), head) is not None


def belongs(path: Path) -> bool:
    """A table beside a manifest of ours."""
    manifest = path.with_name(MANIFEST)
    try:
        with manifest.open("rb") as file:
            return path.stem in TABLES and is_manifest(file.read(100))
    except OSError:
        return False


@dataclass(frozen=True)
class Export:
    """A folder. Each file is compared with its checksum before anything is read from it."""

    folder: Path
    name: str  # of the folder, in messages: empty, or ending in a slash
    files: dict[str, Any]

    @classmethod
    def of(cls, files: Sequence[DumpFile]) -> "Export":
        """ValueError: there is not one manifest, or it is not as an export leaves it."""
        found = [file for file in files if file.path.name == MANIFEST]
        if len(found) != 1:
            raise ValueError(
                f"{files[0].name}: {len(found)} {MANIFEST} in what was given; give the folder of "
                "one export, and merge traces with `routescope merge`"
            )
        [manifest] = found
        if manifest.size > LARGEST_MANIFEST:
            raise ValueError(f"{manifest.name} has {manifest.size:,} bytes; {AGAIN}")
        value = read_object(manifest.path, remedy=AGAIN)
        if value.get("format") != FORMAT:
            raise ValueError(f"{manifest.name}: its format is not {FORMAT!r}; {AGAIN}")
        version = value.get("format_version")
        if version not in SAME_TABLES or isinstance(version, bool):
            raise ValueError(
                f"{manifest.name}: format version {version!r:.80}, not {FORMAT_VERSION}; {AGAIN}"
            )
        named = value.get("files")
        if not isinstance(named, dict):
            raise ValueError(f"{manifest.name} names no files; {AGAIN}")
        prefix = manifest.name.removesuffix(MANIFEST)
        return cls(manifest.path.parent, prefix, named)

    def table(self, table: str) -> Table:
        """ValueError: it is missing, or not the file that was exported."""
        name = f"{table}.parquet"
        path = self.folder / name
        if not path.is_file():
            raise ValueError(f"{self.name}{name} is missing; {AGAIN}")
        said = self.files.get(name)
        expected = said.get("sha256") if isinstance(said, dict) else None
        if sha256(path) != expected:
            raise ValueError(
                f"{self.name}{name} is not the file that {self.name}{MANIFEST} describes (another "
                f"SHA-256): it is damaged or was changed; {AGAIN}"
            )
        return Table(path, f"{self.name}{name}", table)

    @cached_property
    def row(self) -> dict[str, Any]:
        """Of table trace, its config read."""
        table = self.table("trace")
        rows = table.whole().to_pylist()
        if len(rows) != 1:
            raise ValueError(f"{table.name} has {len(rows)} rows, not one; {AGAIN}")
        try:
            config = json.loads(rows[0]["config"])
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{table.name}: its config is not JSON; {AGAIN}") from error
        if not isinstance(config, dict) or nested_deeper(config, DEEPEST):
            raise ValueError(f"{table.name}: its config is no JSON object of a trace; {AGAIN}")
        return rows[0] | {"config": config}

    @cached_property
    def layers(self) -> tuple[LayerDescription, ...]:
        """First to last."""
        table = self.table("layer")
        names = [field.name for field in fields(LayerDescription)]
        rows = sorted(table.whole().to_pylist(), key=lambda row: row["layer_id"])
        if [row["layer_id"] for row in rows] != list(range(len(rows))) or not 1 <= len(
            rows
        ) <= 1024:
            raise ValueError(f"{table.name}: layers are not numbered from 0, once each; {AGAIN}")
        return tuple(LayerDescription(**{name: row[name] for name in names}) for row in rows)

    @cached_property
    def description(self) -> TraceDescription:
        """The trace that was exported. ValueError: no trace can be so."""
        row = self.row
        config = {name: value for name, value in row["config"].items() if name != "truncated"}
        names = ("name", "source", "model_name", "model_sha256", "tokenizer", "seed", "counts_only")
        given = {name: row[name] for name in names} | {"layers": self.layers, "config": config}
        try:
            return TraceDescription(**given)
        except ValueError as error:
            raise ValueError(f"{self.name}layer.parquet: {error}") from error

    @property
    def truncated(self) -> tuple[int, int]:
        """Documents and tokens that were cut."""
        counts = self.row["config"].get("truncated", {"documents": 0, "tokens": 0})
        both = [counts.get(name) if isinstance(counts, dict) else None for name in CUT]
        documents, tokens = both
        if not (_is_count(documents) and _is_count(tokens)):
            raise ValueError(
                f"{self.name}trace.parquet: config.truncated is {counts!r:.80}; {AGAIN}"
            )
        return int(documents or 0), int(tokens or 0)

    def findings(self) -> tuple[Finding, ...]:
        table = self.table("finding")
        if table.rows > 1_000:
            raise ValueError(f"{table.name} has {table.rows:,} rows, at most 1,000; {AGAIN}")
        try:
            return tuple(Finding(**row) for row in table.whole().to_pylist())
        except ValueError as error:
            raise ValueError(f"{table.name}: {error}") from error


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


class Documents:
    """Of the export, each handed out once. Those that tokens need come in about their order."""

    def __init__(self, export: Export, meter: Meter) -> None:
        self._table = export.table("document")
        self._rows = self._each(meter)
        self._passed: dict[int, Document] = {}
        self._cut_documents, self._cut_tokens = export.truncated

    def take(self, doc_id: int) -> Document:
        while doc_id not in self._passed:
            document = next(self._rows, None)
            if document is None:
                raise ValueError(
                    f"{self._table.name} has no document {doc_id} for its tokens, or these are not "
                    f"together in token.parquet; {AGAIN}"
                )
            if document.doc_id in self._passed:
                raise ValueError(
                    f"{self._table.name} has document {document.doc_id} twice; {AGAIN}"
                )
            self._passed[document.doc_id] = document
        return self._passed.pop(doc_id)

    def rest(self) -> list[Document]:
        return [*self._passed.values(), *self._rows]

    def _each(self, meter: Meter) -> Iterator[Document]:
        for batch in self._table.batches(meter):
            for row in batch.to_pylist():
                del row["sha256"]
                yield Document(**row, truncated_tokens=self._cut())

    def _cut(self) -> int:
        """A trace has the sums over its documents: so many of them are cut, the first for all."""
        if not self._cut_documents:
            return 0
        self._cut_documents -= 1
        cut = 1 if self._cut_documents < 0 else self._cut_tokens - self._cut_documents
        self._cut_tokens -= cut
        self._cut_documents = self._cut_documents if self._cut_tokens else 0
        return cut
