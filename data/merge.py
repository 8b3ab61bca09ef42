"""Several traces of one model become one, as if one process had captured all of their documents."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import duckdb

from data.connection import connect, first_line, interruptible, quoted
from data.groups import GroupDomains, sources_of
from data.new_trace import TraceDescription, create_empty, difference, layer_difference
from data.routing import LayerDescription
from data.store import open_trace
from data.strict_json import json_text
from data.trace_check import disagreement
from data.trace_format import (
    WITH_COUNTS_ONLY,
    WITH_LAYERS,
    format_version,
    stored_groups,
    stored_layers,
)
from data.trace_paths import discard, merging_path, require_free, require_ours

OF_DOCUMENTS = (
    "document",
    "token",
    "routing",
    "gate",
    "dropped",
    "document_load",
    "document_dropped",
    "document_k",
)
SUMS = ("coactivation", "transition")  # over all documents


def merge_traces(paths: list[Path], target: Path) -> int:
    """Write `target`; the traces stay as they are. How many documents it has.

    Documents keep their ids, so no two traces may share one; rows come in the order of a capture.
    """
    if len(paths) < 2:
        raise ValueError(f"{len(paths)} trace to merge; give two or more")
    require_free(target)
    unfinished = merging_path(target)
    require_ours(unfinished, what="an unfinished merge")
    described = [describe(path) for path in paths]
    require_layers_alike(paths, described)
    for path, other in zip(paths[1:], described[1:], strict=True):
        require_alike(paths[0], described[0], path, other)
    documents = require_disjoint(paths)
    require_groups_of_one_domain(paths)
    first = described[0].description
    captures = [one.description.config.get("capture") for one in described]
    if any(capture != captures[0] for capture in captures):
        first.config["merged"] = captures
        first.config["capture"] = with_merged_groups(captures)
    discard(unfinished)
    try:
        layers = next((one for one in described if one.says_layers), described[0]).layers
        create_empty(unfinished, replace(first, name=target.stem, layers=layers))
        write_merged(paths, target, truncated=[one.truncated for one in described])
        require_agreement(unfinished)
    except BaseException:
        discard(unfinished)
        raise
    require_free(target)
    unfinished.rename(target)
    return documents


@dataclass(frozen=True, slots=True)
class Source:
    """A trace that is merged."""

    description: TraceDescription
    truncated: dict[str, int]  # documents and tokens cut
    says_layers: bool  # formats 3 to 5 do not describe them one by one

    @property
    def layers(self) -> tuple[LayerDescription, ...]:
        return self.description.layers


def describe(path: Path) -> Source:
    names = [field.name for field in fields(TraceDescription) if field.name != "layers"]
    with open_trace(path) as con:
        row = con.execute(f"SELECT {', '.join(names)} FROM ({WITH_COUNTS_ONLY})").fetchall()[0]
        layers, says_layers = stored_layers(con), format_version(con) >= WITH_LAYERS
    stored = dict(zip(names, row, strict=True))
    stored["counts_only"] = bool(stored["counts_only"])
    stored["config"] = json.loads(stored["config"])
    truncated = stored["config"].pop("truncated", {"documents": 0, "tokens": 0})
    return Source(TraceDescription(**stored, layers=layers), truncated, says_layers)


def require_alike(path: Path, first: Source, other_path: Path, other: Source) -> None:
    stored, given = first.description.row(), other.description.row()
    for name, one in stored.items():
        two = given[name]
        if name == "config":
            one, two = (of.description.config.get("model") for of in (first, other))
        if one != two and name != "name":
            raise _no_one_trace(path, other_path, difference(name, one, two, where="there"))


def require_layers_alike(paths: list[Path], described: list[Source]) -> None:
    """Of those traces that say them."""
    known = [(path, one) for path, one in zip(paths, described, strict=True) if one.says_layers]
    for path, other in known[1:]:
        first_path, first = known[0]
        if differing := layer_difference(first.layers, other.layers, where="there"):
            raise _no_one_trace(first_path, path, differing)


def _no_one_trace(path: Path, other: Path, differing: str) -> ValueError:
    return ValueError(f"{path} and {other} differ in {differing}; they are no one trace")


def require_disjoint(paths: Iterable[Path]) -> int:
    seen: dict[int, Path] = {}
    for path in paths:
        with open_trace(path) as con:
            doc_ids = [row[0] for row in con.execute("SELECT doc_id FROM document").fetchall()]
        if shared := sorted(doc_id for doc_id in doc_ids if doc_id in seen):
            raise ValueError(
                f"{seen[shared[0]]} and {path} both have document {shared[0]}"
                f"{f' and {len(shared) - 1} more' if len(shared) > 1 else ''}; "
                "capture each document in one trace"
            )
        seen |= dict.fromkeys(doc_ids, path)
    return len(seen)


def with_merged_groups(captures: list[Any]) -> object:
    """The first capture, saying how the documents of all came by their groups, where all say it.

    Counts are of the prompt files: parts of one file say the same.
    """
    first = captures[0]
    groups = [capture.get("groups") if capture else None for capture in captures]
    if None in groups:
        return (
            {name: value for name, value in first.items() if name != "groups"} if first else first
        )
    files = {capture["prompts"].get("sha256"): capture["groups"] for capture in captures}
    counted = {
        name: sum(file[name] for file in files.values())
        for name in ("documents", "groups", "joined")
    }
    sources = " and ".join(sorted({name for file in files.values() for name in sources_of(file)}))
    return first | {"groups": {"from": sources, **counted}}


def require_groups_of_one_domain(paths: Iterable[Path]) -> None:
    groups = GroupDomains()
    for path in paths:
        with open_trace(path) as con:
            for group, domain in stored_groups(con):
                groups.check(group, domain, path)


def write_merged(paths: list[Path], target: Path, *, truncated: list[dict[str, int]]) -> None:
    with connect(merging_path(target), read_only=False, attachable=paths) as con:
        interruptible(con)
        try:
            for shard, path in enumerate(paths):
                con.execute(f"ATTACH {quoted(path)} AS shard_{shard} (READ_ONLY)")
            con.begin()
            for table in OF_DOCUMENTS:
                con.execute(in_document_order(table, len(paths)))
            for name in with_findings(con):
                con.execute(f"INSERT INTO finding BY NAME FROM {name}.finding")
            for table in SUMS:
                con.execute(as_sums(table, len(paths)))
            both = {key: sum(cut[key] for cut in truncated) for key in ("documents", "tokens")}
            config = json.loads(con.execute("SELECT config FROM trace").fetchall()[0][0])
            con.execute("UPDATE trace SET config = $1", [json_text(config | {"truncated": both})])
            con.commit()
            con.execute("CHECKPOINT")
        except duckdb.Error as error:
            raise ValueError(f"cannot merge into {target}: {first_line(error)}") from error


def require_agreement(merged: Path) -> None:
    """What holds for each trace need not hold for all of them."""
    with connect(merged, read_only=True) as con:
        if wrong := disagreement(con):
            raise ValueError(f"these traces cannot be one: {wrong}; keep them apart")


def in_document_order(table: str, shards: int) -> str:
    """Documents by id; the rows of one as they lie in its trace."""
    rows = union(f"SELECT *, rowid AS place FROM shard_{{}}.{table}", shards)
    return (
        f"INSERT INTO {table} BY NAME SELECT * EXCLUDE place FROM ({rows}) ORDER BY doc_id, place"
    )


def with_findings(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The shards that have a table of findings: not those of formats 3 and 4."""
    rows = con.execute(
        "SELECT database_name FROM duckdb_tables() WHERE table_name = 'finding' "
        "AND starts_with(database_name, 'shard_') ORDER BY database_name"
    ).fetchall()
    return [row[0] for row in rows]


def as_sums(table: str, shards: int) -> str:
    rows = union(f"SELECT * FROM shard_{{}}.{table}", shards)
    return (
        f"INSERT INTO {table} BY NAME SELECT * REPLACE (sum(tokens)::UBIGINT AS tokens) "
        f"FROM ({rows}) GROUP BY ALL ORDER BY ALL"
    )


def union(select: str, shards: int) -> str:
    """Of formats 3 to 6: a column that one of them lacks is null there."""
    return " UNION ALL BY NAME ".join(select.format(shard) for shard in range(shards))
