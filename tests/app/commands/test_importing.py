"""`routescope import`: what it prints, and what it leaves."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from app.cli import app
from data.importers.importing import Dump
from data.importers.source import Options
from data.store import TraceStore, open_trace

EIGHT = Options(num_experts=8)


def ids(tokens: int = 40) -> np.ndarray:
    """2 layers of 8 experts, 2 chosen."""
    return np.random.default_rng(0).random((tokens, 2, 8)).argsort(-1)[..., :2].astype(np.int16)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


def test_a_dump_becomes_a_trace_with_its_report(tmp_path: Path) -> None:
    ids_TLK = ids()
    ids_TLK[5, 1] = 3  # twice
    np.save(tmp_path / "one.npy", ids_TLK)
    out = tmp_path / "t.duckdb"
    result = run(tmp_path / "one.npy", "--out", out, "--num-experts", 8)
    assert result.exit_code == 0, result.output
    assert "1 document, 40 tokens, 158 choices in 2 layers" in result.stdout
    assert "warning: repeated-experts: " in result.stderr
    with open_trace(out) as trace:
        kinds = dict(trace.execute("SELECT kind, occurrences FROM finding").fetchall())
        assert trace.execute("SELECT count(*) FROM routing").fetchall() == [(158,)]
    assert kinds["repeated-experts"] == 1


def test_a_dry_run_reports_and_writes_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ids())
    result = run(tmp_path / "one.npy", "--num-experts", 8, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["tokens"], figures["choices"], figures["path"]) == (40, 160, None)
    assert [path.name for path in tmp_path.iterdir()] == ["one.npy"]


def test_an_import_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", ids(2_000))
    damaged = tmp_path / "2.npy"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    result = run(tmp_path, "--out", tmp_path / "t.duckdb", "--num-experts", 8)
    assert isinstance(result.exception, ValueError)
    assert "2.npy" in str(result.exception)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".npy"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--out is missing"),
        (("--dry-run", "--layers", "odd"), "--layers is 'odd'; give moe or all"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    np.save(tmp_path / "one.npy", ids())
    result = run(tmp_path / "one.npy", "--num-experts", 8, *options)
    assert message in str(result.exception)


def test_an_import_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ids())
    out = tmp_path / "t.duckdb"
    store = TraceStore.create(out, Dump([tmp_path / "one.npy"], EIGHT).description("t"))
    for batch in Dump([tmp_path / "one.npy"], EIGHT):
        store.write(batch)
    with pytest.raises(KeyboardInterrupt), store:
        raise KeyboardInterrupt
    assert (tmp_path / "t.duckdb.partial").exists()
    result = run(tmp_path / "one.npy", "--out", out, "--num-experts", 8)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npy", "t.duckdb"]


def test_a_trace_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ids())
    out = tmp_path / "t.duckdb"
    out.write_bytes(b"mine")
    result = run(tmp_path / "one.npy", "--out", out, "--num-experts", 8)
    assert "exists" in str(result.exception)
    assert out.read_bytes() == b"mine"
