"""`routescope` as a shell runs it: what a user can cause is one line and exit code 2."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch

from app import cli
from app.cli import main
from app.error_line import FULL, MAKE_ROOM, is_out_of_memory, line_of
from app.studies.compression import texts
from data.connection import all_questions, connect, interrupt, reading
from data.routing import DOMAINS
from data.tokens import TokenizedDocument, write_tokens
from tests.app.shell import Run
from tests.disk import full_disk
from tests.traces import write_tiny_trace


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.duckdb"
    write_tiny_trace(path)
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "p.txt"
    path.write_text("the cat\nthe mat\n")
    return path


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for split in ("train", "heldout"):
        documents = [
            TokenizedDocument(np.arange(g, g + 600, dtype=np.uint16), domain, 1200)
            for g, domain in enumerate(DOMAINS)
        ]
        write_tokens(corpus, split, documents, DOMAINS)
    return corpus


@pytest.fixture
def writers(
    folder: Path, trace: Path, prompts: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[object]]:
    """Every command that writes, without the place where it does."""
    rows = [
        {"text": f"{text} {number} " * 4, "domain": domain}
        for number in range(6)
        for text, domain in (("1+1=2", "math"), ("def f", "code"))
    ]
    heldout = trace.with_name("heldout.parquet")
    pd.DataFrame(rows).to_parquet(heldout)
    monkeypatch.setattr(texts, "HELDOUT", heldout)
    other = trace.with_name("other.duckdb")
    shutil.copyfile(trace, other)
    with duckdb.connect(str(other)) as con:  # merged documents have ids of their own
        tables = con.execute("SELECT table_name FROM duckdb_columns() WHERE column_name = 'doc_id'")
        for (table,) in tables.fetchall():
            con.execute(f"UPDATE {table} SET doc_id = doc_id + 10")
    steps = ["--steps", 1, "--batch-size", 1, "--warmup-steps", 1]
    calibrated = ["--by", "saliency", "--text", heldout]
    return {
        "capture": [prompts, "--model", folder],
        "demo": ["--model", folder],
        "merge": [trace, other],
        "prune": [folder, *calibrated],
        "quantize": [folder],
        "train": ["--corpus", tokens, "--preset", "mini-switch", *steps],
    }


def place(command: str, path: Path) -> list[object]:
    if command == "train":
        return [path]
    return ["--out", path if command in ("prune", "quantize") else path / "t.duckdb"]


@pytest.mark.parametrize("command", ["capture", "demo", "merge", "prune", "quantize", "train"])
def test_a_file_in_place_of_a_folder_is_named(
    refused: Run, writers: dict[str, list[object]], tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("")
    line = refused(command, *place(command, tmp_path / "file" / "in"), *writers[command])
    assert f"{tmp_path / 'file'} is not a folder, so" in line or line == (
        f"{tmp_path / 'file' / 'in'}: Not a directory"
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["capture", "demo", "merge", "prune", "quantize", "train"])
def test_a_full_disk_is_one_line(
    refused: Run, writers: dict[str, list[object]], tmp_path: Path, command: str
) -> None:
    with full_disk(4_096):
        line = refused(command, *place(command, tmp_path / "out"), *writers[command])
    assert "File too large" in line


@pytest.mark.parametrize("command", ["information", "project"])
def test_a_full_disk_beside_a_trace_is_one_line(refused: Run, trace: Path, command: str) -> None:
    with full_disk(16):
        assert "File too large" in refused(command, trace)


def test_an_evaluation_into_a_full_disk_is_one_line(
    refused: Run, folder: Path, tmp_path: Path
) -> None:
    questions = tmp_path / "questions.jsonl"
    question = {"prompt": "a", "choices": ["b", "c"], "answer": 0}
    questions.write_text(json.dumps(question) + "\n")
    arguments = ("--model", folder, "--tasks", questions, "--out", tmp_path / "rows.csv")
    with full_disk(16):
        assert "File too large" in refused("evaluate", *arguments)


def test_weights_that_are_cut_are_one_line(refused: Run, folder: Path, prompts: Path) -> None:
    damaged = prompts.parent / "damaged"
    shutil.copytree(folder, damaged)
    for shard in damaged.glob("*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:100])
    out = prompts.with_name("t.duckdb")
    assert refused("capture", prompts, "--model", damaged, "--out", out)


@pytest.mark.parametrize("command", ["information", "project", "merge"])
def test_a_trace_of_other_bytes_is_one_line(refused: Run, trace: Path, command: str) -> None:
    content = trace.read_bytes()
    trace.write_bytes(content[: len(content) // 2])
    out = ["--out", trace.with_name("t.duckdb"), trace] if command == "merge" else []
    assert refused(command, trace, *out)


def test_a_folder_of_the_trace_is_made(
    prompts: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = prompts.parent / "new" / "traces" / "t.duckdb"
    arguments = ["routescope", "capture", prompts, "--model", folder, "--out", out]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert out.is_file()


def test_memory_that_there_is_not_is_one_line() -> None:
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(2**58)
    assert line_of(of_numpy.value).startswith("not enough memory: Unable to allocate")
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**58)
    assert is_out_of_memory(of_torch.value)
    assert "\n" not in line_of(of_torch.value)


def test_an_error_of_the_system_names_its_files() -> None:
    assert line_of(PermissionError(13, "Permission denied", "a\nb")) == "a b: Permission denied"
    assert line_of(OSError(18, "Cross-device link", "a", None, "b")) == "a -> b: Cross-device link"
    full = "t.duckdb: No space left on device; free some space, or write elsewhere"
    assert line_of(OSError(28, "No space left on device", "t.duckdb")) == full
    assert line_of(ValueError(full)) == full
    assert line_of(ValueError()) == "ValueError"


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(cli.merge, "merge_traces", broken)
    monkeypatch.setattr(sys, "argv", ["routescope", "merge", "a", "b", "--out", "c"])
    with pytest.raises(KeyError, match="a bug"):
        main()


def started(*arguments: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "routescope", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


@pytest.mark.slow
def test_a_reader_that_has_read_enough_ends_the_command_quietly() -> None:
    process = started("model", "presets", stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    assert process.communicate()[1] == ""
    assert process.returncode == 1


@pytest.mark.slow
def test_a_full_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        process = started("model", "presets", stdout=full)
        assert process.communicate()[1] == f"error: {FULL}; {MAKE_ROOM}\n"
    assert process.returncode == 2


LONG = "SELECT sum(range) FROM range(10_000_000_000_000)"


def press_ctrl_c(file: Path) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def press_ctrl_c_in_a_query(file: Path) -> None:
    """DuckDB raises an error of its own instead of KeyboardInterrupt."""
    with connect(file, read_only=True) as con:
        threading.Timer(0.3, press_ctrl_c, [file]).start()
        con.execute(LONG)


def press_ctrl_c_while_a_page_is_read(file: Path) -> None:
    with connect(file, read_only=True) as con, con.cursor() as cursor:
        threading.Timer(0.3, press_ctrl_c, [file]).start()
        with reading(cursor, file, seconds=600):
            cursor.execute(LONG)


def press_ctrl_c_where_nobody_looks(file: Path) -> None:
    """DuckDB looks for signals in the thread that asked, and not while that one waits."""
    libc, answered = ctypes.CDLL(None), ctypes.create_string_buffer(64)  # a mutex of pthreads

    def ask() -> None:
        with suppress(duckdb.InterruptException):
            con.execute(LONG)
        libc.pthread_mutex_unlock(answered)

    with connect(file, read_only=True) as con:
        libc.pthread_mutex_lock(answered)
        threading.Thread(target=ask).start()
        threading.Timer(0.3, press_ctrl_c, [file]).start()
        libc.pthread_mutex_lock(answered)


@pytest.mark.parametrize(
    "pressed",
    [
        press_ctrl_c,
        press_ctrl_c_in_a_query,
        press_ctrl_c_while_a_page_is_read,
        press_ctrl_c_where_nobody_looks,
    ],
)
def test_ctrl_c_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pressed: Callable[[Path], None],
) -> None:
    file = tmp_path / "file.duckdb"
    duckdb.connect(str(file)).close()
    monkeypatch.setattr(cli.project, "_write_maps", lambda trace, progress: pressed(file))
    monkeypatch.setattr(sys, "argv", ["routescope", "project", "t.duckdb"])
    lost = threading.Timer(60, lambda: interrupt(all_questions()))  # or it would wait for ever
    lost.start()
    with pytest.raises(SystemExit) as ended:
        main()
    assert lost.is_alive()
    lost.cancel()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.slow
def test_ctrl_c_while_libraries_are_imported_is_one_line() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "routescope", "model", "presets"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    while "numpy" not in process.stderr.readline():
        pass
    errors = ThreadPoolExecutor(1).submit(process.stderr.read)
    while process.poll() is None:  # the key is held: also while the interpreter ends
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    lines = errors.result(timeout=60).splitlines()
    assert [line for line in lines if not line.startswith("import time:")] == ["interrupted"]
    assert process.returncode in (130, -signal.SIGINT)  # the same to a shell
