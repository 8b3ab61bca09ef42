"""Where tokens run different numbers of experts: on Load balance, on Prompts, in the CSV."""

import io
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import workspace
from app.trace import open_trace
from app.views.export import tables as export
from data.report import csv_text
from tests.app.pages import texts
from tests.traces import write_tiny_trace
from tests.varying import LAYERS, LEAST, MOST, write_varying_trace

pytestmark = pytest.mark.slow

VIEWS = Path(__file__).parents[2] / "app" / "views"
SAID = "The number of chosen experts varies from token to token, from 8 to 32"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(tmp_path))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(tmp_path / "absent"))
    return tmp_path


@pytest.fixture
def trace(folder: Path) -> Path:
    path = folder / "varying.duckdb"
    write_varying_trace(path)
    return path


def run(page: str, **params: str) -> AppTest:
    app = AppTest.from_file(str(VIEWS / page / "page.py"), default_timeout=120)
    for name, value in params.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def test_load_balance_says_which_domain_runs_most_experts(trace: Path) -> None:
    app = run("load_balance")
    assert "between 8 and 32. Of the domains, code runs the most, 2" in texts(app)
    assert "math the fewest, 1" in texts(app)
    assert [box.key for box in app.selectbox if box.key == "k_layer"] == ["k_layer"]


def test_a_layer_can_be_chosen(trace: Path) -> None:
    """Every layer runs one expert more than the one before it."""
    means = {}
    for layer in ("0", "2"):
        text = texts(run("load_balance", k_layer=layer))
        means[layer] = float(text.partition(f"In layer {layer}, a token runs ")[2].split()[0])
    assert means["2"] - means["0"] == pytest.approx(2, abs=0.4)


def test_prompts_shows_how_many_experts_each_token_runs(trace: Path) -> None:
    assert "Bars: how many experts each token runs in layer 0" in texts(run("prompts"))


def test_where_k_is_fixed_nothing_of_it_is_shown(folder: Path) -> None:
    write_tiny_trace(folder / "tiny.duckdb")
    app = run("load_balance")
    assert all(box.key != "k_layer" for box in app.selectbox)
    assert "varies from token to token" not in texts(app)
    assert "Bars: how many experts" not in texts(run("prompts"))


@pytest.mark.parametrize("page", ["overview", "specialization", "coactivation", "vocabulary"])
def test_the_other_pages_say_that_k_varies_or_stand_it(trace: Path, page: str) -> None:
    app = run(page)
    if page == "overview":
        assert SAID in texts(app)


def test_the_csv_has_the_tokens_by_k_and_the_means_with_their_tests(trace: Path) -> None:
    opened = open_trace(workspace.trace_file(trace))
    tables = export.tables(opened)
    counts = pd.read_csv(io.StringIO(csv_text(tables["tokens_by_k"][1]())))
    assert counts.tokens.sum() == opened.info.num_tokens * LAYERS
    assert (counts.k.min(), counts.k.max()) == (LEAST, MOST)
    means = pd.read_csv(io.StringIO(csv_text(tables["experts_per_token"][1]())))
    assert len(means) == 3 * (1 + LAYERS)
    assert {"estimate", "low", "high", "null", "p", "q"} <= set(means)
    assert means.q.notna().all()


def test_a_trace_of_fixed_k_exports_counts_and_no_means(folder: Path) -> None:
    write_tiny_trace(folder / "tiny.duckdb")
    opened = open_trace(workspace.trace_file(folder / "tiny.duckdb"))
    tables = export.tables(opened)
    assert tables["tokens_by_k"][1]().k.unique().tolist() == [2]
    assert "experts_per_token" not in tables
    assert opened.k_range == (2, 2)
