"""A capture that was interrupted loses and doubles nothing."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from data import writer as module
from data.merge import merge_traces
from data.store import TraceStore
from data.trace_paths import discard_partial, merging_path, partial_path, require_free
from data.writer import TraceWriter
from tests.data.stored import (
    DOCUMENTS,
    TOKENS,
    as_format_3,
    contents,
    interrupted,
    killed_after,
    rows,
    write_all,
    write_documents,
)
from tests.disk import full_disk
from tests.routing_batches import description, grouped, random_document


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    path = tmp_path_factory.mktemp("whole") / "t.duckdb"
    write_documents(path)
    return contents(path)


@pytest.mark.slow
def test_a_capture_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path, uninterrupted: dict[str, list[tuple[Any, ...]]]
) -> None:
    path = tmp_path / "t.duckdb"
    for attempt, document in enumerate((0, 3, 6, 10)):
        killed_after(path, document, resume=attempt > 0)
        assert not path.exists()
    write_documents(path, resume=True)
    assert contents(path) == uninterrupted


@pytest.mark.slow
def test_an_exception_leaves_whole_documents_that_resume_continues(
    tmp_path: Path, uninterrupted: dict[str, list[tuple[Any, ...]]]
) -> None:
    path = tmp_path / "t.duckdb"
    begun = [random_document(doc_id, tokens=TOKENS) for doc_id in range(5)]
    with pytest.raises(KeyboardInterrupt):
        write_all(path, begun, then=KeyboardInterrupt)
    assert [found.name for found in tmp_path.iterdir()] == ["t.duckdb.partial"]
    with TraceStore.resume(path, description()) as store:
        assert store.stored_doc_ids() == {0, 1, 2, 3, 4}
        for doc_id in range(5, DOCUMENTS):
            store.write(random_document(doc_id, tokens=TOKENS))
    assert contents(path) == uninterrupted


@pytest.mark.parametrize("moment", ["before_header", "before_truncate"])
def test_a_capture_killed_while_duckdb_tidied_its_file_is_resumed(
    tmp_path: Path, moment: str
) -> None:
    path = tmp_path / "t.duckdb"
    interrupted(path)
    code = f"""
import os, duckdb
con = duckdb.connect({str(partial_path(path))!r})
con.execute("INSERT INTO finding VALUES ('other', 'note', 1, 'here', 'nothing', 'tokens', '')")
con.execute("SET debug_checkpoint_abort = '{moment}'")
try:
    con.execute("CHECKPOINT")
except duckdb.FatalException:
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert partial_path(path).with_name("t.duckdb.partial.wal").exists()
    with TraceStore.resume(path, description()) as store:
        assert store.stored_doc_ids() == {0}
    assert [file.name for file in tmp_path.iterdir()] == ["t.duckdb"]
    assert rows(path, "SELECT kind FROM finding") == [("other",)]


def test_a_resumed_capture_reads_as_many_choices_at_once_as_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sizes = tmp_path / "t.duckdb", []
    stored_ids = TraceWriter._stored_ids

    def counted(writer: TraceWriter, first_doc_id: int, last_doc_id: int) -> np.ndarray:
        ids_TLK = stored_ids(writer, first_doc_id, last_doc_id)
        sizes.append(ids_TLK.size)
        return ids_TLK

    with pytest.raises(KeyError):  # 50 tokens, 2 layers, 2 choices: 200 a document
        write_all(path, [random_document(doc_id, tokens=50) for doc_id in range(4)], then=KeyError)
    monkeypatch.setattr(module, "ROWS", 400)
    monkeypatch.setattr(TraceWriter, "_stored_ids", counted)
    with TraceStore.resume(path, description()) as store:
        assert store.stored_doc_ids() == {0, 1, 2, 3}
    assert sizes == [200, 400, 200]


def test_what_a_kill_left_of_the_first_moment_is_cleared_away(tmp_path: Path) -> None:
    for ending in ("new", "new.wal"):
        (tmp_path / f"t.duckdb.partial.{ending}").write_bytes(b"half")
    write_all(tmp_path / "t.duckdb", [random_document(0, tokens=2)])
    assert [file.name for file in tmp_path.iterdir()] == ["t.duckdb"]


def test_an_exception_before_the_first_document_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_all(tmp_path / "t.duckdb", [], then=KeyError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [4_096, 20_000, 300_000, 1_000_000])
def test_a_disk_that_is_full_before_the_first_document_is_named_and_leaves_nothing(
    tmp_path: Path, size: int
) -> None:
    batches = [random_document(doc_id, tokens=TOKENS) for doc_id in range(3)]
    with pytest.raises(ValueError, match="File too large"), full_disk(size):
        write_all(tmp_path / "t.duckdb", batches)
    assert list(tmp_path.iterdir()) == []


def without_tables(path: Path) -> None:
    duckdb.connect(str(partial_path(path))).close()
    partial_path(path).with_name("t.duckdb.partial.new.wal").write_bytes(b"half")


