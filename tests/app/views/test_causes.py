"""The page Causes and its figures, on a trace whose causes are written by hand."""

from pathlib import Path

import pandas as pd
import pytest

from analysis import queries
from analysis.cause_tests import with_tests
from app.studies import ablation
from app.views.causes.figures import cause_rows, change_lines, change_points, verdict_bars
from app.views.shared.theme import DARK, LIGHT, Palette
from app.views.specialization import specialists
from data.sidecar import sidecar_path
from data.store import open_trace
from tests.app.pages import page, texts
from tests.traces import write_tiny_trace

GROUPS = ("own", "others", "controls", "own - others", "own - controls")


def causes(expert_id: int = 0, *, verdict: str = "confirmed", known: bool = True) -> pd.DataFrame:
    rows = {
        "layer_id": 0,
        "expert_id": expert_id,
        "domain": "math",
        "group": GROUPS,
        "estimate": [0.5, 0.1, 0.2, 0.4, 0.3],
        "low": [0.4, 0.0, 0.1, 0.2, 0.1] if known else None,
        "high": [0.6, 0.2, 0.3, 0.6, 0.5] if known else None,
        "n_documents": [6, 6, 6, 12, 6],
        "n_tokens": 60,
        "verdict": verdict,
        "controls": "1",
        "seed": 0,
    }
    return pd.DataFrame(rows).astype(dict.fromkeys(("estimate", "low", "high"), "Float64"))


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_a_row_a_specialist_with_its_interval_and_verdict(palette: Palette) -> None:
    table = pd.concat(
        [causes(0), causes(1, verdict="too little data", known=False)], ignore_index=True
    )
    figure = cause_rows(with_tests(table, family="group"), palette)
    assert [trace.name for trace in figure.data] == [
        "own domain", "other domains", "own domain, matched controls"
    ]  # fmt: skip
    assert list(figure.data[0].x) == [0.5, 0.5]
    assert list(figure.data[0].error_x.array) == pytest.approx([0.1, 0])
    assert "(no effect: 0)<br>p < 0.0001, q < 0.0001" in figure.data[0].hovertext[0]
    assert "too few texts" in figure.data[0].hovertext[1]
    assert [note.text for note in figure.layout.annotations] == ["confirmed", "too little data"]


def test_experiments_have_a_line_or_a_point_a_domain() -> None:
    rows = [
        {"value": value, "domain": domain, "estimate": value / 10, "low": 0.0, "high": 1.0}
        | {"n_documents": 9, "n_tokens": 90}
        for value in (1, 2)
        for domain in ("math", "code", "all")
    ]
    table = with_tests(pd.DataFrame(rows), family="value")
    lines = change_lines(table, LIGHT, title="masked").data
    assert {line.name: list(line.x) for line in lines} == {"math": [1, 2], "code": [1, 2]}
    assert list(change_points(table[table.value == 1], LIGHT).data[0].x) == [0.1, 0.1]


def test_another_run_adds_rows_and_replaces_an_expert_measured_again(tmp_path: Path) -> None:
    trace = tmp_path / "t.duckdb"
    parameters = {"model_sha256": "a", "seed": 0}
    ablation.store(trace, causes(0), parameters)
    ablation.store(trace, causes(1), parameters)
    rows = ablation.store(trace, causes(0, verdict="not confirmed"), parameters)
    assert rows.groupby("expert_id").verdict.first().to_dict() == {
        0: "not confirmed", 1: "confirmed"
    }  # fmt: skip
    assert ablation.stored(trace, model_sha256="b") is None


def test_a_measurement_on_fewer_tokens_does_not_replace_a_larger_one(tmp_path: Path) -> None:
    trace, parameters = tmp_path / "t.duckdb", {"model_sha256": "a"}
    ablation.store(trace, causes(0), parameters)
    smaller = causes(0, verdict="too little data").assign(n_tokens=30)
    assert set(ablation.store(trace, smaller, parameters).verdict) == {"confirmed"}


def test_bars_count_the_verdicts_of_a_domain() -> None:
    table = pd.concat([causes(0), causes(1), causes(2, verdict="not confirmed")])
    figure = verdict_bars(table, LIGHT)
    assert {bar.name: list(bar.x) for bar in figure.data} == {
        "confirmed": [2],
        "not confirmed": [1],
    }


