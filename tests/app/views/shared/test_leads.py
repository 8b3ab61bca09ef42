"""Rows of tables and marks of figures lead to what they name."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from app.trace import Trace, open_trace
from app.views.compare.every_figure import PAGES as PANELS
from app.views.shared.leads import Lead, lead_of
from app.views.shared.theme import LIGHT
from app.workspace import trace_file
from tests.app.pages import page, texts
from tests.placed import write_paired_trace

OF_EXPERTS = ("Overview", "Load balance", "Specialization", "Co-activation", "Vocabulary")
NAMELESS = ("diagnostic_load", "diagnostic_share", "diagnostic_spread", "tokens_by_k")


@pytest.fixture
def paired(traces: Path) -> Trace:
    write_paired_trace(traces / "demo.duckdb")
    return open_trace(trace_file(traces / "demo.duckdb"))


@pytest.mark.parametrize(
    ("row", "lead"),
    [
        (
            {"doc_id": 3, "position": 7, "text": "x", "domain": "a"},
            Lead("prompts", {"texts": (3,), "tokens": ((3, 7),)}),
        ),
        ({"doc_id": 3, "position": None}, Lead("prompts", {"texts": (3,), "tokens": ()})),
        (
            {"layer_id": 1, "expert_id": 5, "domain": "a"},
            Lead("specialization", {"layers": (1,), "experts": ((1, 5),), "domains": ("a",)}),
        ),
        (
            {"layer_id": 0, "expert_a": 2, "expert_b": 6},
            Lead("specialization", {"layers": (0,), "experts": ((0, 2), (0, 6))}),
        ),
        (
            {"layer_id": 0, "expert_id": 2, "next_expert_id": 6},
            Lead("specialization", {"layers": (0,), "experts": ((0, 2), (1, 6))}),
        ),
        ({"layer_id": 1, "gini": 0.2}, Lead("", {"layers": (1,), "experts": ()})),
        ({"token_id": 9, "text": " the"}, Lead("search", {}, {"q": " the"})),
        ({"domain": "b", "tokens": 4}, Lead("specialization", {"domains": ("b",)})),
        ({"domain": "nobody's", "tokens": 4}, None),
        ({"measure": "NMI", "clusters": 0.5}, None),
    ],
)
def test_a_row_leads_to_what_it_names(row: dict[str, Any], lead: Lead, paired: Trace) -> None:
    assert lead_of(row, paired) == lead


@pytest.mark.parametrize("name", OF_EXPERTS)
def test_every_cell_and_bar_of_experts_leads_somewhere(name: str, paired: Trace) -> None:
    drawn = [panel for panel in PANELS[name](paired, LIGHT, 0) if panel.figure is not None]
    clickable = [
        panel
        for panel in drawn
        if panel.name not in NAMELESS
        and {trace.type for trace in panel.figure.data} & {"heatmap", "bar"}  # type: ignore[union-attr]
    ]
    assert clickable or name == "Vocabulary"
    for panel in clickable:
        assert panel.names is not None, panel.name
        assert lead_of(panel.names(0, 0), paired) is not None, panel.name


def test_a_row_without_a_place_in_the_trace_has_no_button(paired: Trace) -> None:
    rows = pd.DataFrame({"measure": ["NMI"], "clusters": [0.5]})
    assert lead_of(rows.iloc[0].to_dict(), paired) is None


def test_an_expert_leads_to_pages_that_know_it(paired: Trace, traces: Path) -> None:
    app = page("specialization", trace="demo", layer="1", expert="1:4")
    for key, asked in {"coactivation": "work together", "placement": "on which GPU"}.items():
        turned = app.button(key=f"way_{key}").click().run()
        assert not turned.exception
        assert asked in texts(turned)
        assert turned.query_params["expert"] in ("1:4", ["1:4"])
        app = page("specialization", trace="demo", layer="1", expert="1:4")


def test_the_page_of_texts_lists_first_those_that_choose_the_expert(traces: Path) -> None:
    write_paired_trace(traces / "demo.duckdb", documents=6)
    shutil.copy(traces / "demo.duckdb", traces / "again.duckdb")
    app = page("prompts", trace="demo", expert="0:3")
    options = app.selectbox(key="text").options
    shares = [
        float(option.split(" · ")[3].split("%")[0]) for option in options if "choices" in option
    ]
    assert len(shares) == sum("of choices" in option for option in options) > 1
    assert shares == sorted(shares, reverse=True)
