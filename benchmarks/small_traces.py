"""Traces that are small enough to be shipped: the openings of many texts, in a compact file."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from app.studies.demo import Row, draw
from app.studies.reader import HELDOUT, Tracer
from data.groups import Grouping
from data.routing import DOMAINS, Document, Finding
from data.store import TraceStore

TEXT_TOKENS = 48  # of each text, from its beginning: many groups, each with little
DOMAIN_TEXTS = 24
GROUP_TEXTS = 2
DIGITS = 4  # decimals of weights, entropies, margins and losses
BLOCK = 32_768  # bytes; DuckDB's own 262,144 leave much of a small file empty


def capture(tracer: Tracer, path: Path) -> int:
    documents = list(openings(tracer))
    groups = len({document.group for document in documents})
    description = tracer.description(
        path.stem,
        prompts={"file": HELDOUT.name, "tokens_per_text": TEXT_TOKENS},
        grouping=Grouping(source="corpus", documents=len(documents), groups=groups),
    )
    with TraceStore.create(path, description) as store:
        return tracer.capture(documents, store).tokens


def openings(tracer: Tracer) -> Iterator[Document]:
    """The first tokens of held-out texts, drawn as the demo draws whole ones."""
    rows = pq.read_table(HELDOUT).to_pylist()
    encoded = tracer.model.encode([row["text"] for row in rows])
    whole: list[Row] = [
        row | {"text": "".join(pieces[:TEXT_TOKENS])}
        for row, (_, pieces) in zip(rows, encoded, strict=True)
        if len(pieces) >= TEXT_TOKENS
    ]
    for domain in DOMAINS:
        drawn = draw(
            [row for row in whole if row["domain"] == domain],
            lambda text: TEXT_TOKENS,
            tokens=DOMAIN_TEXTS * TEXT_TOKENS,
            group_tokens=GROUP_TEXTS * TEXT_TOKENS,
        )
        for row in sorted(drawn, key=lambda row: row["doc_id"]):
            yield Document(
                doc_id=row["doc_id"],
                text=row["text"],
                domain=domain,
                group=row["group"],
                origin=f"{row['source']}/{row['sublabel']}",
            )


def compact(source: Path, target: Path) -> None:
    """A trace of its own: the same rows, numbers to DIGITS decimals, which a finding says."""
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{source}' AS source (READ_ONLY)")
        con.execute(f"ATTACH '{target}' AS target (BLOCK_SIZE {BLOCK})")
        con.execute("USE target")
        made = "SELECT table_name, sql FROM duckdb_tables() WHERE database_name = 'source'"
        for name, statement in con.execute(made).fetchall():
            con.execute(statement)
            con.execute(f"INSERT INTO {name} SELECT {rounded(con, name)} FROM source.{name}")
        con.execute("UPDATE trace SET trace_id = $1", [uuid.uuid4().hex])
        tokens = con.execute("SELECT count(*) FROM token").fetchall()[0][0]
        finding = Finding(
            kind="rounded",
            severity="note",
            occurrences=tokens,
            first_example="the first token",
            effect=f"Weights, entropies, margins and losses are rounded to {DIGITS} decimals, to "
            "keep the file small; counts are exact",
        )
        values = {name: getattr(finding, name) for name in Finding.__slots__}
        names = ", ".join(values)
        places = ", ".join(f"${name}" for name in values)
        con.execute(f"INSERT INTO finding ({names}) VALUES ({places})", values)
        con.execute("CHECKPOINT target")


def rounded(con: duckdb.DuckDBPyConnection, table: str) -> str:
    """The columns of a table, for a SELECT."""
    columns = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = 'source' AND table_name = $1 ORDER BY column_index",
        [table],
    ).fetchall()
    return ", ".join(
        f'round("{name}", {DIGITS})::{kind}' if kind in ("FLOAT", "DOUBLE") else f'"{name}"'
        for name, kind in columns
    )
