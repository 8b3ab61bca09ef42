"""What is written together."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import writer
from data.connection import connect
from data.new_trace import create_empty
from data.routing import concatenated
from data.store import TraceStore
from data.writer import parts
from tests.routing_batches import description, random_document


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 20))
def test_parts_are_whole_documents_within_the_limit(lengths: list[int], tokens: int) -> None:
    documents = [random_document(doc_id, tokens=n) for doc_id, n in enumerate(lengths)]
    pieces = parts(concatenated(documents), tokens=tokens)
    assert concatenated(pieces).doc_id_T.tolist() == concatenated(documents).doc_id_T.tolist()
    for piece in pieces:
        assert len(piece.doc_id_T) <= tokens or len(set(piece.doc_id_T.tolist())) == 1
    seen = [doc_id for piece in pieces for doc_id in set(piece.doc_id_T.tolist())]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(("elapsed", "committed"), [(2.9, []), (3.0, [0, 1]), (60.0, [0, 1])])
def test_what_comes_in_is_committed_at_the_latest_every_three_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, elapsed: float, committed: list[int]
) -> None:
    now = 1_000.0
    monkeypatch.setattr(writer.time, "monotonic", lambda: now)
    path = tmp_path / "t.duckdb"
    create_empty(path, description())
    with connect(path, read_only=False) as con:
        trace = writer.TraceWriter(con, 2, 8, {})
        assert trace.due_in() is None
        trace.write(random_document(0, tokens=3))
        assert trace.due_in() == 3.0
        now += elapsed
        trace.write(random_document(1, tokens=3))
        assert [
            row[0] for row in con.execute("SELECT doc_id FROM document").fetchall()
        ] == committed


def test_what_waits_is_committed_although_no_other_document_comes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    committed = threading.Event()
    flush = writer.TraceWriter.flush

    def flush_and_tell(trace: writer.TraceWriter) -> None:
        flush(trace)
        committed.set()

    monkeypatch.setattr(writer, "COMMIT_SECONDS", 0.05)
    monkeypatch.setattr(writer.TraceWriter, "flush", flush_and_tell)
    path = tmp_path / "t.duckdb"
    with TraceStore.create(path, description()) as store:
        store.write(random_document(0, tokens=3))
        assert committed.wait(300)
        assert store._trace.documents == 1
