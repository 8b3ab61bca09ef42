"""A trace as questions see it: views of the present tables over whatever its files hold.

The views lie in the memory of the reader: a file that holds any is refused. Format 8 keeps a row a
decision; `routing` and `gate` show a row a choice and a row a gate, as formats before it do;
`choice` is `routing` for questions that do not ask for weights, which take most of its time, and
`choice_list` for those that read millions: as they are stored, ranked from `first_rank` on.
`a_weight` has one sum of weights of each source.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from data.trace_format import WITH_LAYERS, WITH_LISTS, layers_query

MEMORY = "memory.main"
OF_DOCUMENTS = (
    "document",
    "token",
    "dropped",
    "document_load",
    "document_dropped",
    "document_k",
)
SUMS = {"coactivation": "expert_a, expert_b", "transition": "expert_id, next_expert_id"}
DECISIONS = """
SELECT doc_id, position, layer_id,
       coalesce(list_transform(range(ranks), lambda rank: experts[rank]), []) AS expert_ids,
       CASE WHEN ranks IS NULL THEN []
            WHEN known THEN list_transform(range(ranks), lambda rank: weighs[rank])
            END AS weights,
       entropy, margin
FROM (SELECT doc_id, position, layer_id FROM {0}.token, {0}.expert WHERE expert_id = 0)
LEFT JOIN (
    SELECT doc_id, position, layer_id, max(rank) + 1 AS ranks, bool_or(NOT isnan(weight)) AS known,
           map(list(rank::BIGINT), list(expert_id)) AS experts,
           map(list(rank::BIGINT), list(weight)) AS weighs
    FROM {0}.routing
    GROUP BY ALL
) USING (doc_id, position, layer_id)
LEFT JOIN {0}.gate USING (doc_id, position, layer_id)
"""
CHOICES = """
SELECT * FROM (
    SELECT doc_id, position, layer_id, (generate_subscripts(expert_ids, 1) - 1)::USMALLINT AS rank,
           unnest(expert_ids) AS expert_id, coalesce(unnest(weights), 'nan'::FLOAT) AS weight
    FROM {}.decision
)
WHERE expert_id IS NOT NULL
"""
IDS = """
SELECT * FROM (
    SELECT doc_id, position, layer_id, (generate_subscripts(expert_ids, 1) - 1)::USMALLINT AS rank,
           unnest(expert_ids) AS expert_id
    FROM {}.decision
)
WHERE expert_id IS NOT NULL
"""
LISTS = """
SELECT doc_id, position, layer_id, 0::USMALLINT AS first_rank, expert_ids, weights
FROM {}.decision
"""
ROWS = """
SELECT doc_id, position, layer_id, rank AS first_rank, [expert_id] AS expert_ids,
       [weight] AS weights
FROM {}.routing
"""
GATES = """
SELECT doc_id, position, layer_id, entropy, margin
FROM {0}.decision
WHERE (SELECT count(*) > 0 FROM {0}.document_gate)
"""
SIZES = """
SELECT doc_id, count(*)::UINTEGER AS tokens, count(loss)::UINTEGER AS losses,
       coalesce(sum(loss), 0)::DOUBLE AS loss
FROM {}.token
GROUP BY doc_id
"""
GATE_SUMS = """
SELECT doc_id, layer_id, count(entropy)::UINTEGER AS entropies,
       coalesce(sum(entropy), 0)::DOUBLE AS entropy, count(margin)::UINTEGER AS margins,
       coalesce(sum(margin), 0)::DOUBLE AS margin
FROM {}.gate
GROUP BY doc_id, layer_id
"""
TRACE_ID = """
md5(concat(model_sha256, created_at, (
    SELECT string_agg(sha256, '' ORDER BY doc_id) FROM {}.document
)))
"""


@dataclass(frozen=True, slots=True)
class Source:
    """Tables within reach: `<schema>.<table>`."""

    schema: str  # file.main
    version: int  # of their format
    row_number: str = "rowid"  # of a table


def create_views(
    con: duckdb.DuckDBPyConnection, sources: Sequence[Source], *, into: str = MEMORY
) -> None:
    """Of the documents of all sources; of several, `trace` is the first's, `layer` of the first
    that says it. `dropped_in_order` has the place of each row too."""
    first = sources[0]
    described = [source for source in sources if source.version >= WITH_LAYERS]
    layers = f"FROM {described[0].schema}.layer" if described else layers_query(first.schema)
    views = {"trace": _trace(first), "layer": layers}
    views["expert"] = f"FROM {first.schema}.expert"
    of_each = [_of_documents(source, place) for place, source in enumerate(sources)]
    for name in of_each[0]:
        views[name] = " UNION ALL BY NAME ".join(one[name] for one in of_each)
    for name, pair in SUMS.items():
        rows = " UNION ALL ".join(f"FROM {source.schema}.{name}" for source in sources)
        views[name] = (
            f"SELECT layer_id, {pair}, sum(tokens)::UBIGINT AS tokens FROM ({rows}) GROUP BY ALL"
            if len(sources) > 1
            else rows
        )
    for name, query in views.items():
        con.execute(f"CREATE VIEW {into}.{name} AS {query}")


def _of_documents(source: Source, place: int) -> dict[str, str]:
    version, schema = source.version, source.schema
    views = {name: f"SELECT * FROM {schema}.{name}" for name in OF_DOCUMENTS}
    if version < 4:
        views["document"] = f'SELECT *, NULL::VARCHAR AS "group" FROM {schema}.document'
    if version < 6:
        views["token"] = f"SELECT *, NULL::VARCHAR AS special FROM {schema}.token"
    lists = version >= WITH_LISTS
    views["routing"] = CHOICES.format(schema) if lists else f"SELECT * FROM {schema}.routing"
    views["choice"] = IDS.format(schema) if lists else f"SELECT * FROM {schema}.routing"
    views["choice_list"] = (LISTS if lists else ROWS).format(schema)
    views["gate"] = GATES.format(schema) if lists else f"SELECT * FROM {schema}.gate"
    for name, older in (("document_size", SIZES), ("document_gate", GATE_SUMS)):
        views[name] = f"SELECT * FROM {schema}.{name}" if lists else older.format(schema)
    views["decision"] = f"SELECT * FROM {schema}.decision" if lists else DECISIONS.format(schema)
    views["a_weight"] = f"SELECT * FROM (SELECT weight_sum FROM {schema}.document_load LIMIT 1)"
    views["dropped_in_order"] = f"SELECT *, {source.row_number} AS place FROM {schema}.dropped"
    views["finding"] = _finding(source, place)
    return views


def _finding(source: Source, place: int) -> str:
    """`place`: in which order they were noticed."""
    if source.version < 5:
        names = "kind", "severity", "first_example", "effect", "unit", "done"
        columns = ", ".join(f"NULL::VARCHAR AS {name}" for name in names)
        return f"SELECT {columns}, 0::UBIGINT AS occurrences, 0::HUGEINT AS place WHERE false"
    unit = ", 'tokens' AS unit, '' AS done" if source.version < 7 else ""
    return f"SELECT *{unit}, {place}::HUGEINT << 64 | rowid AS place FROM {source.schema}.finding"


def _trace(source: Source) -> str:
    added = ""
    if source.version < 5:
        added += f", {TRACE_ID.format(source.schema)} AS trace_id"
    if source.version < 7:
        added += ", false AS counts_only"
    return f"SELECT *{added} FROM {source.schema}.trace"