def test_a_capture_that_was_killed_before_it_stored_anything_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    without_tables(path)
    with pytest.raises(ValueError, match=r"there is no .*partial; start without --resume"):
        TraceStore.resume(path, description())
    assert list(tmp_path.iterdir()) == []
    partial_path(path).write_bytes(b"")
    with pytest.raises(ValueError, match=r"there is no .*partial; start without --resume"):
        TraceStore.resume(path, description())
    without_tables(path)
    require_free(path)
    write_all(path, [random_document(0, tokens=2)])
    assert [file.name for file in tmp_path.iterdir()] == ["t.duckdb"]


def test_resume_refuses_another_capture(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    interrupted(path)
    with pytest.raises(ValueError, match="begun with another model_sha256"):
        TraceStore.resume(path, description(model_sha256="1" * 64))
    config = {"model": {"hidden_dim": 4}, "capture": {"prompts": {"sha256": "abd"}}}
    with pytest.raises(ValueError, match=r"config\.capture\.prompts\.sha256 \(abc, now abd\)"):
        TraceStore.resume(path, replace(description(), config=config))
    assert partial_path(path).exists()


def test_resume_refuses_a_capture_that_an_older_format_began(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    interrupted(path)
    as_format_3(partial_path(path))
    with pytest.raises(ValueError, match="begun in trace format 3"):
        TraceStore.resume(path, description())


def test_a_resumed_capture_knows_the_domains_of_its_groups(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    with pytest.raises(KeyError):
        write_all(path, [grouped(0, "Emma", "math")], then=KeyError)
    with (
        pytest.raises(ValueError, match="document 1: group 'Emma' has texts of math and of code"),
        TraceStore.resume(path, description()) as store,
    ):
        store.write(grouped(1, "Emma", "code"))


def test_discard_partial_leaves_nothing(tmp_path: Path) -> None:
    interrupted(tmp_path / "t.duckdb")
    discard_partial(tmp_path / "t.duckdb")
    assert list(tmp_path.iterdir()) == []


def test_create_refuses_what_would_overwrite(tmp_path: Path, trace: Path) -> None:
    with pytest.raises(ValueError, match="exists; delete it or choose another name"):
        TraceStore.create(trace, description())
    interrupted(tmp_path / "t.duckdb")
    with pytest.raises(ValueError, match="unfinished capture; add --resume or delete it"):
        TraceStore.create(tmp_path / "t.duckdb", description())
    with pytest.raises(ValueError, match=r"a trace is a \.duckdb file, t\.db is not"):
        TraceStore.create(tmp_path / "t.db", description())
    with pytest.raises(ValueError, match="is not a folder"):
        TraceStore.create(trace / "t.duckdb", description())
    for begin in (TraceStore.create, TraceStore.resume):
        with pytest.raises(ValueError, match=r"a trace is a \.duckdb file, \. is not"):
            begin(Path("."), description())


def test_resume_needs_an_unfinished_capture(tmp_path: Path, trace: Path) -> None:
    with pytest.raises(ValueError, match="is complete; start without --resume"):
        TraceStore.resume(trace, description())
    with pytest.raises(ValueError, match=r"there is no .*partial; start without --resume"):
        TraceStore.resume(tmp_path / "t.duckdb", description())


def occupy(path: Path, kind: str) -> None:
    if kind == "a folder":
        path.mkdir()
    elif kind == "a link":
        path.symlink_to("somewhere")
    elif kind == "no plain file":
        os.mkfifo(path)
    else:
        path.write_text("a text that somebody keeps here")


@pytest.mark.parametrize("kind", ["a folder", "a link", "no plain file", "no DuckDB file"])
def test_what_is_no_unfinished_capture_is_named_and_kept(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    begin: dict[str, list[Callable[[], object]]] = {
        "capture": [
            lambda: TraceStore.create(path, description()),
            lambda: TraceStore.resume(path, description()),
        ],
        "merge": [lambda: merge_traces([path, path], path)],
    }
    for what, unfinished in (("capture", partial_path(path)), ("merge", merging_path(path))):
        occupy(unfinished, kind)
        line = f"{unfinished} is {kind}, not an unfinished {what}; move it away"
        for start in begin[what]:
            with pytest.raises(ValueError, match=re.escape(line)):
                start()
        unfinished.rename(tmp_path / f"moved {what}")  # it is still there


@pytest.mark.parametrize("ending", [".wal", ".partial.wal", ".partial.new"])
def test_a_folder_among_the_files_of_a_trace_is_named(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"t.duckdb{ending}").mkdir()
    with pytest.raises(ValueError, match=rf"t\.duckdb{ending} is a folder"):
        TraceStore.create(tmp_path / "t.duckdb", description())


def test_a_capture_that_is_being_written_is_not_called_unfinished(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    interrupted(path)
    code = f"""
import duckdb, time
con = duckdb.connect({str(partial_path(path))!r})
print("open", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(ValueError, match=f"is being written by process {process.pid}; wait"):
            TraceStore.create(path, description())
        process.kill()


def test_a_name_that_leaves_no_room_for_unfinished_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a trace name has at most 160 bytes"):
        TraceStore.create(tmp_path / f"{'x' * 161}.duckdb", description())
    write_all(tmp_path / f"{'x' * 160}.duckdb", [random_document(0, tokens=2)])
