"""Page Cache: sizes, policies, layers and predictions, of what lies beside the trace or at once."""

from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.offload.caches import Setting
from app import workspace
from app.commands.cache import cache
from app.trace import Trace, open_trace
from app.views.cache import panels
from app.views.cache import replayed as of_page
from app.views.cache.figures import hit_rate_lines, layer_heatmap, prediction_dots
from app.views.cache.replayed import Replayed, both_kinds, replayed
from app.views.shared import controls
from app.views.shared.panel import Panel
from app.views.shared.theme import DARK, LIGHT
from data.routing import NO_EXPERT
from data.store import TraceStore
from tests.app.pages import page, texts, words
from tests.app.sparse_traces import counted, written
from tests.routing_batches import batch_of, description
from tests.traces import write_choices
from tests.uneven import write_uneven_trace
from tests.varying import write_varying_trace

COSTS = panels.Costs(expert_bytes=None, bandwidth=1e9)


def opened(path: Path) -> Trace:
    return open_trace(workspace.trace_file(path))


def panels_of(trace: Trace, setting: Setting) -> dict[str, Panel]:
    shown = panels.panels(trace, LIGHT, setting=setting, costs=COSTS)
    return {panel.name: panel for panel in shown}


@pytest.fixture
def uneven(traces: Path) -> Path:
    write_uneven_trace(traces / "uneven.duckdb")
    return traces / "uneven.duckdb"


def test_the_page_says_which_policy_hits_most_and_what_it_costs(uneven: Path) -> None:
    app = page("cache")
    assert not app.exception
    shown = unescape(words(app))
    assert "hits most often" in shown
    assert "Belady's bound is" in shown
    assert "in 18 of 36 texts" in shown
    assert "give its megabytes above" in shown  # the configuration does not say
    app.number_input(key="mb").set_value(2.0).run()
    assert not app.exception
    assert "Waiting a token at 25 GB/s" in words(app)


def test_a_divided_cold_cache_of_another_size_is_asked_for_by_the_link(uneven: Path) -> None:
    app = page("cache", pool="by layer", start="cold")
    assert not app.exception
    assert "slots divided among the layers" in words(app)


def test_what_lies_beside_the_trace_is_shown(uneven: Path) -> None:
    first = replayed(opened(uneven), per_layer=False, cold=False)
    assert not first.whole
    cache(uneven)
    found = replayed(opened(uneven), per_layer=False, cold=False)
    assert found.whole
    curve = found.curve[found.curve.slots.isin(first.sizes)].reset_index(drop=True)
    pd.testing.assert_frame_equal(curve, first.curve, check_dtype=False)  # it is small enough
    assert "the half of the groups that judges" in words(page("cache"))


def test_a_kind_of_cache_that_was_not_stored_is_replayed_at_once(uneven: Path) -> None:
    cache(uneven, slots="2")
    assert replayed(opened(uneven), per_layer=False, cold=True).whole
    assert not replayed(opened(uneven), per_layer=True, cold=True).whole


def test_panels_are_those_of_the_setting(uneven: Path) -> None:
    setting = Setting(slots=11, per_layer=True, cold=True)
    shown = panels_of(opened(uneven), setting)
    assert list(shown) == [
        "cache_hit_rates",
        "cache_policies",
        "cache_pools",
        "cache_by_layer",
        "cache_predictions",
    ]
    assert (shown["cache_policies"].table.slots == 11).all()
    assert shown["cache_by_layer"].table.layer_id.nunique() == 3
    assert shown["cache_policies"].table.cold.all()
    assert set(shown["cache_pools"].table.per_layer) == {False, True}
    assert shown["cache_pools"].answer.startswith("With 11 slots, LRU hits ")
    figure = shown["cache_pools"].figure
    assert figure is not None
    assert len(figure.data) == 6


