"""Ways to spoil a trace: turned bits, and contents that do not fit, by SQL."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np

from data.new_trace import TraceDescription
from data.routing import NO_EXPERT, Document, LayerDescription, RoutingBatch
from data.store import TraceStore
from data.trace_format import ADDED

Rng = np.random.Generator
HUGE = "repeat('x', 17000000)"  # of one row: a text beyond what is read
TEXTS = (
    "''",
    "repeat('x', 20000)",
    HUGE,
    "chr(0) || 'a'",
    "'\n\t\r'",
    "'=1+1'",
    "'<script>alert(1)</script>'",
    "chr(8238) || 'abc'",
    "'![a](http://evil.test/b.png)'",
    "'none'",
    "'unlabelled'",
    "'日本語'",
    "'$x$ :red[a]'",
    "' '",
    "NULL",
)
CONFIGS = (
    "[]",
    "5",
    "null",
    '"text"',
    "{}",
    '{"capture": 5}',
    '{"capture": {"groups": 5}}',
    '{"capture": {"groups": {"from": 5, "documents": 1, "groups": 1, "joined": 0}}}',
    '{"capture": {"groups": {"from": "column"}}}',
    '{"model": [1]}',
    '{"truncated": "no"}',
    '{"truncated": {"documents": -1, "tokens": 1e400}}',
    '{"capture": {"prompts": []}}',
    '{"merged": 7}',
    '{"a": ' + "[" * 900 + "]" * 900 + "}",
    '{"versions": {"python": {}}}',
    '{"capture": {"groups": {"from": "x", "documents": 1, "groups": 0, "joined": 9}, '
    '"prompts": {}}}',
    '{"capture": {"groups": {"from": "corpus", "documents": -1, "groups": 0, '
    '"joined": 99999999999999999999}, "prompts": {}}}',
)
OBJECTS = (
    "CREATE VIEW extra AS SELECT * FROM read_text('/etc/hostname')",
    "CREATE MACRO sum(x) AS 42",
    "CREATE MACRO count(x) AS 42",
    'CREATE MACRO "+"(a, b) AS 7',
    "CREATE MACRO duckdb_tables() AS TABLE SELECT 1",
    "CREATE SEQUENCE extra",
    "CREATE TYPE extra AS ENUM ('a')",
    "CREATE SCHEMA extra",
    "CREATE TABLE extra (a INT)",
    "CREATE INDEX extra ON token (doc_id)",
    "CREATE TABLE extra (a INT, b INT AS (a + 1))",
)
NUMBERS = ("0", "1", "2", "7", "8", "9", "255", "65535", "4294967295", "1e18::UBIGINT", "-1")
FLOATS = ("'nan'::FLOAT", "'inf'::FLOAT", "'-inf'::FLOAT", "-1", "3e38", "1e-40", "NULL", "0")
TIMES = ("'infinity'", "'-infinity'", "'0001-01-01'", "'200000-01-01'", "'2000-01-01'")


def write_bases(folder: Path) -> list[Path]:
    """Sound traces: top 2 of 8, a number that varies, dropped choices, an older format."""
    folder.mkdir(parents=True)
    bases = [folder / f"{name}.duckdb" for name in ("plain", "varying", "dropped", "older")]
    for path in bases:
        _write(path)
    with duckdb.connect(str(bases[-1])) as con:
        for statement in (*ADDED[6], *ADDED[5]):
            con.execute(statement)
        con.execute("UPDATE trace SET format_version = 4")
    return bases


def _write(path: Path) -> None:
    rng = np.random.default_rng(0)
    varies = path.stem in ("varying", "dropped")
    description = TraceDescription(
        name=path.stem,
        source="routescope",
        model_name="toy",
        model_sha256="0" * 64,
        tokenizer="bytes",
        layers=tuple(
            LayerDescription(
                name=f"layers.{number}",
                num_experts=8,
                num_shared_experts=1,
                top_k=None if varies else 2,
                scoring="softmax",
                weighting="scores",
                selection="scores",
            )
            for number in range(2)
        ),
        seed=None,
        config={"model": {}, "capture": {"prompts": {"sha256": "ab"}}},
    )
    with TraceStore.create(path, description) as store:
        for doc_id in range(24):
            store.write(_batch(doc_id, rng, kind=path.stem))


def _batch(doc_id: int, rng: Rng, *, kind: str) -> RoutingBatch:
    tokens = 12
    ids_TLK = rng.random((tokens, 2, 8)).argsort(-1)[..., :2].astype(np.int16)
    dropped_TLK = np.full_like(ids_TLK, NO_EXPERT)
    if kind in ("varying", "dropped"):
        if kind == "dropped":
            dropped_TLK[::3, :, -1] = ids_TLK[::3, :, -1]
        ids_TLK[::3, :, -1] = NO_EXPERT
    words = [f"w{token % 5} " for token in range(tokens)]
    return RoutingBatch(
        doc_id_T=np.full(tokens, doc_id, np.uint32),
        position_T=np.arange(tokens, dtype=np.uint32),
        token_id_T=np.arange(tokens, dtype=np.uint32) % 5,
        phase_T=(np.arange(tokens) > 8).astype(np.uint8),
        loss_T=rng.random(tokens).astype(np.float32),
        token_text_T=words,
        expert_ids_TLK=ids_TLK,
        weights_TLK=rng.random(ids_TLK.shape).astype(np.float32),
        entropy_TL=rng.random((tokens, 2)).astype(np.float32),
        margin_TL=rng.random((tokens, 2)).astype(np.float32),
        dropped_ids_TLK=dropped_TLK if kind == "dropped" else None,
        documents=(
            Document(
                doc_id=doc_id,
                text="".join(words) + str(doc_id),
                origin=f"a:{doc_id}",
                domain="math" if doc_id % 2 else "code",
            ),
        ),
    )


def mutate(bases: list[Path], path: Path, rng: Rng) -> str:
    """A spoiled copy of one of the bases at `path`, and in words what was done."""
    base = bases[rng.integers(len(bases))]
    path.write_bytes(base.read_bytes())
    if rng.random() < 0.4:
        return f"{base.stem}: {_damage(path, rng)}"
    done = []
    with duckdb.connect(str(path)) as con:
        for _ in range(rng.integers(1, 4)):
            statement = _statement(con, rng)
            try:
                con.execute(statement)
            except duckdb.Error:  # this one cannot be: the next one may
                continue
            done.append(statement[:120])
    return f"{base.stem}: {'; '.join(done)}"


def _damage(path: Path, rng: Rng) -> str:
    data = bytearray(path.read_bytes())
    kind = rng.integers(4)
    if kind == 0:
        keep = int(rng.integers(len(data)))
        path.write_bytes(data[:keep])
        return f"cut to {keep} bytes"
    if kind == 1:
        begin = int(rng.integers(len(data)))
        data[begin : begin + 4096] = bytes(len(data[begin : begin + 4096]))
        path.write_bytes(data)
        return f"zeros from {begin}"
    within = len(data) if kind == 2 else min(len(data), 12_288)  # kind 3: the headers
    places = rng.integers(within, size=rng.integers(1, 9))
    for place in places.tolist():
        data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    return f"bits turned at {places.tolist()}"


def _statement(con: duckdb.DuckDBPyConnection, rng: Rng) -> str:
    columns = con.execute(
        "SELECT table_name, column_name, data_type FROM system.main.duckdb_columns() "
        "WHERE NOT internal ORDER BY ALL"
    ).fetchall()
    table, column, kind = columns[rng.integers(len(columns))]
    changes: tuple[Callable[..., str], ...] = (
        _update,
        _update,
        _update,
        _update,
        _rows,
        _rows,
        _schema,
        _schema,
        _whole,
    )
    return changes[rng.integers(len(changes))](table, column, kind, rng)


def _pick(options: tuple[str, ...], rng: Rng) -> str:
    return options[rng.integers(len(options))]


def _where(table: str, rng: Rng) -> str:
    if table == "trace":  # its only row
        return ""
    return _pick(
        ("", f" WHERE rowid = {rng.integers(40)}", f" WHERE rowid % 7 = {rng.integers(7)}"), rng
    )


def _update(table: str, column: str, kind: str, rng: Rng) -> str:
    options = {"VARCHAR": TEXTS, "FLOAT": FLOATS, "DOUBLE": FLOATS, "TIMESTAMP": TIMES}
    if kind == "JSON":
        value = f"'{_pick(CONFIGS, rng)}'"
    else:
        value = _pick(options.get(kind, (*NUMBERS, f'"{column}" + 1', f"{rng.integers(30)}")), rng)
    where = " WHERE rowid = 0" if value == HUGE else _where(table, rng)
    return f'UPDATE "{table}" SET "{column}" = {value}{where}'


def _rows(table: str, column: str, kind: str, rng: Rng) -> str:
    return _pick(
        (
            f'DELETE FROM "{table}"{_where(table, rng)}',
            f'INSERT INTO "{table}" FROM "{table}"{_where(table, rng)}',
        ),
        rng,
    )


def _schema(table: str, column: str, kind: str, rng: Rng) -> str:
    return _pick(
        (
            f'DROP TABLE "{table}"',
            f'ALTER TABLE "{table}" RENAME TO other',
            f'ALTER TABLE "{table}" DROP COLUMN "{column}"',
            f'ALTER TABLE "{table}" ADD COLUMN extra INT',
            f'ALTER TABLE "{table}" ALTER COLUMN "{column}" TYPE VARCHAR',
            f'ALTER TABLE "{table}" ALTER COLUMN "{column}" DROP NOT NULL',
            f'CREATE TABLE held AS FROM "{table}"; DROP TABLE "{table}"; '
            f'CREATE VIEW "{table}" AS FROM held',
            *OBJECTS,
        ),
        rng,
    )


def _whole(table: str, column: str, kind: str, rng: Rng) -> str:
    """Changes that leave a sound trace, or one whose sums agree."""
    every = (
        "document",
        "token",
        "routing",
        "gate",
        "dropped",
        "document_load",
        "document_k",
        "document_dropped",
    )
    moved = "; ".join(f"UPDATE {name} SET doc_id = doc_id + 4294967000" for name in every)
    return _pick(
        (
            moved,
            "UPDATE document SET domain = NULL",
            "UPDATE document SET domain = 'd' || doc_id",
            "UPDATE document SET domain = repeat('é', doc_id)",
            "UPDATE routing SET weight = 'nan'; UPDATE document_load SET weight_sum = 'nan'",
            "UPDATE routing SET weight = 0; UPDATE document_load SET weight_sum = 0",
            "UPDATE routing SET weight = 3e38; UPDATE document_load SET weight_sum = 3e38 * tokens",
            "UPDATE token SET loss = NULL; UPDATE gate SET entropy = NULL, margin = NULL",
            "DELETE FROM gate",
            "; ".join(f"DELETE FROM {name}" for name in (*every, "coactivation", "transition")),
            "; ".join(f"DELETE FROM {name} WHERE doc_id > 0" for name in every)
            + "; DELETE FROM coactivation; DELETE FROM transition",
            "INSERT INTO finding (kind, severity, occurrences, first_example, effect) "
            "VALUES ('non-finite', 'warning', 3, 'layer 1', 'x'); "
            "UPDATE routing SET weight = 'inf' WHERE rowid = 3",
            "INSERT INTO finding VALUES "
            "('x', 'odd', 18446744073709551615, '<b>', '![a](b)', '', '')",
        ),
        rng,
    )
