"""Choices that found their expert full: on Load balance, on Prompts, in the CSV."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app.studies.reader import Tracer, load_tracer
from data.groups import with_groups
from data.routing import Document
from data.store import TraceStore, open_trace
from data.tokenizer import train_tokenizer
from model.checkpoint import save_model
from model.transformer import Transformer
from tests.app.pages import texts
from tests.models import small_router

pytestmark = pytest.mark.slow

VIEWS = Path(__file__).parents[2] / "app" / "views"
TEXTS = ["the cat sat on the mat the cat", "the dog on the log the dog", "a cat a dog a mat a log"]


def write_trace(folder: Path, path: Path) -> Tracer:
    """Of a top-1 gate whose experts take 2 of 64 tokens: most of a text is dropped."""
    torch.manual_seed(0)
    config = replace(small_router("switch"), vocab_size=300, context_length=64)
    model = Transformer(replace(config, capacity_factor=0.25))
    model.initialize(seed=0)
    save_model(model, folder)
    train_tokenizer(TEXTS * 20, vocab_size=270).save(str(folder / "tokenizer.json"))
    tracer = load_tracer(folder)
    documents = [
        Document(doc_id=doc_id, text=text, domain="ab"[doc_id % 2])
        for doc_id, text in enumerate(TEXTS * 4)
    ]
    documents, grouping = with_groups(documents)
    description = tracer.description("drops", prompts={}, grouping=grouping)
    with TraceStore.create(path, description) as store:
        tracer.capture(documents, store)
    return tracer


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(tmp_path / "traces"))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(tmp_path / "model"))
    path = tmp_path / "traces" / "drops.duckdb"
    path.parent.mkdir()
    write_trace(tmp_path / "model", path)
    return path


def test_every_choice_is_executed_or_dropped(trace: Path) -> None:
    with open_trace(trace) as con:
        [(tokens, executed, dropped, top_k)] = con.execute(
            "SELECT (SELECT count(*) FROM token), (SELECT count(*) FROM routing), "
            "(SELECT count(*) FROM dropped), top_k FROM trace"
        ).fetchall()
        [(summed,)] = con.execute("SELECT sum(tokens) FROM document_dropped").fetchall()
    assert executed + dropped == 2 * tokens  # two layers, one choice each
    assert dropped == summed > 0
    assert top_k is None


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("load_balance", "were dropped because their expert was full"),
        ("prompts", "Dropped because the expert was full: expert"),
        ("overview", "The number of chosen experts varies from token to token"),
    ],
)
def test_a_page_says_what_was_dropped(trace: Path, page: str, said: str) -> None:
    app = AppTest.from_file(str(VIEWS / page / "page.py"), default_timeout=120)
    if page == "prompts":
        app.query_params["token"] = "9"  # late enough for its expert to be full
    app.run()
    assert not app.exception
    assert said in texts(app)


@pytest.mark.parametrize(
    "page",
    ["specialization", "coactivation", "vocabulary", "domain_clusters", "causes", "export"],
)
def test_the_other_pages_stand_it(trace: Path, page: str) -> None:
    app = AppTest.from_file(str(VIEWS / page / "page.py"), default_timeout=120).run()
    assert not app.exception