def test_few_slots_are_said_to_be_too_few_for_every_layer_only_where_they_are(
    uneven: Path,
) -> None:
    """A token chooses 1, 2 and 2 of 4, 8 and 6 experts: 5 slots are divided into 1, 2 and 2."""
    trace = opened(uneven)
    _, least = both_kinds(trace, cold=False)
    assert least == 5
    few = panels.pools(trace, LIGHT, Setting(slots=4, per_layer=False, cold=False))
    assert few.answer.endswith("but not those of every layer: that takes 5.")
    unknown = panels.pools(trace, LIGHT, Setting(slots=17, per_layer=False, cold=False))
    assert unknown.answer == ""  # of the first look no size


def test_one_pool_and_slots_by_layer_are_shown_of_the_same_texts(uneven: Path) -> None:
    cache(uneven, slots="2")  # too few to be divided
    trace = opened(uneven)
    assert replayed(trace, per_layer=False, cold=False).whole
    kinds, _ = both_kinds(trace, cold=False)
    assert len(kinds[False].slots.unique()) > 1  # of the first look, as those by layer
    cache(uneven, slots="9")
    kinds, _ = both_kinds(opened(uneven), cold=False)
    assert [set(table.slots) for table in kinds.values()] == [{9}, {9}]


def test_the_cards_are_of_what_loads_on_demand(uneven: Path) -> None:
    found = replayed(opened(uneven), per_layer=False, cold=False)
    curve = found.curve.assign(
        estimate=found.curve.policy.map({"lfu": 0.5, "prefetch_transitions": 0.9}).fillna(0.4),
        ahead=found.curve.policy.str.startswith("prefetch").astype(float),
    )
    found = Replayed(curve, found.predictions, found.counts, whole=False)
    setting = Setting(slots=found.sizes[0], per_layer=False, cold=False)
    costs = panels.Costs(expert_bytes=1_000_000, bandwidth=1e9)
    (title, value, beside), *_, waiting = panels.headline(found, setting, costs)
    least, most = (float(ms) for ms in waiting[2].split()[1].split("\N{EN DASH}"))
    assert least < most  # if what is loaded ahead arrives in time, and if not
    assert (title, value) == ("Best hit rate on demand", "50.0%")
    assert beside.startswith("LFU, ")
    answer = panels.hit_rates(opened(uneven), LIGHT, found, setting).answer
    assert "LFU hits most often of what fetches on demand: 50.0%" in answer
    assert "Prefetch, transitions: 90.0%" in answer


def predicted(**rows: tuple[float, float, float, float]) -> pd.DataFrame:
    """precision, most chosen, the ends of the gain of each prediction."""
    columns = ["estimate", "most_chosen", "gain_low", "gain_high"]
    table = pd.DataFrame(list(rows.values()), columns=columns)
    return table.assign(predictor=list(rows), null=0.1)


def test_a_prediction_beats_the_most_chosen_where_its_interval_excludes_0() -> None:
    sure = panels.predicted(predicted(transitions=(0.5, 0.2, 0.25, 0.35)))
    assert sure == (
        "Tokens then choose 50% of the experts predicted from transitions; of as many of the "
        "layer's most chosen, 20%."
    )
    unsure = predicted(transitions=(0.3, 0.2, -0.1, 0.3), previous_token=(0.1, 0.2, -0.2, 0))
    answer = panels.predicted(unsure)
    assert answer.startswith("No prediction beats guessing the layer's most chosen experts. ")
    assert (
        "choose 30% of the experts predicted from transitions and 10% of those from the" in answer
    )
    unknown = panels.predicted(predicted(transitions=(0.3, 0.2, np.nan, np.nan)))
    assert unknown.startswith("Tokens then choose 30%")
    alone = panels.predicted(predicted(previous_token=(0.3, np.nan, np.nan, np.nan)))
    assert alone.endswith("; of as many drawn at random, 10%.")


