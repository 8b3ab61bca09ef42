"""A recording: a trace without what makes it large, compressed, to be shipped with its model.

It keeps texts, tokens, losses and the experts of every decision. Weights, entropies and margins
are unknown, as in a trace of a source that gives ids only.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from data.connection import connect, quoted, reader_of
from data.strict_json import json_text
from data.trace_check import SCHEMA
from data.trace_format import format_version
from data.trace_views import Source, create_views

KEY = "recording"  # in the config of a recording, and of a capture that was held against one
LEVEL = 19  # of zstd: it is packed once
BLOCK = 1 << 20  # bytes that are unpacked at once
BY_DECISION = "doc_id, position, layer_id"
KEPT = {  # tables that are not empty: what of them, and in which order
    "trace": "*",
    "layer": "* FROM source.layer ORDER BY layer_id",
    "expert": "* FROM source.expert ORDER BY ALL",
    "document": "* FROM source.document ORDER BY doc_id",
    "token": "* FROM source.token ORDER BY doc_id, position",
    "decision": "* REPLACE (NULL AS weights, NULL AS entropy, NULL AS margin) "
    f"FROM source.decision ORDER BY {BY_DECISION}",
    "finding": "* FROM source.finding",
    "document_load": "* REPLACE ('NaN'::DOUBLE AS weight_sum) FROM source.document_load "
    "ORDER BY ALL",
    "document_size": "* FROM source.document_size ORDER BY ALL",
    "document_k": "* FROM source.document_k ORDER BY ALL",
    "coactivation": "* FROM source.coactivation ORDER BY ALL",
    "transition": "* FROM source.transition ORDER BY ALL",
}
DIFFERENT = f"""
SELECT count(*) FILTER (one.expert_ids IS DISTINCT FROM other.expert_ids), count(*)
FROM one.decision AS one FULL JOIN other.decision AS other USING ({BY_DECISION})
"""


def pack(trace: Path, recording: Path) -> None:
    """The trace stays as it is. Its recording has its id: what lies beside one belongs to both."""
    with tempfile.TemporaryDirectory(prefix=".recording.", dir=recording.parent) as folder:
        file = Path(folder) / "trace.duckdb"
        with connect(file, read_only=False, attachable=[trace]) as con:
            con.execute(SCHEMA.read_text(encoding="utf-8"))
            con.execute(f"ATTACH {quoted(trace)} AS source (READ_ONLY)")
            for table, rows in KEPT.items():
                rows = f"{rows} FROM source.{table}" if rows == "*" else rows
                con.execute(f"INSERT INTO {table} BY NAME SELECT {rows}")
            con.execute("CHECKPOINT")
        mark(file, {})
        packed = Path(folder) / recording.name
        packed.write_bytes(pa.Codec("zstd", LEVEL).compress(file.read_bytes()).to_pybytes())
        os.replace(packed, recording)


def unpack(recording: Path, trace: Path) -> None:
    with pa.input_stream(str(recording), compression="zstd") as packed, trace.open("xb") as file:
        shutil.copyfileobj(packed, file, BLOCK)


def opened(unpacked: Path) -> duckdb.DuckDBPyConnection:
    """As `open_trace` gives it, without looking at its rows: whoever shows it does that."""
    connection = connect(unpacked, read_only=True)
    create_views(connection, [Source("file.main", format_version(connection))])
    connection.execute("USE memory")
    return connection


def mark(trace: Path, told: Mapping[str, object], *, trace_id: str | None = None) -> None:
    """Say in the config of a trace that nobody has seen yet what it has to do with a recording.
    `trace_id`: its own from now on."""
    with connect(trace, read_only=False) as con:
        config, own_id = con.execute("SELECT config, trace_id FROM trace").fetchall()[0]
        marked = json_text(json.loads(config) | {KEY: dict(told)})
        con.execute("UPDATE trace SET config = $1, trace_id = $2", [marked, trace_id or own_id])
        con.execute("CHECKPOINT")


def different_decisions(one: Path, other: Path) -> tuple[int, int]:
    """Decisions for other experts, or in another order, or that only one of two traces has; and
    how many there are."""
    with reader_of([one, other]) as con:
        for name, path in (("one", one), ("other", other)):
            con.execute(f"ATTACH {quoted(path)} AS {name} (READ_ONLY)")
        different, decisions = con.execute(DIFFERENT).fetchall()[0]
    return int(different), int(decisions)
