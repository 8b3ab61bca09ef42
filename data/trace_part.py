"""A part of a trace as a trace of its own: some of its texts, or one phase of their tokens.

Views over the views of data/trace_views.py, so that every question can be asked of a part. Sums by
text are read where they hold for the part; pairs of experts are counted anew, from single choices.
"""

import duckdb
import numpy as np

from data.routing import PHASES
from data.trace_views import GATE_SUMS, MEMORY, SIZES

WHOLE = f"{MEMORY}.whole_"
OF_DOCUMENTS = ("document", "document_load", "document_size", "document_gate", "document_k")
OF_TOKENS = ("token", "decision", "routing", "choice", "choice_list", "gate")
OF_DROPPED = ("dropped", "dropped_in_order", "document_dropped")
PAIRS = {"coactivation": ("expert_a", "expert_b"), "transition": ("expert_id", "next_expert_id")}
OF_PHASE = {  # sums that do not tell the phases apart
    "document_size": SIZES.format(MEMORY),
    "document_gate": GATE_SUMS.format(MEMORY),
    "document_dropped": f"""
SELECT doc_id, layer_id, expert_id, count(*)::UINTEGER AS tokens
FROM {MEMORY}.dropped
GROUP BY ALL
""",
    "document_k": f"""
SELECT doc_id, layer_id, len(list_filter(expert_ids, lambda one: one IS NOT NULL))::USMALLINT AS k,
       count(*)::UINTEGER AS tokens
FROM {MEMORY}.decision
GROUP BY ALL
""",
}
CHOSEN = """
SELECT here.layer_id, here.expert_id AS {0}, there.expert_id AS {1}, count(*)::UBIGINT AS tokens
FROM {2}.choice AS here
JOIN {2}.choice AS there USING (doc_id, position)
WHERE {3}
GROUP BY ALL
"""
TOGETHER = {
    "coactivation": "there.layer_id = here.layer_id AND here.expert_id < there.expert_id",
    "transition": "there.layer_id = here.layer_id + 1",
}


def restrict(
    con: duckdb.DuckDBPyConnection, *, name: str, doc_ids: np.ndarray, phase: str | None = None
) -> None:
    """Of the texts given, and of one phase of their tokens where one is given. `con` sees the whole
    trace and nothing else uses it; `name` tells the part from others of its trace."""
    views = (*OF_TOKENS, *OF_DROPPED, *OF_DOCUMENTS, *PAIRS)  # those of sums read the others
    for view in views:
        con.execute(f"ALTER VIEW {MEMORY}.{view} RENAME TO whole_{view}")
    con.execute(f"CREATE TABLE {MEMORY}.kept AS SELECT unnest($1::UINTEGER[]) AS doc_id", [doc_ids])
    for view in views:
        con.execute(f"CREATE VIEW {MEMORY}.{view} AS {_query(view, phase)}")
    con.execute(f"CREATE TABLE {MEMORY}.part AS FROM {MEMORY}.trace")
    views_there = {row[0] for row in con.execute("SELECT view_name FROM duckdb_views()").fetchall()}
    con.execute(f"DROP {'VIEW' if 'trace' in views_there else 'TABLE'} {MEMORY}.trace")
    con.execute(f"ALTER TABLE {MEMORY}.part RENAME TO trace")
    con.execute(f"UPDATE {MEMORY}.trace SET trace_id = md5(concat(trace_id, $1))", [name])


def _query(view: str, phase: str | None) -> str:
    if view in PAIRS:
        return CHOSEN.format(*PAIRS[view], MEMORY, TOGETHER[view])
    if phase is not None and view in OF_PHASE:
        return OF_PHASE[view]
    query = f"SELECT * FROM {WHOLE}{view} SEMI JOIN {MEMORY}.kept USING (doc_id)"
    if phase is None:
        return query
    number = PHASES.index(phase)
    if view in ("token", "document_load"):
        return f"{query} WHERE phase = {number}"
    if view in (*OF_TOKENS, *OF_DROPPED):
        return f"{query} SEMI JOIN {MEMORY}.token USING (doc_id, position)"
    return query
