"""Traces of parts that are one: what must agree, and a folder of them that opens as one trace.

A shard is a trace file, or a folder with its tables as Parquet (`routescope export --as parquet`).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from data.connection import READER_MEMORY, TraceError, quoted, reader_of
from data.exports.tables import MANIFEST, TABLES
from data.groups import GroupDomains, sources_of
from data.new_trace import TraceDescription, difference, layer_difference
from data.routing import LayerDescription
from data.strict_json import json_text
from data.trace_format import WITH_LAYERS, format_version, stored_groups, stored_layers
from data.trace_views import MEMORY, Source, create_views

UNFINISHED = (".partial", ".merging", ".new")
TABLES_VERSION = 7  # whose tables exported ones are


@dataclass(frozen=True, slots=True)
class Shard:
    """A trace that is a part of another."""

    path: Path
    description: TraceDescription
    truncated: dict[str, int]  # documents and tokens cut
    trace_id: str
    version: int
    doc_ids: frozenset[int]
    groups: tuple[tuple[str, str | None], ...]  # with their domains

    @property
    def says_layers(self) -> bool:
        """Formats 3 to 5 do not describe them one by one."""
        return self.version >= WITH_LAYERS

    @property
    def layers(self) -> tuple[LayerDescription, ...]:
        return self.description.layers

    @property
    def capture(self) -> Any:
        return self.description.config.get("capture")


def described(path: Path, con: duckdb.DuckDBPyConnection) -> Shard:
    """Of a sound trace that is open."""
    names = [field.name for field in fields(TraceDescription) if field.name != "layers"]
    row = con.execute(f"SELECT {', '.join(names)}, trace_id FROM trace").fetchall()[0]
    stored = dict(zip([*names, "trace_id"], row, strict=True))
    stored["config"] = json.loads(stored["config"])
    truncated = stored["config"].pop("truncated", {"documents": 0, "tokens": 0})
    trace_id = stored.pop("trace_id")
    doc_ids = np.asarray(con.execute("SELECT doc_id FROM document").fetchnumpy()["doc_id"])
    return Shard(
        path,
        TraceDescription(**stored, layers=stored_layers(con)),
        truncated,
        trace_id,
        format_version(con),
        frozenset(doc_ids.tolist()),
        tuple(stored_groups(con)),
    )


def require_one_trace(shards: Sequence[Shard], *, all_parts: bool = True) -> None:
    """ValueError: they are of different models, have a document in common, or lack a part."""
    known = [shard for shard in shards if shard.says_layers]
    for other in known[1:]:
        if differing := layer_difference(known[0].layers, other.layers, where="there"):
            raise _no_one_trace(known[0], other, differing)
    for other in shards[1:]:
        _require_alike(shards[0], other)
    _require_disjoint(shards)
    if all_parts:
        _require_all_parts(shards)
    groups = GroupDomains()
    for shard in shards:
        for group, domain in shard.groups:
            groups.check(group, domain, shard.path)


def _require_alike(first: Shard, other: Shard) -> None:
    stored, given = first.description.row(), other.description.row()
    for name, one in stored.items():
        two = given[name]
        if name == "config":
            one, two = (of.description.config.get("model") for of in (first, other))
        if one != two and name != "name":
            raise _no_one_trace(first, other, difference(name, one, two, where="there"))


def _no_one_trace(first: Shard, other: Shard, differing: str) -> ValueError:
    return ValueError(f"{first.path} and {other.path} differ in {differing}; they are no one trace")


def _require_disjoint(shards: Iterable[Shard]) -> None:
    seen: dict[int, Path] = {}
    for shard in shards:
        if shared := sorted(shard.doc_ids & seen.keys()):
            raise ValueError(
                f"{seen[shared[0]]} and {shard.path} both have document {shared[0]}"
                f"{f' and {len(shared) - 1} more' if len(shared) > 1 else ''}; "
                "capture each document in one trace"
            )
        seen |= dict.fromkeys(shard.doc_ids, shard.path)


def _require_all_parts(shards: Iterable[Shard]) -> None:
    """Of what was captured with --part: one that is missing is missed by nobody later."""
    found: dict[tuple[str, str, int], set[int]] = {}
    for shard in shards:
        merged: Any = shard.description.config.get("merged")
        for capture in merged if isinstance(merged, list) else [shard.capture]:
            prompts = capture.get("prompts") if isinstance(capture, dict) else None
            if not isinstance(prompts, dict):
                continue
            if match := re.fullmatch(r"(\d{1,7})/(\d{1,7})", str(prompts.get("part")), re.ASCII):
                of = str(prompts.get("file")), str(prompts.get("sha256")), int(match[2])
                found.setdefault(of, set()).add(int(match[1]))
    for (file, _, parts), given in found.items():
        if missing := next((part for part in range(1, parts + 1) if part not in given), None):
            raise ValueError(
                f"part {missing}/{parts} of {file:.80} is missing; capture it with "
                f"--part {missing}/{parts}, and give all parts at once"
            )


def joined_config(shards: Sequence[Shard]) -> dict[str, object]:
    """Of the trace that they are."""
    captures = [shard.capture for shard in shards]
    config = dict(shards[0].description.config)
    if any(capture != captures[0] for capture in captures):
        config["merged"] = captures
        config["capture"] = _with_joined_groups(captures)
    cut = {key: sum(one.truncated[key] for one in shards) for key in ("documents", "tokens")}
    return config | {"truncated": cut}


def _with_joined_groups(captures: list[Any]) -> object:
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


def is_sharded(folder: Path) -> bool:
    """It holds shards, finished or not."""
    if ".duckdb" in folder.suffixes or not folder.is_dir():
        return False
    try:
        return bool(shard_paths(folder))
    except TraceError:
        return True


def shard_paths(folder: Path) -> list[Path]:
    """By name. TraceError: one of them is not finished, or cannot be read."""
    if (folder / MANIFEST).is_file():
        return [folder]
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise TraceError(f"cannot read {folder}: {error.strerror}") from error
    for path in inside:
        if path.suffix in UNFINISHED and ".duckdb" in path.suffixes:
            raise TraceError(
                f"{path} is unfinished, or being written: {folder} opens as one trace when all of "
                "its shards are complete"
            )
        if what := _unreadable(path):
            raise TraceError(f"{path} is {what}, not a shard; complete it, or move it away")
    return [path for path in inside if path.suffix == ".duckdb" or (path / MANIFEST).is_file()]


def require_shards(folder: Path) -> list[Path]:
    """shard_paths(); TraceError where there are none."""
    if paths := shard_paths(folder):
        return paths
    raise TraceError(
        f"{folder} is a folder; name a trace, or a folder of its shards: .duckdb files, or "
        "exports as Parquet"
    )


def _unreadable(path: Path) -> str | None:
    """What it is instead of the shard that its name, or what is in it, says."""
    if path.suffix == ".duckdb" and not path.is_file() and not (path / MANIFEST).is_file():
        if not path.exists():
            return "a link to nothing"
        return "a folder" if path.is_dir() else "no plain file"
    if (path / "trace.parquet").is_file() and not (path / MANIFEST).is_file():
        return f"an export without its {MANIFEST}"
    return None


def open_shards(
    folder: Path, paths: Sequence[Path], shards: Sequence[Shard], *, memory: str
) -> duckdb.DuckDBPyConnection:
    """As one trace, whose id is made of theirs. They are sound."""
    con = open_views(paths, memory=memory)
    if len(shards) == 1:
        return con
    try:
        con.execute(f"CREATE TABLE {MEMORY}.joined AS FROM {MEMORY}.trace")
        con.execute(f"DROP VIEW {MEMORY}.trace")
        con.execute(f"ALTER TABLE {MEMORY}.joined RENAME TO trace")
        ids = ",".join(sorted(shard.trace_id for shard in shards))
        values = [
            folder.name,
            hashlib.sha256(ids.encode()).hexdigest()[:32],
            json_text(joined_config(shards)),
        ]
        con.execute("UPDATE trace SET name = $1, trace_id = $2, config = $3", values)
    except BaseException:
        con.close()
        raise
    return con


def open_views(paths: Sequence[Path], *, memory: str = READER_MEMORY) -> duckdb.DuckDBPyConnection:
    """Their tables together, nothing about them checked."""
    con = reader_of([file for path in paths for file in files_of(path)], memory=memory)
    try:
        create_views(con, [attach(con, path, place) for place, path in enumerate(paths)])
    except BaseException:
        con.close()
        raise
    return con


def files_of(path: Path) -> list[Path]:
    """What is read of a shard."""
    if path.is_file():
        return [path]
    return [path / f"{table}.parquet" for table in TABLES]


def attach(con: duckdb.DuckDBPyConnection, path: Path, place: int) -> Source:
    """A shard within reach of `con`."""
    name = f"shard_{place}"
    if path.is_file():
        con.execute(f"ATTACH {quoted(path)} AS {name} (READ_ONLY)")
        version = con.execute(f"SELECT format_version FROM {name}.main.trace").fetchall()[0][0]
        return Source(f"{name}.main", int(version))
    con.execute(f"ATTACH ':memory:' AS {name}")
    for table, file in zip(TABLES, files_of(path), strict=True):
        kind = "TABLE" if table in ("trace", "finding") else "VIEW"
        con.execute(
            f"CREATE {kind} {name}.main.{table} AS SELECT * FROM read_parquet({quoted(file)})"
        )
    return Source(f"{name}.main", TABLES_VERSION, row_number="row_number() OVER ()")
