"""Traces that cannot show everything: pages and tables show what makes sense and say the rest."""

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from analysis import domain_counts
from app import evidence, workspace
from app.jobs import beside
from app.jobs.queue import Job
from app.trace import Trace, open_trace
from app.views.export import tables
from app.views.load_balance import summary
from data.report import csv_text
from data.routing import NO_EXPERT, Document, RoutingBatch
from data.store import TraceStore
from tests.routing_batches import batch_of, description

ROOT = Path(__file__).parents[2]
PAGES = ("overview", "specialization", "load_balance", "export")
LIFT_CSV = (
    "layer_id,expert_id,domain,estimate,low,high,p,q,n_documents,n_tokens,smallest_detectable,note"
)
METRIC_CSV = "layer_id,metric,estimate,corrected,low,high,null,p,q,n_documents,n_tokens,note"

Write = Callable[[Path], None]
Edit = Callable[[RoutingBatch], RoutingBatch]


def written(
    domains: list[str | None], *, tokens: int = 40, experts: int = 8, top_k: int = 2
) -> Write:
    """A trace of random routing, a document a domain given."""
    return edited(domains, lambda batch: batch, tokens=tokens, experts=experts, top_k=top_k)


def edited(
    domains: list[str | None],
    edit: Edit,
    *,
    tokens: int = 40,
    experts: int = 8,
    top_k: int = 2,
    varies: bool = False,
) -> Write:
    def write(path: Path) -> None:
        rng = np.random.default_rng(0)
        told = description(experts=experts, top_k=None if varies else top_k)
        with TraceStore.create(path, told) as store:
            for doc_id, domain in enumerate(domains):
                ids_TLK = rng.random((tokens, 2, experts)).argsort(-1)[..., :top_k]
                batch = batch_of([doc_id] * tokens, ids_TLK)
                document = Document(doc_id=doc_id, text=f"text {doc_id}", domain=domain)
                store.write(edit(replace(batch, documents=(document,))))

    return write


def without_weights(batch: RoutingBatch) -> RoutingBatch:
    unknown = np.full_like(batch.weights_TLK, np.nan)
    return replace(batch, weights_TLK=unknown, entropy_TL=None, margin_TL=None)


def with_fewer(batch: RoutingBatch) -> RoutingBatch:
    """Every other token chooses one expert less."""
    ids_TLK = batch.expert_ids_TLK.copy()
    ids_TLK[::2, :, -1] = NO_EXPERT
    return replace(batch, expert_ids_TLK=ids_TLK)


def without_a_layer(batch: RoutingBatch) -> RoutingBatch:
    ids_TLK = batch.expert_ids_TLK.copy()
    ids_TLK[:, 1] = NO_EXPERT
    return replace(batch, expert_ids_TLK=ids_TLK)


def with_a_dead_expert(batch: RoutingBatch) -> RoutingBatch:
    """Expert 7 takes the place of none: who chose it chooses another that was free."""
    ids_TLK = batch.expert_ids_TLK.copy()
    rows = np.argwhere(ids_TLK == 7)
    for token, layer, rank in rows:
        taken = set(ids_TLK[token, layer].tolist())
        ids_TLK[token, layer, rank] = min(set(range(7)) - taken)
    return replace(batch, expert_ids_TLK=ids_TLK)


