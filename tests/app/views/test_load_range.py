"""Experts of a range of loads, and what is over-represented among their choices."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from app.trace import Trace, open_trace
from app.views.load_balance import load_range
from app.views.load_balance.figures import load_histogram
from app.views.shared.theme import LIGHT
from app.workspace import trace_file
from tests.app.pages import page, texts
from tests.placed import write_paired_trace


@pytest.fixture
def paired(traces: Path) -> Trace:
    """Pairs 0-4, 1-5, 2-6, 3-7 are chosen half, 0.3, 0.1 and 0.1 of the time."""
    write_paired_trace(traces / "demo.duckdb")
    return open_trace(trace_file(traces / "demo.duckdb"))


def domains_of(trace: Trace, inside_LE: np.ndarray) -> pd.DataFrame:
    return load_range.chosen_by(trace, inside_LE)[0].tables["domains"]


def test_loads_are_over_the_mean_of_their_layer(paired: Trace) -> None:
    load_LE = load_range.loads(paired)
    assert load_LE.mean(1) == pytest.approx([1, 1])
    assert load_LE[0, [0, 1, 2, 3]] == pytest.approx([2, 1.2, 0.4, 0.4], abs=0.15)
    rows = load_range.experts(load_LE, load_LE > 1.5)
    assert sorted(zip(rows.layer_id, rows.expert_id, strict=True)) == [
        (0, 0),
        (0, 4),
        (1, 0),
        (1, 4),
    ]


def test_choices_inside_and_outside_of_a_range_add_up(paired: Trace) -> None:
    load_LE = load_range.loads(paired)
    inside = domains_of(paired, load_LE > 1.5)
    outside = domains_of(paired, load_LE <= 1.5)
    assert inside.choices.sum() + outside.choices.sum() == 48 * 20 * 2 * 2
    assert inside.share.sum() == pytest.approx(1)
    ratio = inside.set_index("domain").ratio * outside.set_index("domain").ratio
    assert ratio.to_numpy() == pytest.approx(1, abs=1e-9)


def test_a_domain_that_does_not_matter_is_found_by_no_range(paired: Trace) -> None:
    table = domains_of(paired, load_range.loads(paired) > 1.5)
    assert (table.low < 1).all()
    assert (table.high > 1).all()
    assert (table.q > 0.05).all()


def test_bars_are_split_at_the_range() -> None:
    load_LE = np.array([[0.5, 1.0, 1.5, np.nan]])
    figure = load_histogram(load_LE, LIGHT, inside_LE=load_LE > 0.9, step=0.25)
    inside, others = figure.data
    assert (sum(inside.y), sum(others.y)) == (2, 1)


def test_the_range_of_a_link_is_shown(paired: Trace) -> None:
    app = page("load_balance", trace="demo", loads=["1", "1.5"])
    assert not app.exception
    assert app.slider(key="loads").value == (1.0, 1.5)
    assert "Ratio: the share among the choices of these experts" in texts(app)


def test_loads_and_choices_are_those_of_the_texts_on_the_page(paired: Trace) -> None:
    app = page("load_balance", trace="demo", domain="a", loads=["1", "1.5"])
    assert not app.exception
    of_a = load_range.loads(paired, "a")
    assert app.slider(key="loads").max == pytest.approx(np.ceil(np.nanmax(of_a) / 0.05) * 0.05)
    found, read = load_range.chosen_by(paired, of_a > 1.5, "a")
    assert list(found.tables) == ["words"]  # one domain is compared with nothing
    inside, outside = (
        load_range.chosen_by(paired, inside_LE, "a")[0].tables["words"].choices.sum()
        for inside_LE in (of_a > 1.5, of_a <= 1.5)
    )
    assert inside + outside == 24 * 20 * 2 * 2
    assert read == ""
