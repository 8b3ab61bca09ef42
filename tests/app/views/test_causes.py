"""The page Causes and its figures, on a trace whose causes are written by hand."""

from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from analysis.cause_tests import Tally, with_q, with_verdicts
from app.sidecars import CAUSES
from app.studies import ablation, cause_words, claims
from app.studies.shipped_causes import adopt, ship
from app.views.causes.figures import cause_rows, change_lines, change_points, verdict_bars
from app.views.shared.theme import DARK, LIGHT, Palette
from app.views.specialization import specialists
from data.sidecar import Sidecar, read_sidecar, sidecar_path
from tests.app.pages import page, texts
from tests.cause_rows import cause_rows as rows_of
from tests.sidecars import info_of, write_earlier
from tests.traces import write_empty_trace, write_tiny_trace


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_a_row_a_specialist_with_its_interval_and_verdict(palette: Palette) -> None:
    table = pd.concat(
        [rows_of(0), rows_of(1, p=None, known=False), rows_of(2, p=None, num_controls=2)],
        ignore_index=True,
    )
    figure = cause_rows(with_verdicts(table), palette)
    assert [trace.name for trace in figure.data] == [
        "own domain", "other domains", "own domain, as many choices of comparable experts"
    ]  # fmt: skip
    assert list(figure.data[0].x) == [0.5, 0.5, 0.5]
    assert list(figure.data[0].error_x.array) == pytest.approx([0.1, 0, 0.1])
    assert "(no effect: 0)<br>p 0.01, q 0.01" in figure.data[0].hovertext[0]
    assert "+0.1000 nats per choice, 30 choices" in figure.data[0].hovertext[0]
    assert "12 texts in 6 groups, 60 tokens" in figure.data[0].hovertext[0]
    assert "too few texts" in figure.data[0].hovertext[1]
    assert [note.text for note in figure.layout.annotations] == [
        "confirmed", "too few texts", "nothing comparable"
    ]  # fmt: skip


