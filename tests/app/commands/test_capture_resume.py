"""Captures that are interrupted, and go on."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import typer

from app.commands import capture as command
from app.studies.reader import load_tracer
from data.prompts import read_documents, summarize_prompts
from data.routing import Document
from data.store import TraceStore, open_trace
from data.writer import TraceWriter
from tests.app.commands.captures import refused, run, write


def interrupting(documents: Iterator[Document], *, after: int) -> Iterator[Document]:
    for document in documents:
        if document.doc_id == after:
            raise KeyboardInterrupt
        yield document


def interrupt(tmp_path: Path, folder: Path, *, after: int, capsys: pytest.CaptureFixture) -> str:
    """Begin the capture that `p.txt` would be, and press Ctrl-C at a document."""
    tracer = load_tracer(folder)
    prompts = tmp_path / "p.txt"
    found = summarize_prompts(prompts)
    described = {"file": "p.txt", "sha256": found.sha256, "skipped_rows": 0}
    description = tracer.description("t", prompts=described, grouping=found.grouping)
    store = TraceStore.create(tmp_path / "t.duckdb", description)
    documents = interrupting(read_documents(prompts, joined=found.joined), after=after)
    with pytest.raises(typer.Exit) as raised:
        command.write_trace(tracer, documents, store, sink=store, total=5_000)
    assert raised.value.exit_code == 130
    return capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_resume_completes_it(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    prompts = write(tmp_path / "p.txt", "".join(f"prompt {i}\n" for i in range(5_000)))
    out = tmp_path / "t.duckdb"
    assert "add --resume to continue" in interrupt(tmp_path, folder, after=4_500, capsys=capsys)
    assert "unfinished capture" in refused(run(prompts, "--out", out, "--model", folder))
    result = run(prompts, "--out", out, "--model", folder, "--resume", "--json")
    figures = json.loads(result.stdout)
    assert figures["resumed_documents"] > 0
    assert figures["documents"] + figures["resumed_documents"] == 5_000
    with open_trace(out) as trace:
        found = trace.execute("SELECT doc_id, text FROM document ORDER BY doc_id").fetchall()
    assert found == [(i, f"prompt {i}") for i in range(5_000)]


def test_ctrl_c_before_anything_is_stored_leaves_nothing(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    write(tmp_path / "p.txt", "a\nb\nc\n")
    assert "interrupted; nothing was stored" in interrupt(tmp_path, folder, after=1, capsys=capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["p.txt"]


def test_a_full_disk_is_a_line_that_says_what_to_do_and_resume_completes_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(writer: TraceWriter) -> None:
        raise duckdb.IOException("Could not write file: No space left on device")

    out = tmp_path / "t.duckdb"
    given = (write(tmp_path / "p.txt", "a\nb\nc\n"), "--out", out, "--model", folder)
    with monkeypatch.context() as patch:
        patch.setattr(TraceWriter, "finish", full)
        line = refused(run(*given))
    assert line.endswith(
        "No space left on device; free some space, or write elsewhere; "
        f"{out}.partial holds what is done: add --resume to continue"
    )
    assert run(*given, "--resume").exit_code == 0


@pytest.mark.slow
def test_resume_refuses_other_prompts(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    prompts = write(tmp_path / "p.txt", "".join(f"prompt {i}\n" for i in range(5_000)))
    interrupt(tmp_path, folder, after=4_500, capsys=capsys)
    write(prompts, "something else\n")
    result = run(prompts, "--out", tmp_path / "t.duckdb", "--model", folder, "--resume")
    assert "begun with another config.capture.prompts.sha256" in refused(result)
