"""Experts left out of a model of transformers: by the command, by the page's job, and by hand."""

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from analysis import queries
from app.commands.ablate import ablate
from app.commands.capture import capture
from app.jobs import causes
from app.jobs.worker import Progress
from app.sidecars import CAUSES
from app.studies import claims
from app.studies.reader import load_tracer
from data.sidecar import Sidecar, read_sidecar, sidecar_path
from data.store import open_trace
from model.ablation import document_losses
from model.intervene import masked
from tests.app.pages import page, words
from tests.families.folders import write_folder

CLI = typer.Typer()
CLI.command()(ablate)
CLI.command()(capture)
pytestmark = pytest.mark.slow


def run(*arguments: object) -> Result:
    return CliRunner().invoke(CLI, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def mixtral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder("mixtral", tmp_path_factory.mktemp("mixtral"))


@pytest.fixture
def trace(tmp_path: Path, mixtral: Path) -> Path:
    """Twenty-four short texts of two domains: six of each judge."""
    prompts = tmp_path / "prompts.jsonl"
    lines = [
        {"text": text * 3 + str(n), "domain": domain}
        for n in range(12)
        for text, domain in (("1+1=2 ", "math"), ("def f ", "code"))
    ]
    prompts.write_text("\n".join(map(json.dumps, lines)))
    path = tmp_path / "traces" / "t.duckdb"
    assert run("capture", prompts, "--out", path, "--model", mixtral).exit_code == 0
    return path


def busiest(trace: Path) -> str:
    with open_trace(trace) as con:
        load = queries.expert_tokens(con).sort_values("tokens").iloc[-1]
    return f"{load.layer_id:.0f}:{load.expert_id:.0f}"


def test_six_rows_an_expert_that_equal_the_losses_of_two_runs(trace: Path, mixtral: Path) -> None:
    named = busiest(trace)
    given = ("--experts", named, "--tokens", 30, "--json")
    result = run("ablate", "--trace", trace, "--model", mixtral, *given)
    assert result.exit_code == 0, result.output
    rows = {row["group"]: row for row in json.loads(result.stdout)}
    assert len(rows) == 6
    with open_trace(trace) as con:
        judges = claims.halves(con, queries.trace_info(con)).judges
        texts = claims.sampled(judges, tokens_per_domain=30, seed=0)
        own = texts[texts.domain == rows["own"]["domain"]]
        encoded = claims.encoded_of(con, own)
    model = load_tracer(mixtral).model
    layer, expert = map(int, named.split(":"))
    change = nats = tokens = 0.0
    for item in encoded:
        ids_BS = torch.tensor([item.token_ids])
        with torch.inference_mode():
            before = loss_by_hand(model.logits(ids_BS), ids_BS)
            with masked(model, {layer: [expert]}):
                after = loss_by_hand(model.logits(ids_BS), ids_BS)
        change, nats, tokens = change + after - before, nats + before, tokens + len(ids_BS[0]) - 1
    assert rows["own"]["estimate"] == pytest.approx(change / tokens, abs=1e-5)
    assert rows["own"]["n_tokens"] == tokens  # the first of each text has no loss
    measured = document_losses(model, encoded, {})
    assert measured.nats_VN.sum() == pytest.approx(nats, rel=1e-5)


def loss_by_hand(logits_BSV: torch.Tensor, ids_BS: torch.Tensor) -> float:
    return float(
        torch.nn.functional.cross_entropy(logits_BSV[0, :-1], ids_BS[0, 1:], reduction="sum")
    )


def test_the_texts_that_judge_are_read_as_they_were_captured(trace: Path, mixtral: Path) -> None:
    tracer = load_tracer(mixtral)
    with open_trace(trace) as con:
        judges = claims.halves(con, queries.trace_info(con)).judges
        [item, *_] = claims.encoded_of(con, judges)
        text = queries.document_text(con, item.document.doc_id)
    [given] = tracer.model.read([text])
    assert item.token_ids == given.token_ids
    assert item.document.text == text


def test_texts_of_one_token_have_no_loss(trace: Path, mixtral: Path) -> None:
    with open_trace(trace) as con:
        judges = claims.halves(con, queries.trace_info(con)).judges
        encoded = claims.encoded_of(con, judges)[:2]
    encoded[0].token_ids[1:] = []
    losses = document_losses(load_tracer(mixtral).model, encoded, {})
    assert losses.tokens_N[0] == losses.nats_VN[0, 0] == 0
    assert losses.nats_VN[0, 1] > 0


def test_the_job_of_the_page_stores_what_the_page_shows(
    trace: Path, mixtral: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(trace.parent))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(mixtral))
    app = page("causes", trace="t")
    assert not app.exception
    assert "experts" in [field.key for field in app.text_input]  # it may be left out here
    causes.run(Progress(tmp_path), mixtral, trace, busiest(trace))
    with open_trace(trace) as con:
        assert isinstance(read_sidecar(trace, CAUSES, of=queries.trace_info(con)), Sidecar)
    after = page("causes", trace="t")
    assert not after.exception
    assert "specialist left out is" in words(after)


def test_another_model_is_refused_by_name(trace: Path, tmp_path: Path) -> None:
    other = write_folder("mixtral", tmp_path / "other", seed=1)
    result = run("ablate", "--trace", trace, "--model", other)
    assert isinstance(result.exception, ValueError)
    assert "the trace was made by model" in str(result.exception)
    assert not sidecar_path(trace, CAUSES).is_file()