def test_experiments_have_a_line_or_a_point_a_domain() -> None:
    rows = [
        {"value": value, "domain": domain, "estimate": value / 10, "low": 0.0, "high": 1.0}
        | {"p": 0.01, "n_groups": 5, "n_documents": 9, "n_tokens": 90}
        for value in (1, 2)
        for domain in ("math", "code", "all")
    ]
    table = with_q(pd.DataFrame(rows), family="value")
    lines = change_lines(table, LIGHT, title="masked").data
    assert {line.name: list(line.x) for line in lines} == {"math": [1, 2], "code": [1, 2]}
    assert list(change_points(table[table.value == 1], LIGHT).data[0].x) == [0.1, 0.1]


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A trace with room for experts that rows are written of by hand."""
    path = tmp_path / "t.duckdb"
    write_empty_trace(path, num_layers=1, num_experts=32)
    return path


def test_another_run_adds_rows_and_replaces_an_expert_measured_again(measured: Path) -> None:
    info = info_of(measured)
    ablation.store(measured, info, rows_of(0), {})
    ablation.store(measured, info, rows_of(1), {})
    rows = ablation.store(measured, info, rows_of(0, p=0.5), {})
    assert rows.groupby("expert_id").verdict.first().to_dict() == {
        0: "not confirmed", 1: "confirmed"
    }  # fmt: skip
    assert ablation.stored(measured, replace(info, trace_id="another")) is None


def test_the_verdict_counts_all_that_was_ever_tried_on_the_trace(measured: Path) -> None:
    info = info_of(measured)
    assert set(ablation.store(measured, info, rows_of(0, p=0.02), {}).verdict) == {"confirmed"}
    ablation.store(measured, info, rows_of(1, p=0.9), {})
    rows = ablation.store(measured, info, rows_of(2, p=0.9), {})  # q is 0.06 now
    assert set(rows.verdict) == {"not confirmed"}


def test_what_an_earlier_version_measured_is_not_used(measured: Path) -> None:
    info = info_of(measured)
    old = pd.DataFrame({"layer_id": [0], "expert_id": [0], "group": ["own"], "verdict": ["x"]})
    write_earlier(measured, CAUSES, old, model_sha256=info.model_sha256, format=2)
    assert ablation.stored(measured, info) is None
    ablation.store(measured, info, rows_of(1), {})
    known = ablation.stored(measured, info)
    assert known is not None
    assert set(known.expert_id) == {1}


def test_a_measurement_on_fewer_tokens_does_not_replace_a_larger_one(measured: Path) -> None:
    info = info_of(measured)
    ablation.store(measured, info, rows_of(0), {})
    smaller = rows_of(0, p=None, known=False).assign(n_tokens=30)
    assert set(ablation.store(measured, info, smaller, {}).verdict) == {"confirmed"}


def test_bars_count_the_verdicts_of_a_domain() -> None:
    table = pd.concat([rows_of(0), rows_of(1), rows_of(2, p=0.5)], ignore_index=True)
    figure = verdict_bars(with_verdicts(table), LIGHT)
    assert {bar.name: list(bar.x) for bar in figure.data} == {
        "confirmed": [2],
        "not confirmed": [1],
    }


def test_a_specialist_carries_its_verdict() -> None:
    specialist = pd.DataFrame({"layer_id": 0, "expert_id": [0, 1], "domain": "math"})
    causes = with_verdicts(rows_of(0))
    tested = ablation.with_verdicts(specialist, causes)
    assert list(tested.verdict) == ["confirmed", "not tested"]
    assert set(ablation.with_verdicts(specialist, None).verdict) == {"not tested"}
    told = cause_words.of_expert(causes, layer_id=0, expert_id=0)
    assert "changes by +0.5000 nats per token (+0.4000 to +0.6000), +0.1000 per choice" in told
    assert told.endswith(": confirmed.")
    assert cause_words.of_expert(causes, layer_id=0, expert_id=1) == ""
    assert "Left out: 1 of 2" in specialists.causes_note(tested, causes)
    assert specialists.causes_note(tested, None) == ""


def test_beside_the_confirmed_stands_how_often_the_rule_confirms_without_reason() -> None:
    table = pd.concat(
        [
            *(rows_of(expert) for expert in range(4)),
            rows_of(4, p=0.9),
            rows_of(5, p=None, num_controls=2),
            rows_of(6, p=None, known=False),
            rows_of(7, claimed=False),
            *(rows_of(expert, p=0.9, claimed=False) for expert in range(8, 17)),
        ],
        ignore_index=True,
    )
    causes = with_verdicts(table)
    assert cause_words.headline(causes).startswith("Of 7 specialists left out, 4 are confirmed.")
    controls = {"with shuffled labels": Tally(200, 1), "of untrained": Tally(0, 0)}
    assert cause_words.beside(causes, controls) == (
        "The same rule confirms 80.0% (4 of 5) of the specialists judged, 10.0% (1 of 10) of "
        "experts without a claim that are chosen as often. On the shipped model: 0.5% (1 of 200) "
        "with shuffled labels."
    )
    assert cause_words.beside(causes[:0], {"of untrained": Tally(0, 0)}) == ""
    assert "1 for fewer than 5 comparable experts" in cause_words.undecided(causes)
    assert cause_words.undecided(causes).endswith("1 for not enough independent texts to say.")
    assert cause_words.undecided(with_verdicts(rows_of(0))) == ""


def test_controls_come_with_the_model(tmp_path: Path) -> None:
    assert ablation.shipped_controls(tmp_path) == {}
    rows = {"control": ["shuffled", "shuffled", "untrained"], "tested": [50, 50, 20]}
    pd.DataFrame(rows | {"confirmed": [0, 1, 3]}).to_csv(
        tmp_path / "causes_controls.csv", index=False
    )
    assert ablation.shipped_controls(tmp_path) == {
        "shuffled": Tally(100, 1),
        "untrained": Tally(20, 3),
    }


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
    targets = claims.targets_of(lifts, [(0, 1), (0, 0)], top=1)
    assert targets == [(0, 1, "math"), (0, 0, "math")]
    assert claims.targets_of(lifts, None, top=1) == [(0, 1, "math")]
    with pytest.raises(ValueError, match="0:2 is never chosen"):
        claims.targets_of(lifts, [(0, 2)], top=1)
    with pytest.raises(ValueError, match="no specialist; name the experts"):
        claims.targets_of(lifts.assign(q=0.5), None, top=1)


def test_what_was_measured_comes_with_the_model(tmp_path: Path) -> None:
    model, fresh = tmp_path / "model", tmp_path / "fresh" / "tiny.duckdb"
    for path in (model, fresh.parent):
        path.mkdir()
    write_tiny_trace(tmp_path / "tiny.duckdb")
    model_sha256 = info_of(tmp_path / "tiny.duckdb").model_sha256
    ship(model, tmp_path / "tiny.duckdb", rows_of(), {"model_sha256": model_sha256, "seed": 3})
    assert ablation.stored(model / "tiny.duckdb", info_of(tmp_path / "tiny.duckdb")) is None
    write_tiny_trace(fresh)
    with duckdb.connect(str(fresh)) as con:
        con.execute("UPDATE trace SET trace_id = 'fresh'")
    adopt(tmp_path / "none", fresh)
    assert ablation.stored(fresh, info_of(fresh)) is None
    adopt(model, fresh)
    causes = read_sidecar(fresh, CAUSES, of=info_of(fresh))
    assert isinstance(causes, Sidecar)
    assert (causes.parameters["trace_id"], causes.parameters["seed"]) == ("fresh", 3)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trace SET model_sha256 = repeat('b', 64)",
        "UPDATE document SET sha256 = repeat('b', 64) WHERE doc_id = 1",
        "UPDATE document SET domain = 'law' WHERE doc_id = 1",
        "UPDATE document SET \"group\" = 'book' WHERE doc_id = 1",
    ],
)
def test_what_was_measured_on_another_model_or_other_texts_is_not_taken_over(
    tmp_path: Path, change: str
) -> None:
    path = tmp_path / "tiny.duckdb"
    write_tiny_trace(path)
    (tmp_path / "model").mkdir()
    ship(tmp_path / "model", path, rows_of(), {"model_sha256": info_of(path).model_sha256})
    with duckdb.connect(str(path)) as con:
        con.execute(change)
    adopt(tmp_path / "model", path)
    assert not sidecar_path(path, CAUSES).exists()


@pytest.mark.slow
def test_the_page_shows_many_by_domain(traces: Path) -> None:
    path = traces / "tiny.duckdb"
    write_tiny_trace(path, num_experts=12)
    info = info_of(path)
    many = pd.concat([rows_of(expert) for expert in range(12)], ignore_index=True)
    ablation.store(path, info, many, {})
    app = page("causes")
    assert not app.exception
    assert "Of 12 specialists left out, 12 are confirmed" in texts(app)
    assert "Shown: 8 of 12" in texts(app)
    assert "The same rule confirms 100.0% (12 of 12) of the specialists judged" in texts(app)
    table = ablation.stored(path, info)
    assert table is not None
    assert [*table.columns[5:10]] == ["estimate", "low", "high", "p", "q"]


def test_experts_are_named_by_layer_and_number(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    write_tiny_trace(path)
    info = info_of(path)
    assert claims.parse_experts("0:1, 0:0", info) == [(0, 1), (0, 0)]
    for wrong, line in (("x", "not LAYER:EXPERT"), ("0:999", "there is no expert 0:999")):
        with pytest.raises(ValueError, match=line):
            claims.parse_experts(wrong, info)


@pytest.mark.slow
def test_the_page_says_what_to_do_and_that_the_model_is_another(traces: Path, model: Path) -> None:
    write_tiny_trace(traces / "tiny.duckdb")
    app = page("causes")
    assert not app.exception
    said = app.info[0].value.replace("\\", "")
    assert said.startswith("No expert of this trace can be left out here: the trace was made by")
    assert said.endswith("name its folder with --model.")


@pytest.mark.slow
def test_the_page_shows_what_is_stored(traces: Path) -> None:
    path = traces / "tiny.duckdb"
    write_tiny_trace(path)
    ablation.store(path, info_of(path), rows_of(), {"seed": 0})
    assert sidecar_path(path, CAUSES).is_file()
    app = page("causes")
    assert not app.exception
    assert "The specialist left out is confirmed" in texts(app)
    (row,) = app.dataframe[0].value.to_dict("records")  # the verdict stands among the first
    assert list(row)[:4] == ["layer_id", "expert_id", "domain", "verdict"]
