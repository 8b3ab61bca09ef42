"""A folder of shards opens as the trace that a merge of them would be."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from analysis import arrays, queries
from data import tables_check, trace_check
from data.connection import TraceError
from data.exports.tables import write_tables
from data.merge import merge_traces
from data.store import TraceStore, open_trace
from tests.data.stored import as_format_5, as_format_7
from tests.routing_batches import description, grouped, random_document

MODEL = {"capture": {"prompts": {"file": "a.txt", "sha256": "ab"}}}


def write_shard(path: Path, *doc_ids: int, **changed: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    with TraceStore.create(path, description(**changed)) as store:
        for doc_id in doc_ids:
            store.write(random_document(doc_id, tokens=40 + doc_id))
    return path


def as_tables(trace: Path) -> Path:
    """The Parquet export instead of the trace."""
    folder = trace.with_suffix("")
    folder.mkdir()
    with open_trace(trace) as con:
        write_tables(con, folder, parquet=True)
    trace.unlink()
    return folder


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "whole"
    write_shard(folder / "a.duckdb", 0, 3)
    write_shard(folder / "b.duckdb", 1, 2, 4)
    return folder


def answers(path: Path) -> dict[str, object]:
    """Of questions of every kind of table, in an order of their own."""
    with open_trace(path) as con:
        info = queries.trace_info(con)
        asked = {
            "documents": queries.documents(con),
            "load": queries.document_load(con),
            "k": queries.domain_k(con),
            "pairs": queries.coactivation(con, 1),
            "followers": queries.transitions(con, 0),
            "gate": queries.gate_summary(con),
            "tokens": queries.token_ids(con),
            "choices": queries.layer_choices(con, 1),
            "routing": queries.document_routing(con, 3),
            "experts": queries.expert_tokens(con),
        }
        tokens_NLE, domain_id_N = arrays.group_array(con, info)
    lines = {name: sorted(frame.astype(str).values.tolist()) for name, frame in asked.items()}
    sizes = info.num_documents, info.num_tokens, info.last_doc_id, info.layers
    return {**lines, "counts": tokens_NLE.tolist(), "domains": domain_id_N.tolist(), "info": sizes}


@pytest.mark.parametrize("change", [Path, as_format_7, as_tables])
def test_a_folder_answers_as_the_merged_trace(
    shards: Path, tmp_path: Path, change: Callable[[Path], Path]
) -> None:
    merge_traces([shards / "a.duckdb", shards / "b.duckdb"], tmp_path / "merged.duckdb")
    change(shards / "b.duckdb")
    assert answers(shards) == answers(tmp_path / "merged.duckdb")


def test_a_folder_has_an_id_of_its_own_that_its_shards_decide(shards: Path) -> None:
    def identity() -> str:
        with open_trace(shards) as con:
            info = queries.trace_info(con)
        assert info.name == "whole"
        return info.trace_id

    both = identity()
    assert identity() == both
    write_shard(shards / "c.duckdb", 7)
    assert identity() != both


def test_an_export_alone_opens_as_its_trace(shards: Path) -> None:
    trace = shards / "a.duckdb"
    before = answers(trace)
    with open_trace(trace) as con:
        name = queries.trace_info(con).trace_id
    folder = as_tables(trace)
    assert answers(folder) == before
    with open_trace(folder) as con:
        assert queries.trace_info(con).trace_id == name


def test_parquet_shards_are_merged(shards: Path, tmp_path: Path) -> None:
    paths = [shards / "a.duckdb", shards / "b.duckdb"]
    merge_traces(paths, tmp_path / "first.duckdb")
    merge_traces([as_tables(path) for path in paths], tmp_path / "second.duckdb")
    assert answers(tmp_path / "first.duckdb") == answers(tmp_path / "second.duckdb")


def test_a_folder_is_merged_shard_by_shard(shards: Path, tmp_path: Path) -> None:
    more = write_shard(tmp_path / "more.duckdb", 7)
    merge_traces([shards / "a.duckdb", shards / "b.duckdb", more], tmp_path / "first.duckdb")
    as_tables(shards / "b.duckdb")
    assert merge_traces([shards, more], tmp_path / "second.duckdb") == 6
    assert answers(tmp_path / "first.duckdb") == answers(tmp_path / "second.duckdb")


def test_shards_of_different_formats_go_together(shards: Path) -> None:
    before = answers(shards)
    as_format_5(shards / "a.duckdb")
    after = answers(shards)
    for name in ("counts", "routing", "choices", "pairs", "documents", "info"):
        assert after[name] == before[name]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: write_shard(folder / "c.duckdb", 3), "both have document 3; capture each"),
        (
            lambda folder: write_shard(folder / "c.duckdb", 9, experts=16),
            r"differ in layer 0, .* num_experts \(8, there 16\)",
        ),
        (
            lambda folder: write_shard(folder / "c.duckdb", 9, model_sha256="1" * 64),
            "differ in model_sha256",
        ),
        (lambda folder: (folder / "c.duckdb.partial").touch(), "is unfinished, or being written"),
        (lambda folder: (folder / "c.duckdb.merging").touch(), "is unfinished, or being written"),
        (lambda folder: (folder / "c.duckdb").write_text("text"), "is not a DuckDB file"),
        (lambda folder: (folder / "c.duckdb").mkdir(), "is a folder, not a shard"),
        (lambda folder: os.mkfifo(folder / "c.duckdb"), "is no plain file, not a shard"),
        (lambda folder: (folder / "c.duckdb").symlink_to(folder / "gone"), "is a link to nothing"),
        (
            lambda folder: (as_tables(folder / "a.duckdb") / "manifest.json").unlink(),
            "an export without its manifest.json",
        ),
        (lambda folder: (as_tables(folder / "a.duckdb") / "gate.parquet").unlink(), "gate.parquet"),
        (
            lambda folder: (as_tables(folder / "a.duckdb") / "gate.parquet").write_text("x"),
            "gate.parquet",
        ),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "is a folder; name a trace"),
    ],
)
def test_what_is_no_one_trace_is_refused_in_one_line(
    shards: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(shards)
    with pytest.raises(TraceError, match=message) as refused:
        open_trace(shards)
    assert "\n" not in str(refused.value)


def test_a_table_of_another_export_is_refused(shards: Path) -> None:
    folders = [as_tables(shards / f"{name}.duckdb") for name in "ab"]
    shutil.copy(folders[0] / "token.parquet", folders[1])
    with pytest.raises(TraceError, match=r"token.parquet is not the file that its manifest"):
        open_trace(shards)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("format", "zz", "is of no export of a trace"),
        ("format_version", "8", "is of no export of a trace"),
        ("format_version", True, "is of no export of a trace"),
        ("format_version", 99, "is of trace format 99, and this version reads up to 8"),
    ],
)
def test_a_manifest_of_something_else_is_refused(
    shards: Path, name: str, value: object, line: str
) -> None:
    manifest = as_tables(shards / "a.duckdb") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {name: value}))
    with pytest.raises(TraceError, match=line):
        open_trace(shards, rows=False)


def test_an_export_is_read_again_when_what_kept_it_from_being_read_is_gone(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    folder = as_tables(shards / "a.duckdb")
    manifest = folder / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text("{}")
    with pytest.raises(TraceError, match="is of no export of a trace"):
        open_trace(folder)
    manifest.write_text(whole)
    with monkeypatch.context() as patch:
        patch.setattr(tables_check, "sha256", failing)
        with pytest.raises(TraceError, match="Too many open files"):
            open_trace(folder)
    open_trace(folder).close()


def test_rows_of_many_shards_are_left_out_as_those_of_a_large_trace(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_check, "DECISIONS", 300)  # a.duckdb has 166, b.duckdb 254
    with duckdb.connect(str(shards / "b.duckdb")) as con:
        con.execute("UPDATE decision SET weights = [2, 2]")
    with pytest.raises(TraceError, match="differ from its routing"):
        open_trace(shards / "b.duckdb", rows=False)
    open_trace(shards, rows=False).close()
    with pytest.raises(TraceError, match="differ from its routing"):
        open_trace(shards)


def test_a_group_has_one_domain_in_all_shards(tmp_path: Path) -> None:
    for doc_id, domain in enumerate(("math", "code")):
        with TraceStore.create(tmp_path / f"{doc_id}.duckdb", description()) as store:
            store.write(grouped(doc_id, "Emma", domain))
    with pytest.raises(TraceError, match="Emma"):
        open_trace(tmp_path)


def as_part(trace: Path, part: str) -> Path:
    """As a capture with --part leaves it."""
    prompts = {"file": "texts.txt", "sha256": "ab", "part": part}
    with duckdb.connect(str(trace)) as con:
        con.execute("UPDATE trace SET config = $1", [json.dumps({"capture": {"prompts": prompts}})])
    return trace


def test_an_export_of_a_part_opens_and_is_merged(shards: Path, tmp_path: Path) -> None:
    parts = (("a", "1/2"), ("b", "2/2"))
    traces = [as_part(shards / f"{name}.duckdb", part) for name, part in parts]
    before = [answers(path) for path in traces]
    folders = [as_tables(path) for path in traces]
    assert [answers(path) for path in folders] == before
    merge_traces(folders, tmp_path / "merged.duckdb")
    assert answers(tmp_path / "merged.duckdb") == answers(shards)
    shutil.rmtree(folders[1])
    with pytest.raises(TraceError, match=r"part 2/2 of texts.txt is missing"):
        open_trace(shards)


def test_a_part_that_is_missing_is_named(shards: Path) -> None:
    for name, part in (("a", "1/3"), ("b", "3/3")):
        as_part(shards / f"{name}.duckdb", part)
    with pytest.raises(TraceError, match=r"part 2/3 of texts.txt is missing; capture it with"):
        open_trace(shards)
