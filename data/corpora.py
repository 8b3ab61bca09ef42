"""Builds the domain-labelled corpus: fetch packages, extract parts, drop copies, split, publish."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.duplicates import Duplicates
from data.outputs import require_unfinished
from data.routing import DOMAINS
from data.sources.catalogue import SOURCES
from data.sources.packages import PackageCache, PackageError
from data.sources.source import Folders, Source, Text
from data.sources.text import clean, paragraph_cut

SPLITS = ("train", "heldout")
MIN_DOCUMENT_BYTES = 200
MAX_DOCUMENT_BYTES = 200_000  # outside `long`, whose documents stay whole
MIN_DOMAIN_MEGABYTES = 20.0  # of training text
# Documents held out of every 1,000: more where documents are few, so that each domain has hundreds.
HELD_OUT_PERMILLE = {
    "math": 25, "code": 30, "multilingual": 25, "commonsense": 45, "long": 80, "other": 30,
}  # fmt: skip
ROWS_PER_GROUP = 2000
SCHEMA = pa.schema(
    {
        "doc_id": pa.int64(),
        "domain": pa.string(),
        "sublabel": pa.string(),
        "source": pa.string(),
        "group": pa.string(),
        "licence": pa.string(),
        "text": pa.string(),
    }
)


@dataclass(slots=True)
class Tally:
    """Documents and bytes of text by source and split."""

    documents: Counter[tuple[str, str]] = field(default_factory=Counter)
    text_bytes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, name: str, split: str, size: int) -> None:
        self.documents[name, split] += 1
        self.text_bytes[name, split] += size

    def of_domains(self, sources: Iterable[Source], split: str) -> dict[str, int]:
        """Bytes of text of every domain."""
        totals = dict.fromkeys(DOMAINS, 0)
        for source in sources:
            totals[source.domain] += self.text_bytes[source.name, split]
        return totals


def split_of(domain: str, text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    held_out = int.from_bytes(digest, "big") % 1000 < HELD_OUT_PERMILLE[domain]
    return "heldout" if held_out else "train"


def documents(source: Source, folders: Folders) -> Iterator[Text]:
    """Clean documents of a source, without near-duplicates, up to its caps."""
    duplicates = Duplicates()
    by_sublabel: Counter[str] = Counter()
    for raw in source.read(folders):
        text = clean(raw.text)
        if source.domain != "long":
            text = paragraph_cut(text, MAX_DOCUMENT_BYTES)
        size = len(text.encode())
        if size < MIN_DOCUMENT_BYTES or not duplicates.admit(text, generated=source.generated):
            continue
        if by_sublabel[raw.sublabel] + size > source.megabytes_per_sublabel * 1e6:
            continue
        by_sublabel[raw.sublabel] += size
        yield Text(raw.sublabel, text, raw.group)
        if by_sublabel.total() >= source.megabytes * 1e6:
            return


def write_part(source: Source, folders: Folders, path: Path) -> None:
    """Writes the documents of a source as JSON lines; the file appears only when complete."""
    partial = path.with_suffix(".partial")
    require_unfinished(partial)
    with partial.open("w", encoding="utf-8") as file:
        for document in documents(source, folders):
            file.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")
    if partial.stat().st_size == 0:
        partial.unlink()
        raise PackageError("its packages hold no usable text")
    os.replace(partial, path)


def read_part(path: Path) -> Iterator[Text]:
    with path.open(encoding="utf-8") as file:
        for line in map(json.loads, file):
            if "group" not in line:
                raise ValueError(f"{path} says no groups; delete {path.parent} and build again")
            yield Text(**line)


def part_path(out: Path, source: Source) -> Path:
    return out / "parts" / f"{source.name}.jsonl"


def build_parts(
    out: Path, sources: Iterable[Source], on_done: Callable[[str], None]
) -> dict[str, BaseException]:
    """Builds the missing parts with two processes; returns why a source failed, by its name."""
    cache = PackageCache(out / "packages")
    (out / "parts").mkdir(parents=True, exist_ok=True)
    failures: dict[str, BaseException] = {}
    running: dict[Future[None], str] = {}
    with ProcessPoolExecutor(max_workers=2) as pool:
        for source in sources:
            if part_path(out, source).exists():
                on_done(source.name)
                continue
            try:  # one after another: sources share packages
                folders = {package.name: cache.unpacked(package) for package in source.packages}
            except PackageError as error:
                failures[source.name] = error
                on_done(source.name)
            else:
                running[pool.submit(_build_part, source.name, folders, out)] = source.name
        for future in as_completed(running):
            if reason := future.exception():
                failures[running[future]] = reason
            on_done(running[future])
    return failures


def _build_part(name: str, folders: Folders, out: Path) -> None:
    """Runs in another process: a reader cannot be sent there, so the source goes by its name."""
    source = next(source for source in SOURCES if source.name == name)
    write_part(source, folders, part_path(out, source))


def assemble(out: Path, sources: Iterable[Source]) -> Tally:
    """Joins the parts into train.parquet and heldout.parquet, without copies between sources."""
    duplicates, tally = Duplicates(), Tally()
    rows: dict[str, list[dict[str, object]]] = defaultdict(list)
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(_writer(out / f"{split}.parquet")) for split in SPLITS
        }
        for source in sources:
            if not part_path(out, source).exists():
                continue
            for document in read_part(part_path(out, source)):
                if not duplicates.admit(document.text, generated=source.generated):
                    continue
                split = split_of(source.domain, document.text)
                rows[split].append(_row(source, document, tally.documents.total()))
                tally.add(source.name, split, len(document.text.encode()))
                if len(rows[split]) == ROWS_PER_GROUP:
                    writers[split].write_table(pa.Table.from_pylist(rows.pop(split), SCHEMA))
        for split, rest in rows.items():
            writers[split].write_table(pa.Table.from_pylist(rest, SCHEMA))
    return tally


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, SCHEMA, compression="zstd")


def _row(source: Source, document: Text, doc_id: int) -> dict[str, object]:
    return {
        "doc_id": doc_id,
        "domain": source.domain,
        "sublabel": document.sublabel,
        "source": source.name,
        "group": source.group_of(document),
        "licence": source.licence,
        "text": document.text,
    }


def check_floor(train_bytes: Mapping[str, int]) -> None:
    for domain in DOMAINS:
        megabytes = train_bytes[domain] / 1e6
        if megabytes < MIN_DOMAIN_MEGABYTES:
            raise ValueError(
                f"domain {domain}: found {megabytes:.1f} MB of training text, wanted"
                f" {MIN_DOMAIN_MEGABYTES:.0f} MB; mend the sources named above"
                " and build again: finished ones are kept"
            )


def write_documents(path: Path, rows: Iterable[dict[str, object]]) -> None:
    """A parquet file of documents, small enough to hold at once."""
    table = pa.Table.from_pylist(list(rows), SCHEMA)
    pq.write_table(table, path, compression="zstd", compression_level=19)


def read_documents(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a parquet file of documents, streamed."""
    for batch in pq.ParquetFile(path).iter_batches(batch_size=500):
        yield from batch.to_pylist()


def sample_texts(path: Path, *, megabytes_per_domain: float) -> Iterator[str]:
    """Texts from every domain in equal amounts, spread over the whole file."""
    totals: Counter[str] = Counter()
    for row in read_documents(path):
        totals[row["domain"]] += len(row["text"].encode())
    every = {
        domain: max(1.0, total / (megabytes_per_domain * 1e6)) for domain, total in totals.items()
    }
    seen: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for row in read_documents(path):
        domain, size = row["domain"], len(row["text"].encode())
        seen[domain] += size
        if taken[domain] * every[domain] <= seen[domain]:
            taken[domain] += size
            yield row["text"]
