"""routescope index: the words of a trace, beside it."""

import json
import shutil
from pathlib import Path

import pytest

from app import workspace
from app.commands.index import index
from app.jobs import commands
from app.jobs.worker import Progress
from app.studies import word_index
from app.trace import open_trace as trace_of
from app.word_kinds import WORD_EXPERTS, WORDS
from data.sidecar import Absent, Sidecar, sidecar_path
from tests.app.shell import Run
from tests.app.sparse_traces import counted, written


@pytest.fixture
def trace(tiny_trace: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_trace, tmp_path / "tiny.duckdb"))


def test_words_and_their_experts_lie_beside_the_trace(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(word_index, "DOCUMENTS", 1)  # a search reads one text
    index(trace, as_json=True)
    opened = trace_of(workspace.trace_file(trace))
    words, experts = opened.beside(WORDS), opened.beside(WORD_EXPERTS)
    assert isinstance(words, Sidecar)
    assert isinstance(experts, Sidecar)
    assert words.frame.iloc[0].tolist() == [" 1", 2, 2, 2]  # times, texts, groups
    assert set(experts.frame.text) == {" 1"}  # the only one in two texts
    assert experts.frame.tokens.tolist() == [1, 2, 1, 1, 1, 1, 1]  # layer 0: 0, 1 and 1, 2
    told = json.loads(capsys.readouterr().out)
    assert (told["words"], told["summed"]) == (7, 1)


def test_a_small_trace_has_words_and_no_sums(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index(trace)
    experts = trace_of(workspace.trace_file(trace)).beside(WORD_EXPERTS)
    assert isinstance(experts, Sidecar)
    assert experts.frame.empty
    assert capsys.readouterr().out.splitlines()[-1].endswith("tiny.words.parquet, 7 words")


def test_traces_without_tokens_or_without_their_names_have_no_words(tmp_path: Path) -> None:
    counted(tmp_path / "counts.duckdb", top_k=2)
    written(tmp_path / "nameless.duckdb", with_ids=False)
    for name in ("counts", "nameless"):
        index(tmp_path / f"{name}.duckdb")
        words = trace_of(workspace.trace_file(tmp_path / f"{name}.duckdb")).beside(WORDS)
        assert isinstance(words, Sidecar)
        assert words.frame.empty


def test_sums_that_cannot_be_are_not_used(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_index, "DOCUMENTS", 1)
    index(trace)
    opened = trace_of(workspace.trace_file(trace))
    words, experts = opened.beside(WORDS), opened.beside(WORD_EXPERTS)
    assert isinstance(words, Sidecar)
    assert isinstance(experts, Sidecar)
    agrees = WORD_EXPERTS.agrees
    assert agrees is not None
    assert agrees(experts.frame, opened.info)
    assert not agrees(experts.frame.assign(squares=0), opened.info)
    assert not agrees(experts.frame.assign(expert_id=4), opened.info)  # of four
    assert not agrees(experts.frame.iloc[[0, 0]], opened.info)
    agrees = WORDS.agrees
    assert agrees is not None
    assert agrees(words.frame, opened.info)
    assert not agrees(words.frame.assign(n_groups=3), opened.info)  # of fewer texts
    assert not agrees(words.frame.iloc[[0, 0]], opened.info)


def test_a_file_of_somebody_else_is_refused_before_the_work(trace: Path, refused: Run) -> None:
    sidecar_path(trace, WORDS).mkdir()
    assert "tiny.words.parquet is not a result of RouteScope" in refused("index", trace)
    assert isinstance(trace_of(workspace.trace_file(trace)).beside(WORD_EXPERTS), Absent)


def test_a_job_moves_on_by_tokens(trace: Path, tmp_path: Path) -> None:
    told = list[dict[str, object]]()
    commands.index(Progress(tmp_path, told.append), trace)
    assert {"done": 1, "total": 2, "unit": "stages"} in told
    assert sidecar_path(trace, WORDS).is_file()