TWO = [*["math"] * 6, *["code"] * 6]
CASES: dict[str, tuple[Write, str]] = {
    "one_domain": (written(["math"] * 6), "All documents are of one domain"),
    "one_document": (written(["math"]), "1 text: not enough prompts to say how sure"),
    "one_token": (written(["math"], tokens=1), "All documents are of one domain"),
    "no_labels": (written([None] * 6), "Label documents of two or more in a domain column"),
    "two_documents": (written([*TWO, "long", "long"]), "long has fewer than 5 documents (2)"),
    "one_document_each": (written(["math", "code"]), "math has fewer than 5 documents (1)"),
    "top_1": (written(TWO, top_k=1), ""),
    "all_chosen": (written(TWO, experts=4, top_k=4), "Every token chooses every expert (k = E)"),
    "one_expert": (written(TWO, experts=1, top_k=1), "Every token chooses every expert (k = E)"),
    "dead_expert": (edited(TWO, with_a_dead_expert), "never chosen: no lift, and not tested"),
    "dead_layer": (edited(TWO, without_a_layer, varies=True), "No token was routed in layer 1"),
    "ids_only": (edited(TWO, without_weights), "expert ids without mixing weights"),
    "varying_k": (edited(TWO, with_fewer, varies=True), "varies from token to token"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    for name, (write, _) in CASES.items():
        write(folder / f"{name}.duckdb")
    return folder


@pytest.fixture
def traces(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROUTESCOPE_TRACES", str(files))
    monkeypatch.setenv("ROUTESCOPE_MODEL", str(tmp_path / "none"))
    monkeypatch.setattr(beside, "project", lambda trace: None)
    return files


def opened(name: str, traces: Path) -> Trace:
    return open_trace(workspace.trace_file(traces / f"{name}.duckdb"))


def page(name: str, trace: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app" / "streamlit_app.py"), default_timeout=60)
    for key, value in {"trace": trace, **query}.items():
        app.query_params[key] = value
    app._page_hash = calc_hash("" if name == "overview" else name)  # switch_page would run two
    return app.run()


def words(app: AppTest) -> str:
    """All text of a page and its figures, without the method: that one explains what NaN means."""
    html = [element.proto.body for element in app.get("html")]
    numbers = [f"{metric.label} {metric.value} {metric.delta}" for metric in app.metric]
    marked = [
        element.value for element in [*app.markdown, *app.info] if "#####" not in element.value
    ]
    charts = [element.proto.spec for element in app.get("plotly_chart")]
    return " ".join(map(str, [*html, *numbers, *marked, *charts]))


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("case", CASES)
def test_a_page_shows_what_makes_sense(case: str, name: str, traces: Path) -> None:
    app = page(name, case)
    assert not app.exception
    assert not app.error
    shown = words(app)
    assert CASES[case][1] in shown or name == "export"
    assert not re.search(r"\b(nan|NaN|inf|Infinity|<NA>|None)\b", shown)


@pytest.mark.parametrize("case", CASES)
def test_no_table_has_a_number_that_is_none(case: str, traces: Path) -> None:
    trace = opened(case, traces)
    for name, (_, table) in tables.tables(trace).items():
        frame = table()
        numbers = frame.select_dtypes("number").to_numpy(float, na_value=0.0)
        assert not np.isinf(numbers).any(), name
        assert not re.search(r"(^|,)\"?-?(nan|inf|<NA>|None)\"?(,|$)", csv_text(frame), re.M), name


@pytest.mark.parametrize("case", CASES)
def test_whatever_has_no_number_has_a_reason(case: str, traces: Path) -> None:
    trace = opened(case, traces)
    for of in (evidence.lifts, evidence.metrics, evidence.expert_loads):
        table = of(trace)
        assert (table.note[table.estimate.isna()] != "").all()
        assert table.estimate[table.low.notna()].notna().all()


def test_load_of_a_domain_is_that_of_its_documents(traces: Path) -> None:
    trace = opened("two_documents", traces)
    table = evidence.domain_metrics(trace)
    long = table[table.domain == "long"]
    assert set(long.n_documents) == {2}
    assert set(long.n_tokens) == {80}
    assert set(table.metric) == set(evidence.LOAD_METRICS)


def test_a_layer_without_tokens_counts_none(traces: Path) -> None:
    trace = opened("dead_layer", traces)
    table = evidence.metrics(trace)
    assert table.groupby("layer_id").n_tokens.first().tolist() == [480, 0]
    imbalance = table[table.metric == "load_imbalance"].set_index("layer_id").loc[1]
    assert imbalance.note.startswith("layer 1 has no routed tokens")
    assert summary.dead(table, num_experts=8) == ("Dead experts", "0", "of 8")


def test_the_mean_over_layers_skips_those_without_a_number() -> None:
    numbers = pd.DataFrame(
        {"estimate": [0.1, 0.3, None], "low": [0.0, 0.2, None], "high": [0.2, 0.4, None]}
    )
    table = numbers.astype("Float64").assign(metric="gini", null=0.0)
    mean = domain_counts.mean_over_layers(table, "gini")
    assert mean.round(9).tolist() == [0.2, 0.1, 0.3, 0.0]


def test_sure_and_unsaid_experts_are_counted_by_domain() -> None:
    tokens_LEG = np.array([[[900, 100], [100, 900], [500, 500]]])
    lifts = pd.DataFrame(
        {
            "layer_id": 0,
            "domain": ["math", "code"] * 3,
            "estimate": [0.85, -2.3, -2.3, 0.85, 0.0, 0.9],
            "low": [0.5, -3.0, -3.0, None, -0.1, -0.1],
            "q": [0.01, 0.01, 0.01, 0.01, 0.9, 0.01],
            "note": ["", "", "", "", "not enough prompts to say", ""],
            "n_documents": [9, 8] * 3,
        }
    )
    table = domain_counts.experts_per_domain(tokens_LEG, lifts, ("math", "code"))
    table = table.set_index("domain")
    assert table.experts.tolist() == [1, 1, 1]
    assert table.significant.tolist()[:2] == [1, 0]  # code: no interval, and one that reaches 1×
    assert table.not_enough.tolist()[:2] == [1, 0]
    assert table.n_documents.tolist()[:2] == [9, 8]
    assert table.loc["none"].isna().sum() == 3


def test_counts_of_experts_leave_with_their_intervals(traces: Path) -> None:
    trace = opened("two_documents", traces)
    whole, by_layer = evidence.counted_experts(trace)
    assert list(whole) == [*evidence.COUNT_COLUMNS]
    assert list(by_layer) == ["layer_id", *evidence.COUNT_COLUMNS]
    assert whole.experts.sum() == by_layer.experts.sum() == 2 * 8  # layers, experts
    assert whole.null.sum() == pytest.approx(16)
    known = whole[whole.p.notna() & (whole.domain != "none")]
    assert (known.low <= known.experts).all()
    assert (known.high >= known.experts).all()


def test_the_zip_says_how_it_was_tested(traces: Path) -> None:
    trace = opened("top_1", traces)
    path = tables.build_zip(Job("zip"), trace, raw=False)
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("manifest.json"))["statistics"]
        heads = {name: archive.read(name).decode().splitlines()[0] for name in archive.namelist()}
    assert told["family_size"] == 2 * 8 * 2  # layers, experts, domains
    assert (told["seed"], told["sample"], told["resamples"]) == (0, "document", 1000)
    assert heads["expert_domain_lift.csv"].replace('"', "") == LIFT_CSV
    assert heads["specialists.csv"].replace('"', "") == f"{LIFT_CSV},verdict"
    assert heads["load_by_layer.csv"].replace('"', "") == METRIC_CSV
    assert heads["load_by_layer_and_domain.csv"].replace('"', "") == f"domain,{METRIC_CSV}"
    assert heads["specialization_by_layer.csv"].replace('"', "") == METRIC_CSV


def test_the_page_says_how_many_cells_were_tested_and_what_it_does_not_show(traces: Path) -> None:
    shown = words(page("specialization", "two_documents"))
    assert "(48 cells tested at once, Benjamini-Hochberg)" in shown  # 2 layers, 8 experts, 3
    assert "go together, not why" in shown
    assert "80 of 100 such traces would find a lift of" in shown


def test_a_trace_without_domains_still_has_the_card_of_an_expert(traces: Path) -> None:
    app = page("specialization", "no_labels", layer="1", expert="3")
    assert app.subheader[0].value == "Expert 3 of layer 1"
    assert app.metric[0].label == "Load"
    assert re.fullmatch(r"\d\.\d\d\N{EN DASH}\d\.\d\d×, balanced 1×, q \S+", app.metric[0].delta)


def test_the_page_shows_the_definitions_of_paper_and_released_code_beside_ours(
    traces: Path,
) -> None:
    app = page("specialization", "top_1")
    (table,) = [element.value for element in app.markdown if "side by side" in element.value]
    assert "| metric | case | paper | released code | RouteScope |" in table
    for metric in ("domain specialization (OLMoE)", "gate score (ESFT)", "selection (ESFT)"):
        assert f"| {metric} |" in table
    assert "balancedness" not in table


def test_the_loads_of_experts_are_tested_together_and_leave_as_they_are_shown(traces: Path) -> None:
    shown = words(page("load_balance", "two_documents"))
    assert "(16 experts tested at once, Benjamini-Hochberg)" in shown  # 2 layers of 8
    assert "balanced 1\\u00d7" in shown  # in the JSON of the figure
    trace = opened("two_documents", traces)
    table = evidence.expert_loads(trace, "long")
    assert set(table.note) == {"not enough prompts to say"}  # two documents
    assert table.n_tokens.sum() == 2 * 40 * 2 * 2
    head = csv_text(evidence.expert_loads(trace)[[*evidence.LOAD_COLUMNS]]).splitlines()[0]
    assert head.replace('"', "") == (
        "layer_id,expert_id,estimate,low,high,p,q,n_documents,n_tokens,note"
    )
