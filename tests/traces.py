"""A trace small enough to count by hand: two layers of four experts, two chosen a token.

| document | domain | tokens | layer 0 chooses | layer 1 chooses |
|---|---|---|---|---|
| 0 | math | "1", " +", " 1" | 0, 1 each | 0, 1 each |
| 1 | code | "x", " =", " 1" | 2, 1 each | 2, 3 each |
| 2 | none | "hi", then " x" generated | 0, 1 each | 0, 2 then 1, 3 |

So layer 0 has loads 5, 8, 3, 0 (expert 3 is dead) and layer 1 is balanced: 4, 4, 4, 4.
The first choice weighs 0.75 and the second 0.25, except the last token of document 1: 0.9 and 0.1.
"""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from data.trace_format import LONG
from data.trace_views import DECISIONS, GATE_SUMS, SIZES, Source, create_views

SCHEMA = Path(__file__).parents[1] / "data" / "schema.sql"

TOKENS = (  # doc_id, position, token_id, text, phase, loss
    (0, 0, 1, "1", 0, None),
    (0, 1, 2, " +", 0, 2.0),
    (0, 2, 3, " 1", 0, 1.0),
    (1, 0, 4, "x", 0, None),
    (1, 1, 5, " =", 0, 3.0),
    (1, 2, 3, " 1", 0, 1.0),
    (2, 0, 6, "hi", 0, None),
    (2, 1, 7, " x", 1, 4.0),
)
DOCUMENTS = (
    (0, "math", "1 + 1", "sums.txt:1", "0" * 64),
    (1, "code", "x = 1", "sums.txt:2", "1" * 64),
    (2, None, "hi x", "sums.txt:3", "2" * 64),
)
INSERT_DOCUMENT = (
    "INSERT INTO document (doc_id, domain, text, origin, sha256) VALUES (?, ?, ?, ?, ?)"
)
INSERT_TOKEN = "INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, NULL)"
CHOICES_TLK = np.array(
    [[[0, 1], [0, 1]]] * 3 + [[[2, 1], [2, 3]]] * 3 + [[[0, 1], [0, 2]], [[0, 1], [1, 3]]]
)

ROLLUPS = f"""
INSERT INTO decision BY NAME {DECISIONS.format("main")} ORDER BY doc_id, position, layer_id;
INSERT INTO document_size BY NAME {SIZES.format("main")};
INSERT INTO document_gate BY NAME {GATE_SUMS.format("main")};
INSERT INTO document_load
    SELECT doc_id, layer_id, expert_id, phase, count(*), sum(weight)
    FROM routing JOIN token USING (doc_id, position) GROUP BY ALL;
INSERT INTO document_k
    SELECT doc_id, layer_id, k, count(*)
    FROM (
        SELECT doc_id, position, layers.layer_id, count(routing.expert_id) AS k
        FROM token CROSS JOIN (SELECT DISTINCT layer_id FROM expert) AS layers
        LEFT JOIN routing USING (doc_id, position, layer_id)
        GROUP BY ALL
    )
    GROUP BY ALL;
INSERT INTO coactivation
    SELECT a.layer_id, a.expert_id, b.expert_id, count(*)
    FROM routing AS a JOIN routing AS b USING (doc_id, position, layer_id)
    WHERE a.expert_id < b.expert_id GROUP BY ALL;
INSERT INTO transition
    SELECT a.layer_id, a.expert_id, b.expert_id, count(*)
    FROM routing AS a JOIN routing AS b USING (doc_id, position)
    WHERE b.layer_id = a.layer_id + 1 GROUP BY ALL;
DROP TABLE routing;
DROP TABLE gate;
"""


def write_empty_trace(path: Path, *, num_layers: int = 2, num_experts: int = 4) -> None:
    """A trace of a model that has read nothing."""
    with duckdb.connect(str(path)) as con:
        con.execute(SCHEMA.read_text())
        con.execute(
            "INSERT INTO trace VALUES ('0123', 'tiny', 'routescope', 'toy', repeat('ab12', 16), "
            "'bytes', $1, $2, 1, 'softmax', 2, false, TIMESTAMP '2026-01-02 03:04:05', 7, "
            "'{\"seed\": 7}', 8)",
            [num_layers, num_experts],
        )
        con.execute(
            "INSERT INTO layer SELECT layer_id, concat('layers.', layer_id), $2, 1, 2, 'softmax', "
            "'scores', 'scores' FROM range($1) AS layers(layer_id)",
            [num_layers, num_experts],
        )
        experts = [(layer, expert) for layer in range(num_layers) for expert in range(num_experts)]
        con.executemany("INSERT INTO expert VALUES (?, ?)", experts)


