"""Readers of a trace."""

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.store import TraceStore, open_trace
from data.trace_format import stored_groups
from data.trace_paths import partial_path
from tests.data.stored import as_format_3, interrupted, open_elsewhere, rows
from tests.routing_batches import batch_of, description

outside = {"secret": np.arange(3)}  # by default DuckDB reads any variable as a table


def test_a_trace_is_read_only_and_reaches_nothing_outside(trace: Path, tmp_path: Path) -> None:
    with open_trace(trace) as connection:
        for statement in (
            "DELETE FROM token",
            "WITH gone AS (DELETE FROM token RETURNING *) SELECT * FROM gone",
            f"COPY token TO '{tmp_path}/out.csv'",
            "SELECT * FROM read_text('/etc/passwd')",
            f"ATTACH '{tmp_path}/other.duckdb'",
            "SELECT * FROM outside",
            "SET threads = 8",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement).fetchall()


def test_a_trace_opens_twice_in_one_process(trace: Path) -> None:
    with open_trace(trace) as first, open_trace(trace) as second:
        assert first.execute("SELECT 1").fetchall() == second.execute("SELECT 1").fetchall()


def test_a_trace_is_read_through_a_link(trace: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.duckdb"
    link.symlink_to(trace)
    with open_trace(link) as con:
        assert con.execute("SELECT count(*) FROM document").fetchall() == [(2,)]


def test_a_question_mark_in_a_path_is_named(trace: Path, tmp_path: Path) -> None:
    path = trace.rename(tmp_path / "what?.duckdb")
    with pytest.raises(ValueError, match="question mark in its path"):
        open_trace(path)
    with pytest.raises(ValueError, match="question mark in its path"):
        TraceStore.create(tmp_path / "else?.duckdb", description())
    assert [one.name for one in tmp_path.glob("*?.duckdb*")] == ["what?.duckdb"]


def test_open_trace_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no trace .*absent\.duckdb"):
        open_trace(tmp_path / "absent.duckdb")
    (tmp_path / "text.duckdb").write_text("no database")
    with pytest.raises(ValueError, match="is not a DuckDB file"):
        open_trace(tmp_path / "text.duckdb")
    (tmp_path / "p.jsonl").write_text('{"text": "a"}\n')  # DuckDB has other words for this one
    with pytest.raises(ValueError, match="is not a DuckDB file"):
        open_trace(tmp_path / "p.jsonl")
    with pytest.raises(ValueError, match=r"^\. is a folder; name a trace"):
        open_trace(Path("."))
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    with pytest.raises(ValueError, match="is a DuckDB file but not a trace"):
        open_trace(tmp_path / "other.duckdb")


def test_open_trace_refuses_an_unfinished_capture(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    interrupted(path)
    for name in (path, partial_path(path)):
        with pytest.raises(ValueError, match=r"unfinished.*--out .*t\.duckdb --resume"):
            open_trace(name)


def test_open_trace_refuses_another_format(trace: Path) -> None:
    with duckdb.connect(str(trace)) as connection:
        connection.execute("UPDATE trace SET format_version = 9")
    with pytest.raises(ValueError, match="has trace format 9, this RouteScope reads 3 to 8"):
        open_trace(trace)


def test_a_trace_of_format_3_is_read(trace: Path) -> None:
    as_format_3(trace)
    assert rows(trace, "SELECT doc_id FROM document ORDER BY ALL") == [(3,), (4,)]
    with open_trace(trace) as connection:
        assert stored_groups(connection) == []


def test_open_trace_names_the_process_that_writes(trace: Path) -> None:
    with (
        open_elsewhere(trace) as pid,
        pytest.raises(ValueError, match=f"written by process {pid}"),
    ):
        open_trace(trace)


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text") / "t.duckdb"
    batch = replace(batch_of([0], [[[0, 1]] * 2]), token_text_T=[text])
    document = replace(batch.documents[0], text=text, origin=text)
    with TraceStore.create(path, description()) as store:
        store.write(replace(batch, documents=(document,)))
    assert rows(path, "SELECT text, origin FROM document") == [(text, text)]
    assert rows(path, "SELECT text FROM token") == [(text,)]
