"""The page Causes and its figures, on a trace whose causes are written by hand."""

from pathlib import Path

import pandas as pd
import pytest

from analysis import queries
from app import ablation
from app.figures.causes import cause_rows, change_lines, change_points
from app.figures.theme import DARK, LIGHT
from data.sidecar import sidecar_path
from data.store import open_trace
from tests.test_app import model, page, texts, traces  # noqa: F401
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
def test_a_row_a_specialist_with_its_interval_and_verdict(palette):
    table = pd.concat([causes(0), causes(1, verdict="too little data", known=False)])
    figure = cause_rows(table, palette)
    assert [trace.name for trace in figure.data] == [
        "own domain", "other domains", "own domain, matched controls"
    ]  # fmt: skip
    assert list(figure.data[0].x) == [0.5, 0.5]
    assert list(figure.data[0].error_x.array) == pytest.approx([0.1, 0])
    assert "too few texts" in figure.data[0].hovertext[1]
    assert [note.text for note in figure.layout.annotations] == ["confirmed", "too little data"]


def test_experiments_have_a_line_or_a_point_a_domain():
    rows = [
        {"value": value, "domain": domain, "estimate": value / 10, "low": 0.0, "high": 1.0}
        | {"n_documents": 9, "n_tokens": 90}
        for value in (1, 2)
        for domain in ("math", "code", "all")
    ]
    table = pd.DataFrame(rows)
    lines = change_lines(table, LIGHT, title="masked").data
    assert {line.name: list(line.x) for line in lines} == {"math": [1, 2], "code": [1, 2]}
    assert list(change_points(table[table.value == 1], LIGHT).data[0].x) == [0.1, 0.1]


def test_another_run_adds_rows_and_replaces_an_expert_measured_again(tmp_path):
    trace = tmp_path / "t.duckdb"
    parameters = {"model_sha256": "a", "seed": 0}
    ablation.store(trace, causes(0), parameters)
    ablation.store(trace, causes(1), parameters)
    rows = ablation.store(trace, causes(0, verdict="not confirmed"), parameters)
    assert rows.groupby("expert_id").verdict.first().to_dict() == {
        0: "not confirmed", 1: "confirmed"
    }  # fmt: skip
    assert ablation.stored(trace, model_sha256="b") is None


def test_experts_are_named_by_layer_and_number(tmp_path):
    path = tmp_path / "t.duckdb"
    write_tiny_trace(path)
    with open_trace(path) as con:
        info = queries.trace_info(con)
    assert ablation.parse_experts("0:1, 0:0", info) == [(0, 1), (0, 0)]
    for wrong, line in (("x", "not LAYER:EXPERT"), ("0:999", "there is no expert 0:999")):
        with pytest.raises(ValueError, match=line):
            ablation.parse_experts(wrong, info)


def test_the_page_says_what_to_do_and_that_the_model_is_another(traces: Path, model: Path):  # noqa: F811
    write_tiny_trace(traces / "tiny.duckdb")
    app = page("causes")
    assert not app.exception
    assert "No expert of this trace was left out yet" in app.info[0].value
    assert any("the trace was made by model" in code.value for code in app.code)


def test_the_page_shows_what_is_stored(traces: Path):  # noqa: F811
    path = traces / "tiny.duckdb"
    write_tiny_trace(path)
    with open_trace(path) as con:
        model_sha256 = queries.trace_info(con).model_sha256
    ablation.store(path, causes(), {"model_sha256": model_sha256, "seed": 0})
    assert sidecar_path(path, "causes").is_file()
    app = page("causes")
    assert not app.exception
    assert "Of 1 specialists left out, 1 are confirmed" in texts(app)
    assert len(app.dataframe[0].value) == 5
