"""The page Specialization: lifts of experts, and the card of one."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.groups import NOT_ENOUGH
from app.views.shared.theme import LIGHT
from app.views.specialization import figures as specialization
from tests.app.markup import MARKUP
from tests.app.pages import page, words


def test_experts_come_in_groups_of_their_strongest_domain() -> None:
    lift_EG = np.array([[1.0, 2.0], [3.0, 0.5], [np.nan, np.nan], [1.5, 1.0]])
    assert specialization.domain_order(lift_EG).tolist() == [1, 3, 0, 2]  # the dead one last


def lifts() -> pd.DataFrame:
    """Expert 0 is significant for code, 1 undecided for math, 2 dead."""
    rows = [
        (0, "math", -1.0, -2.0, 0.5, 0.5, 0.6, ""),
        (0, "code", 1.0, 0.5, 1.5, 1e-6, 1e-5, ""),
        (1, "math", 2.0, None, None, 0.2, 0.3, NOT_ENOUGH),
        (1, "code", -9.0, None, None, 0.04, 0.06, ""),
        (2, "math", None, None, None, None, None, "never chosen"),
        (2, "code", None, None, None, None, None, "never chosen"),
    ]
    names = ["expert_id", "domain", "estimate", "low", "high", "p", "q", "note"]
    table = pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[2:-1], "Float64"))
    detectable = pd.array([0.5, 0.5, 0.9, 0.5, None, None], "Float64")
    return table.assign(layer_id=0, n_documents=40, n_groups=15, n_tokens=1234).assign(
        smallest_detectable=detectable
    )


def test_the_lift_heatmap_frames_the_chosen_expert_and_hatches_what_it_cannot_say() -> None:
    figure = specialization.lift_heatmap(
        lifts(), LIGHT, domains=["math", "code"], order_E=np.array([1, 0, 2]), marked=0
    )
    heatmap, _, hatched, dots = figure.data
    assert np.isnan(heatmap.z[:, 2]).all()  # dead
    assert np.isnan(heatmap.z[0, 0])  # not enough texts to say: no colour
    assert (heatmap.z[1, 0], heatmap.z[0, 1]) == (-3.0, -1.0)
    assert (list(hatched.x), list(hatched.base)) == ([0], [-0.5])
    assert hatched.marker.pattern.shape == "/"
    assert (list(dots.x), list(dots.y)) == ([1], [1])  # expert 0, code
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (0.5, 1.5)


def test_a_cell_says_all_that_is_known_of_it_and_no_more() -> None:
    _, significant, undecided, _, dead, _ = (
        specialization.lift_text(row) for row in lifts().replace("code", MARKUP).itertuples()
    )
    assert "<b>2.00×</b> (1.41\N{EN DASH}2.83×), by chance 1×" in significant  # 2**0.5 to 2**1.5
    assert "p < 0.0001, q < 0.0001<br>40 texts in 15 groups, 1,234 choices" in significant
    assert "<a" not in significant
    assert undecided.endswith("can detect: 1.87×<br><i>not enough independent texts to say</i>")
    assert dead == "expert 2, math<br>40 texts in 15 groups, 1,234 choices<br><i>never chosen</i>"


def test_bars_of_an_expert_have_intervals_and_pale_where_not_sure() -> None:
    figure = specialization.lift_bars(lifts().head(2), LIGHT)
    bars = figure.data[0]
    assert list(bars.error_x.array) == [1.5, 0.5]
    assert list(bars.error_x.arrayminus) == [1.0, 0.5]
    assert list(bars.marker.opacity) == [0.45, 1.0]
    assert [text.text for text in figure.layout.annotations] == ["0.50×", "2.00× •"]


@pytest.mark.slow
def test_a_link_opens_a_layer_and_an_expert(traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("specialization", layer="1", expert="3")
    assert app.selectbox(key="expert").value == 3
    assert app.subheader[0].value == "Expert 3 of layer 1"


@pytest.mark.slow
def test_a_link_to_an_expert_that_is_not_there_is_ignored(traces: Path, tiny_trace: Path) -> None:
    shutil.copy(tiny_trace, traces / "tiny.duckdb")
    app = page("specialization", layer="99", expert="-1", trace="../../etc/passwd")
    assert not app.exception
    assert app.selectbox(key="expert").value == 0


@pytest.mark.slow
def test_the_page_says_how_many_cells_were_tested_and_what_it_does_not_show(
    incomplete_traces: Path,
) -> None:
    shown = words(page("specialization", trace="two_documents"))
    assert "(32 cells tested at once, Benjamini-Hochberg)" in shown  # 2 layers, 8 experts, 2
    assert "go together, not why" in shown
    assert "With 2 to 12 texts per domain, 80 of 100 such traces would detect a lift of" in shown
    few = words(page("specialization", trace="few_documents"))
    assert "(0 cells tested at once" in few
    assert "there are not enough independent texts to say which experts prefer a domain." in few


@pytest.mark.slow
def test_a_trace_without_domains_still_has_the_card_of_an_expert(incomplete_traces: Path) -> None:
    app = page("specialization", trace="no_labels", layer="1", expert="3")
    assert app.subheader[0].value == "Expert 3 of layer 1"
    assert app.metric[0].label == "Load"
    assert re.fullmatch(r"\d\.\d\d\N{EN DASH}\d\.\d\d×, balanced 1×, q \S+", app.metric[0].delta)


@pytest.mark.slow
def test_the_page_shows_the_definitions_of_paper_and_released_code_beside_ours(
    incomplete_traces: Path,
) -> None:
    app = page("specialization", trace="top_1")
    (table,) = [element.value for element in app.markdown if "side by side" in element.value]
    assert "| metric | case | paper | released code | RouteScope |" in table
    for metric in ("domain specialization (OLMoE)", "gate score (ESFT)", "selection (ESFT)"):
        assert f"| {metric} |" in table
    assert "balancedness" not in table