def seen(path: Path) -> duckdb.DuckDBPyConnection:
    """As questions see it, and to be changed: its tables are `file.<table>`."""
    con = duckdb.connect()
    con.execute(f"ATTACH '{path}' AS file")
    version = con.execute("SELECT max(format_version) FROM file.trace").fetchall()[0][0]
    create_views(con, [Source("file.main", version)])
    return con


def make_long_tables(con: duckdb.DuckDBPyConnection) -> None:
    """A row a choice and a row a gate, until ROLLUPS makes lists of them."""
    for statement in LONG:
        con.execute(statement)


def write_tiny_trace(path: Path, *, num_experts: int = 4) -> None:
    write_empty_trace(path, num_experts=num_experts)
    with duckdb.connect(str(path)) as con:
        make_long_tables(con)
        con.executemany(INSERT_DOCUMENT, DOCUMENTS)
        con.executemany(INSERT_TOKEN, TOKENS)
        for (doc_id, position, *_), chosen_LK in zip(TOKENS, CHOICES_TLK, strict=True):
            weights = (0.9, 0.1) if (doc_id, position) == (1, 2) else (0.75, 0.25)
            for layer_id, chosen_K in enumerate(chosen_LK):
                con.execute(
                    "INSERT INTO gate VALUES ($1, $2, $3, $4, 0.5)",
                    [doc_id, position, layer_id, 1.0 / (1 + layer_id)],
                )
                for rank, expert_id in enumerate(chosen_K):
                    con.execute(
                        "INSERT INTO routing VALUES ($1, $2, $3, $4, $5, $6)",
                        [doc_id, position, layer_id, rank, int(expert_id), weights[rank]],
                    )
        con.execute(ROLLUPS)


def write_choices(
    path: Path, ids_TLK: np.ndarray, document_T: np.ndarray, **options: object
) -> None:
    """A trace of those choices, -1 where a token made none; a document's domain is a or b by turns.

    num_experts; labels=False leaves out domains, ids_only=True weights and gates.
    """
    num_experts = int(str(options.get("num_experts", 4)))
    weight = float("nan") if options.get("ids_only") else 1 / ids_TLK.shape[2]
    write_empty_trace(path, num_layers=ids_TLK.shape[1], num_experts=num_experts)
    rows = [
        (int(doc_id), place, layer, rank, int(expert), weight)
        for place, doc_id in enumerate(document_T)
        for layer, ids_K in enumerate(ids_TLK[place])
        for rank, expert in enumerate(ids_K[ids_K >= 0])
    ]
    k_T = (ids_TLK >= 0).sum(-1)
    top_k = int(k_T.max()) if len(np.unique(k_T[k_T > 0])) == 1 else None
    with duckdb.connect(str(path)) as con:
        make_long_tables(con)
        con.execute("UPDATE trace SET top_k = $1, trace_id = $2", [top_k, path.stem])
        con.execute("UPDATE layer SET top_k = $1", [top_k])
        for doc_id in np.unique(document_T).tolist():
            domain = "ab"[doc_id % 2] if options.get("labels", True) else None
            row = [doc_id, domain, f"text {doc_id}", "t:1", f"{doc_id:064d}"]
            con.execute(INSERT_DOCUMENT, row)
        named = [(int(doc), t, t % 3, f"w{t % 3}", 0) for t, doc in enumerate(document_T)]
        con.register("named", pa.table([*zip(*named, strict=True)], list("abcde")))
        con.execute("INSERT INTO token SELECT *, NULL, NULL FROM named")
        if rows:  # row by row takes a thousand times as long
            con.register("chosen", pa.table([*zip(*rows, strict=True)], list("abcdef")))
            con.execute("INSERT INTO routing FROM chosen")
        if not options.get("ids_only"):
            con.execute(
                "INSERT INTO gate SELECT DISTINCT doc_id, position, layer_id, 1, 1 FROM routing"
            )
        con.execute(ROLLUPS)
