"""Several traces of one model become one, as if one process had captured all of their documents."""

from dataclasses import replace
from pathlib import Path

import duckdb

from data.connection import connect, interruptible
from data.new_trace import create_empty
from data.ranges import document_ranges
from data.shards import (
    Shard,
    attach,
    described,
    files_of,
    joined_config,
    require_one_trace,
    require_shards,
)
from data.store import open_trace
from data.strict_json import json_text
from data.trace_check import disagreement
from data.trace_format import FORMAT_VERSION
from data.trace_paths import discard, merging_path, require_free, require_ours
from data.trace_views import SUMS, Source, create_views
from data.words import first_line

ORDER = {  # of the rows of a document
    "document": "",
    "token": ", position",
    "decision": ", position, layer_id",
    "dropped": ", position, layer_id, place",
    "document_load": ", phase, layer_id, expert_id",
    "document_dropped": ", layer_id, expert_id",
    "document_k": ", layer_id, k",
    "document_size": "",
    "document_gate": ", layer_id",
}
SELECTED = {"dropped": "SELECT * EXCLUDE place FROM shards.dropped_in_order"}
DECISIONS = """
SELECT doc_id, coalesce(tokens, 0) * num_layers::BIGINT AS size
FROM shards.trace, shards.document LEFT JOIN shards.document_size USING (doc_id)
ORDER BY doc_id
"""
AT_ONCE = 1_000_000  # decisions that are put in order together


def merge_traces(paths: list[Path], target: Path, *, all_parts: bool = True) -> int:
    """Write `target`; the traces, or the shards of folders, stay as they are. How many documents it
    has.

    Documents keep their ids, so no two traces may share one; rows come in the order of a capture.
    Without `all_parts`, prompts captured in parts may lack some.
    """
    paths = [one for path in paths for one in (require_shards(path) if path.is_dir() else [path])]
    if len(paths) < 2:
        raise ValueError(f"{len(paths)} trace to merge; give two or more")
    require_free(target)
    unfinished = merging_path(target)
    require_ours(unfinished, what="an unfinished merge")
    shards = [opened(path) for path in paths]
    require_one_trace(shards, all_parts=all_parts)
    first = shards[0].description
    layers = next((one for one in shards if one.says_layers), shards[0]).layers
    discard(unfinished)
    try:
        create_empty(unfinished, replace(first, name=target.stem, layers=layers))
        write_merged(paths, target, shards)
        require_agreement(unfinished)
    except BaseException:
        discard(unfinished)
        raise
    require_free(target)
    unfinished.rename(target)
    return sum(len(shard.doc_ids) for shard in shards)


def opened(path: Path) -> Shard:
    with open_trace(path) as con:
        return described(path, con)


def write_merged(paths: list[Path], target: Path, shards: list[Shard]) -> None:
    files = [file for path in paths for file in files_of(path)]
    with connect(merging_path(target), read_only=False, attachable=files) as con:
        interruptible(con)
        try:
            sources = [attach(con, path, place) for place, path in enumerate(paths)]
            con.execute("ATTACH ':memory:' AS shards")
            create_views(con, sources, into="shards.main")
            for first, last in document_ranges(con, DECISIONS, at_once=AT_ONCE):
                con.begin()
                for table, order in ORDER.items():
                    rows = SELECTED.get(table, f"FROM shards.{table}")
                    con.execute(
                        f"INSERT INTO {table} BY NAME {rows} "
                        f"WHERE doc_id BETWEEN $1 AND $2 ORDER BY doc_id{order}",
                        [first, last],
                    )
                con.commit()
            con.begin()
            con.execute(
                "INSERT INTO finding BY NAME "
                "SELECT * EXCLUDE place FROM shards.finding ORDER BY place"
            )
            for table in SUMS:
                con.execute(f"INSERT INTO {table} BY NAME FROM shards.{table} ORDER BY ALL")
            con.execute("UPDATE trace SET config = $1", [json_text(joined_config(shards))])
            con.commit()
            con.execute("CHECKPOINT")
        except duckdb.Error as error:
            raise ValueError(f"cannot merge into {target}: {first_line(error)}") from error


def require_agreement(merged: Path) -> None:
    """What holds for each trace need not hold for all of them."""
    with connect(merged, read_only=True) as con:
        create_views(con, [Source("file.main", FORMAT_VERSION)])
        con.execute("USE memory")
        if wrong := disagreement(con):
            raise ValueError(f"these traces cannot be one: {wrong}; keep them apart")