def test_a_specialist_carries_its_verdict() -> None:
    found = pd.DataFrame({"layer_id": 0, "expert_id": [0, 1], "domain": "math"})
    assert list(ablation.with_verdicts(found, causes(0)).verdict) == ["confirmed", "not tested"]
    assert set(ablation.with_verdicts(found, None).verdict) == {"not tested"}
    told = specialists.ablation_note(causes(0), layer_id=0, expert_id=0)
    assert "changes by +0.5000 nats per token (+0.4000 to +0.6000): confirmed" in told
    assert "has not been tested" in specialists.ablation_note(causes(0), layer_id=0, expert_id=1)


def test_any_living_expert_can_be_named_and_a_dead_one_cannot() -> None:
    lifts = pd.DataFrame(
        {
            "layer_id": 0,
            "expert_id": [0, 0, 1, 1, 2, 2],
            "domain": ["math", "code"] * 3,
            "estimate": [0.1, -0.1, 1.0, -1.0, None, None],
            "low": [None, None, 0.8, None, None, None],
            "q": [0.5, 0.5, 0.01, 0.01, None, None],
            "n_tokens": [9, 8, 9, 3, 0, 0],
        }
    ).astype({"estimate": "Float64", "low": "Float64", "q": "Float64"})
    targets = ablation.targets_of(lifts, [(0, 1), (0, 0)], top=1)
    assert list(targets.expert_id) == [1, 0]
    assert set(targets.domain) == {"math"}
    assert list(ablation.targets_of(lifts, None, top=1).expert_id) == [1]
    with pytest.raises(ValueError, match="0:2 is never chosen"):
        ablation.targets_of(lifts, [(0, 2)], top=1)
    with pytest.raises(ValueError, match="no specialist; name the experts"):
        ablation.targets_of(lifts.assign(q=0.5), None, top=1)


def test_what_was_measured_comes_with_the_model(tmp_path: Path) -> None:
    ablation.store(tmp_path / "demo.duckdb", causes(), {"model_sha256": "a"})
    (tmp_path / "traces").mkdir()
    ablation.adopt(tmp_path, tmp_path / "traces" / "demo.duckdb")
    ablation.adopt(tmp_path / "none", tmp_path / "traces" / "other.duckdb")
    assert ablation.stored(tmp_path / "traces" / "demo.duckdb", model_sha256="a") is not None
    assert ablation.stored(tmp_path / "traces" / "demo.duckdb", model_sha256="b") is None
    assert not sidecar_path(tmp_path / "traces" / "other.duckdb", "causes").is_file()


@pytest.mark.slow
def test_the_page_shows_many_by_domain(traces: Path) -> None:
    path = traces / "tiny.duckdb"
    write_tiny_trace(path)
    with open_trace(path) as con:
        model_sha256 = queries.trace_info(con).model_sha256
    many = pd.concat([causes(expert) for expert in range(12)], ignore_index=True)
    ablation.store(path, many, {"model_sha256": model_sha256})
    app = page("causes")
    assert not app.exception
    assert "Of 12 specialists left out, 12 are confirmed" in texts(app)
    assert "Shown: 8 of 12" in texts(app)
    assert "over all 12 in each of the three comparisons: 12 confirmed." in texts(app)
    table = ablation.stored(path, model_sha256=model_sha256)
    assert table is not None
    assert [*table.columns[4:11]] == [
        "estimate",
        "low",
        "high",
        "p",
        "q",
        "n_documents",
        "n_tokens",
    ]


def test_experts_are_named_by_layer_and_number(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    write_tiny_trace(path)
    with open_trace(path) as con:
        info = queries.trace_info(con)
    assert ablation.parse_experts("0:1, 0:0", info) == [(0, 1), (0, 0)]
    for wrong, line in (("x", "not LAYER:EXPERT"), ("0:999", "there is no expert 0:999")):
        with pytest.raises(ValueError, match=line):
            ablation.parse_experts(wrong, info)


@pytest.mark.slow
def test_the_page_says_what_to_do_and_that_the_model_is_another(traces: Path, model: Path) -> None:
    write_tiny_trace(traces / "tiny.duckdb")
    app = page("causes")
    assert not app.exception
    assert "No expert of this trace has been left out yet" in app.info[0].value
    assert any("the trace was made by model" in code.value for code in app.code)


@pytest.mark.slow
def test_the_page_shows_what_is_stored(traces: Path) -> None:
    path = traces / "tiny.duckdb"
    write_tiny_trace(path)
    with open_trace(path) as con:
        model_sha256 = queries.trace_info(con).model_sha256
    ablation.store(path, causes(), {"model_sha256": model_sha256, "seed": 0})
    assert sidecar_path(path, "causes").is_file()
    app = page("causes")
    assert not app.exception
    assert "The specialist left out is confirmed" in texts(app)
    assert len(app.dataframe[0].value) == 5
