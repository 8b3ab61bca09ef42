"""A trace that a process of its own writes is the one that is written here."""

import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.channel import Channel
from data.connection import BeingWrittenError, TraceError
from data.routing import RoutingBatch
from data.store import TraceStore
from data.trace_paths import partial_path
from data.writer_process import WriterProcess
from tests.data.stored import (
    DOCUMENTS,
    TOKENS,
    contents,
    killed_after,
    write_all,
    write_documents,
)
from tests.disk import full_disk
from tests.routing_batches import batch_of, description, random_document


def write_apart(
    path: Path, batches: Iterable[RoutingBatch], *, then: type[BaseException] | None = None
) -> None:
    begin = TraceStore.resume if partial_path(path).exists() else TraceStore.create
    with begin(path, description(), apart=True) as store:
        for batch in batches:
            store.write(batch)
        if then is not None:
            raise then


def stored(path: Path) -> set[int]:
    """Documents of an unfinished trace."""
    with resumed(path) as store:
        doc_ids = store.stored_doc_ids()
    return doc_ids


def resumed(path: Path) -> TraceStore:
    """Once the process that wrote has let go of the file."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return TraceStore.resume(path, description())
        except BeingWrittenError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_it_holds_the_same(tmp_path: Path) -> None:
    here, there = tmp_path / "here.duckdb", tmp_path / "there.duckdb"
    batches = [random_document(doc_id, tokens=3 + doc_id) for doc_id in range(20)]
    write_all(here, batches)
    write_apart(there, batches)
    assert contents(there) == contents(here)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.duckdb", "there.duckdb"]


def test_a_model_may_have_a_config_of_any_size(tmp_path: Path) -> None:
    large = replace(description(), config={"model": {"id2label": "x" * 1_000_000}})
    with TraceStore.create(tmp_path / "t.duckdb", large, apart=True) as store:
        store.write(random_document(0, tokens=3))
    assert len(contents(tmp_path / "t.duckdb")["document"]) == 1


def test_a_message_that_is_cut_short_hangs_nobody_and_keeps_what_is_committed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when Ctrl-C comes in the middle of it."""
    path, whole = tmp_path / "t.duckdb", Channel.send

    def cut_short(channel: Channel, message: tuple[str, object]) -> None:
        if message[0] != "finish":
            return whole(channel, message)
        channel._end.sendall(np.array([1, 100], "<u8").data)  # of a message of 100 bytes
        raise KeyboardInterrupt

    monkeypatch.setattr(Channel, "send", cut_short)
    with pytest.raises(KeyboardInterrupt):
        write_apart(path, [random_document(0, tokens=3)])
    monkeypatch.undo()
    assert stored(path) == {0}
    assert len(contents(path)["document"]) == 1


@pytest.mark.parametrize("apart", [False, True])
def test_a_wait_that_is_interrupted_ends_what_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, apart: bool
) -> None:
    path = tmp_path / "t.duckdb"

    def interrupt(timeout: float | None = None) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    store = TraceStore.create(path, description(), apart=apart)
    for doc_id in range(DOCUMENTS):
        store.write(random_document(doc_id, tokens=TOKENS))
    monkeypatch.setattr(store._thread, "join", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.__exit__(KeyError, None, None)
    assert not store._thread.is_alive()
    if partial_path(path).exists():
        resumed(path).__exit__(KeyError, None, None)


def test_what_fails_in_it_reaches_who_writes_and_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    with pytest.raises(KeyError):
        write_apart(path, [random_document(0, tokens=3)], then=KeyError)
    alike = [batch_of([1], [[[0, 1]] * 2]) for _ in range(100)]
    with pytest.raises(ValueError, match="document 1 came twice"):
        write_apart(path, alike)
    assert stored(path) == {0}


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    path.write_text("no trace")
    process = WriterProcess(path, 2, 8, {})
    with pytest.raises(TraceError, match="is not a DuckDB file"):
        process.restore()
    process.close()
    assert process._process.returncode == 1


def test_nothing_is_left_of_a_capture_that_stored_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_apart(tmp_path / "t.duckdb", [], then=KeyError)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    batches = (random_document(doc_id, tokens=6_000) for doc_id in range(100))
    with (
        full_disk(4_000_000),
        pytest.raises(ValueError, match=r"cannot write .*t\.duckdb\.partial: "),
    ):
        write_apart(tmp_path / "t.duckdb", batches)


def test_a_process_that_was_killed_is_named_and_what_it_committed_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    with pytest.raises(KeyError):
        write_apart(path, [random_document(0, tokens=3)], then=KeyError)

    def until_killed() -> Iterator[RoutingBatch]:
        yield random_document(1, tokens=3)
        os.kill(process_of(path), signal.SIGKILL)
        for doc_id in range(2, 100):
            yield random_document(doc_id, tokens=3)

    with pytest.raises(ValueError, match=r"the process that writes .*t\.duckdb\.partial ended"):
        write_apart(path, until_killed())
    assert 0 in stored(path)


def process_of(path: Path) -> int:
    """That has the trace open, by what DuckDB says of it."""
    with pytest.raises(BeingWrittenError) as refusal:
        TraceStore.resume(path, description())
    found = re.search(r"by process (\d+)", str(refusal.value))
    assert found is not None
    return int(found[1])


@pytest.mark.slow
def test_it_ends_with_who_asked(tmp_path: Path) -> None:
    path, whole = tmp_path / "t.duckdb", tmp_path / "whole.duckdb"
    killed_after(path, 6, resume=False, apart=True)
    assert not path.exists()
    with resumed(path) as store:
        for doc_id in sorted(set(range(DOCUMENTS)) - store.stored_doc_ids()):
            store.write(random_document(doc_id, tokens=TOKENS))
    write_documents(whole)
    assert contents(path) == contents(whole)
