"""The page Load balance: loads of experts, and how many run for a token."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.domain_counts import ALL_LAYERS
from analysis.expert_loads import expert_load_table
from analysis.experts_per_token import k_histogram
from analysis.groups import NOT_ENOUGH
from app import evidence
from app.views.load_balance import experts_figures
from app.views.load_balance import figures as load
from app.views.shared import intervals
from app.views.shared.theme import LIGHT
from data.report import csv_text
from tests.app.incomplete_traces import open_case
from tests.app.pages import page, texts, words
from tests.app.views.shared.heatmaps import cells


def loads(tokens_LE: np.ndarray, documents: int = 12) -> pd.DataFrame:
    """Of so many documents that are all alike but for a choice of experts 0 and 1."""
    tokens_NLE = np.tile(tokens_LE, (documents, 1, 1))
    tokens_NLE[::2, :, 0] += tokens_LE[:, 0] > 1
    table = expert_load_table(tokens_NLE, np.zeros(documents, int))
    return table.assign(n_documents=documents + 3)  # three groups are of two texts


def test_the_load_heatmap_is_relative_to_balanced_and_marks_the_dead() -> None:
    tokens_LE = np.array([[8, 4, 4, 0]])
    order_LE = load.load_order(tokens_LE, by_load=True)
    table = loads(tokens_LE)
    figure = load.load_heatmap(tokens_LE, table, LIGHT, order_LE=order_LE, by_load=True)
    assert figure.data[0].z.tolist() == [[1.0, 0.0, 0.0, -3.0]]  # 8 is twice the mean of 4
    cross = figure.data[-1]
    assert (cross.x.tolist(), cross.y.tolist()) == ([3], [0])


def test_a_cell_of_the_load_heatmap_has_its_interval_its_null_and_its_mark() -> None:
    tokens_LE = np.array([[8, 4, 4, 0]])
    order_LE = load.load_order(tokens_LE, by_load=False)
    table = loads(tokens_LE)
    cells, text, hatched, dots, _ = load.load_heatmap(
        tokens_LE, table, LIGHT, order_LE=order_LE, by_load=False
    ).data
    assert re.search(r"<b>2\.06×</b> \(\d\.\d\d\N{EN DASH}\d\.\d\d×\), balanced 1×", text.text[0])
    assert re.search(r"p [^,]+, q .*15 texts in 12 groups, 102 choices", text.text[0])
    assert dots.x.tolist() == [0, 1, 2]
    few = loads(tokens_LE, documents=3)
    cells, _, hatched, dots, _ = load.load_heatmap(
        tokens_LE, few, LIGHT, order_LE=order_LE, by_load=False
    ).data
    assert hatched.x.tolist() == [0, 1, 2]  # the fourth is dead: a cross says so
    assert np.isnan(cells.z[0, :3]).all()
    assert NOT_ENOUGH in load.load_text(next(few.itertuples()))


def test_a_layer_without_tokens_is_empty_and_says_so() -> None:
    tokens_LE = np.array([[1, 3], [0, 0]])
    order_LE = load.load_order(tokens_LE, by_load=False)
    table = loads(tokens_LE)
    figure = load.load_heatmap(tokens_LE, table, LIGHT, order_LE=order_LE, by_load=False)
    assert np.isnan(figure.data[0].z[1]).all()
    assert len(figure.data[-1].x) == 0  # no cross: nothing could choose its experts
    assert "no token was routed in this layer" in figure.data[1].text[3]
    assert "nan" not in figure.data[1].text[3]


def test_load_in_order_of_number_keeps_the_ids() -> None:
    order_LE = load.load_order(np.array([[1, 9]]), by_load=False)
    assert order_LE.tolist() == [[0, 1]]


def means_by_k() -> pd.DataFrame:
    """Two domains, two layers; code runs 4 and 5 experts, math 2 and 3."""
    rows = [
        (layer, domain, k + max(layer, 0), k - 0.5, k + 0.5, 3.0, q, 9, 4, 90, "")
        for layer in (ALL_LAYERS, 0, 1)
        for domain, k, q in (("math", 2.0, 0.2), ("code", 4.0, 0.01))
    ]
    names = ["layer_id", "domain", "estimate", "low", "high", "null", "q"]
    table = pd.DataFrame(rows, columns=[*names, "n_documents", "n_groups", "n_tokens", "note"])
    return table.assign(p=table.q)


def test_ridges_stand_on_their_rows_and_are_square_roots() -> None:
    counts = pd.DataFrame({"domain": ["math", "math", "code"], "k": [1, 3, 4], "tokens": [1, 1, 4]})
    table = means_by_k()
    means = table[table.layer_id == ALL_LAYERS]
    figure = experts_figures.k_ridges(k_histogram(counts), means, LIGHT)
    math, code = (bar for bar in figure.data if bar.type == "bar")
    assert math.x.tolist() == code.x.tolist() == [1, 2, 3, 4]
    assert (math.y / code.y.min()).tolist() == pytest.approx([0.5**0.5, 0, 0.5**0.5, 0])
    assert code.base - math.base == pytest.approx(1)
    assert math.customdata[0] == "math, 1 expert<br><b>50.0%</b>, 1 tokens × layers"
    assert [note.text for note in figure.layout.annotations[1:5]] == [
        "<b>2.0</b>",
        f"1.5{intervals.DASH}2.5",
        "<b>4.0</b>",
        f"3.5{intervals.DASH}4.5",
    ]


def test_mean_k_is_a_row_a_domain_and_a_dot_where_sure() -> None:
    figure = experts_figures.mean_k_heatmap(means_by_k(), LIGHT)
    assert figure.data[0].text.tolist() == [["2.0", "3.0"], ["4.0", "5.0"]]
    assert figure.data[-1].x.tolist() == [0, 1]
    assert figure.data[-1].y.tolist() == [1.3, 1.3]  # code, below its number
    assert "q 0.01<br>9 texts in 4 groups, 90 tokens" in figure.data[1].text[2]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (2, 5)


def test_k_of_a_text_stands_over_its_tokens() -> None:
    figure = cells(np.zeros((2, 3)))
    k_TL = np.array([[1, 3], [2, 2], [4, 0]])
    experts_figures.add_k(figure, k_TL, LIGHT, tokens=["a", "b", "c"], layer_id=0)
    bars, line = figure.data[-2:]
    assert bars.y.tolist() == [1, 2, 4]
    assert line.y.tolist() == [2, 2, 2]
    assert figure.layout.yaxis.domain[1] < figure.layout.yaxis2.domain[0]


@pytest.mark.slow
def test_load_of_one_domain(traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("load_balance")
    assert app.metric[0].value == "2.00×"  # 8 / 4 in layer 0
    assert (
        "against 1.00× in layer 1. Over all layers, 1 of 8 experts is dead, where a balanced "
        "router would leave out 0.031."
    ) in texts(app)
    app.selectbox(key="domain").set_value("code").run()
    assert not app.exception
    assert "6 choices per layer" in texts(app)  # 3 tokens, 2 experts each


@pytest.mark.slow
def test_the_loads_of_experts_are_tested_together_and_leave_as_they_are_shown(
    incomplete_traces: Path,
) -> None:
    shown = words(page("load_balance", trace="two_documents"))
    assert "(16 experts tested at once, Benjamini-Hochberg)" in shown  # 2 layers of 8
    assert "balanced 1\\u00d7" in shown  # in the JSON of the figure
    trace = open_case("two_documents", incomplete_traces)
    table = evidence.expert_loads(trace, "long")
    assert set(table.note) == {NOT_ENOUGH}  # two documents
    assert table.n_tokens.sum() == 2 * 40 * 2 * 2
    head = csv_text(evidence.expert_loads(trace)[[*evidence.LOAD_COLUMNS]]).splitlines()[0]
    assert head.replace('"', "") == (
        "layer_id,expert_id,estimate,low,high,p,q,n_documents,n_groups,n_tokens,note"
    )


def test_the_switch_leaves_only_the_experts_that_are_sure() -> None:
    tokens_LE = np.array([[8, 4, 4, 4]])
    table = loads(tokens_LE).assign(q=[0.01, 0.2, 0.04, np.nan])
    order_LE = load.load_order(tokens_LE, by_load=False)
    shown = load.load_heatmap(
        tokens_LE, table, LIGHT, order_LE=order_LE, by_load=False, only_sure=True
    )
    assert np.isnan(shown.data[0].z).tolist() == [[False, True, False, True]]
    assert shown.data[1].x.tolist() == [0, 1, 2, 3]  # all can still be pointed at


def test_experts_not_chosen_are_filled_where_crosses_would_touch() -> None:
    tokens_LE = np.full((1, 200), 4)
    tokens_LE[0, 150] = 0
    figure = load.load_heatmap(
        tokens_LE,
        loads(tokens_LE),
        LIGHT,
        order_LE=load.load_order(tokens_LE, by_load=False),
        by_load=False,
    )
    filled = figure.data[-1]
    assert filled.colorscale[1][1] == LIGHT.text
    assert np.argwhere(filled.z == 1).tolist() == [[0, 150]]