def test_hit_rates_are_shown_in_per_cent(uneven: Path) -> None:
    found = replayed(opened(uneven), per_layer=False, cold=False)
    setting = Setting(slots=found.sizes[0], per_layer=False, cold=False)
    preview = panels.policies(found, setting, COSTS).preview
    assert preview is not None
    shares = {name for name in preview if controls.FORMATS.get(str(name)) == "%.1f%%"}
    assert shares == {"hit_rate", "hit_rate_low", "hit_rate_high"}
    rows = found.curve[found.curve.slots == setting.slots]
    np.testing.assert_allclose(preview.hit_rate, 100 * rows.estimate)
    np.testing.assert_allclose(preview.points_over_LRU, 100 * rows.gain)


def test_without_intervals_it_is_said_why(uneven: Path) -> None:
    found = replayed(opened(uneven), per_layer=False, cold=False)
    setting = Setting(slots=found.sizes[0], per_layer=False, cold=False)
    trace = opened(uneven)
    assert "Bars: 95 % intervals" in panels.hit_rates(trace, LIGHT, found, setting).note
    none = found.curve.assign(low=np.nan, high=np.nan, n_groups=29, estimate=0.5)
    note = panels.hit_rates(trace, LIGHT, replace(found, curve=none), setting).note
    assert "No intervals: 29 groups of texts, all alike or too few in a domain" in note


def test_the_beginnings_of_long_texts_are_said_to_be_no_more(
    uneven: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_page, "AT_ONCE", 5)
    assert "only their beginnings: each is longer than what is replayed" in words(page("cache"))


def test_counts_have_no_order_to_replay(traces: Path) -> None:
    counted(traces / "counts.duckdb", top_k=2)
    app = page("cache")
    assert not app.exception
    assert any("in which order experts are asked for cannot be told" in i.value for i in app.info)


def test_tokens_without_choices_are_said_to_have_none(traces: Path) -> None:
    nothing = replace(
        batch_of([0] * 4, np.full((4, 2, 2), NO_EXPERT)),
        weights_TLK=np.zeros((4, 2, 2), np.float32),
        entropy_TL=None,
        margin_TL=None,
    )
    with TraceStore.create(traces / "none.duckdb", description(top_k=None)) as store:
        store.write(nothing)
    app = page("cache")
    assert not app.exception
    assert any("no token of this trace chose an expert" in info.value for info in app.info)


def test_one_text_has_no_other_group_to_fit_to(traces: Path) -> None:
    ids_TLK = np.array([[[0, 1], [2, 3]], [[1, 2], [3, 0]]] * 10)
    write_choices(traces / "one.duckdb", ids_TLK, np.zeros(20, int))
    app = page("cache")
    assert not app.exception
    assert "No group of texts is left to fit to" in words(app)
    assert "fixed by frequency" not in words(app)


def test_every_expert_chosen_leaves_one_size(traces: Path) -> None:
    written(traces / "all.duckdb", experts=2, top_k=2)
    app = page("cache", pool="by layer")
    assert not app.exception
    assert "4 slots divided among the layers" in words(app)


def test_tokens_that_run_many_experts_and_few(traces: Path) -> None:
    write_varying_trace(traces / "varying.duckdb", documents=12)
    app = page("cache")
    assert not app.exception
    assert "hits most often" in texts(app)


def test_figures_have_a_line_a_policy_and_a_cell_a_layer(uneven: Path) -> None:
    trace = opened(uneven)
    found = replayed(trace, per_layer=False, cold=True)
    lines = hit_rate_lines(found.curve, LIGHT, slots=11, most=18)
    assert [line.name for line in lines.data][:3] == ["share that fits", "Belady's bound", "LRU"]
    assert len(lines.data) == 8
    setting = Setting(slots=11, per_layer=False, cold=True)
    table = panels_of(trace, setting)["cache_by_layer"].table
    cells, numbers = layer_heatmap(table, DARK, num_layers=3).data
    assert np.shape(cells.z) == (7, 3)
    assert len(numbers.text) == 21
    assert set(numbers.textfont.color) == {"#000000", "#ffffff"}  # on light cells and on dark ones
    dots = prediction_dots(found.predictions, LIGHT)
    names = {trace.name for trace in dots.data}
    assert names == {"precision", "recall", "most chosen", "by chance"}
