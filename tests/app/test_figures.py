import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from analysis.domain_counts import ALL_LAYERS
from analysis.expert_loads import expert_load_table
from analysis.experts_per_token import k_histogram
from analysis.significance import NOT_ENOUGH
from analysis.transitions import transition_significance
from app.views.coactivation import figures as coactivation
from app.views.domain_clusters import figures as clusters
from app.views.load_balance import experts_figures
from app.views.load_balance import figures as load
from app.views.overview import figures as domains
from app.views.prompts import figures as tokens
from app.views.shared import intervals, theme
from app.views.shared.heatmap import cell_heatmap, ratio_axis
from app.views.shared.theme import DARK, LIGHT, domain_colors, literal, visible
from app.views.specialization import figures as specialization
from app.views.training import figures as training
from app.views.training import play
from app.views.vocabulary import figures as vocabulary
from data.routing import DOMAINS

MARKUP = '<b>x</b> <a href="javascript:alert(1)">c</a>'


def cells(values_RC: np.ndarray) -> go.Figure:
    hover_RC = np.full(values_RC.shape, "cell")
    return cell_heatmap(
        values_RC,
        LIGHT,
        rows=["a", "b"],
        columns=["0", "1", "2"],
        hover_RC=hover_RC,
        coloraxis=ratio_axis(LIGHT, limit=2, title="lift"),
        height=300,
    )


def test_marks_over_a_heatmap_lie_on_its_cells() -> None:
    marks = cells(np.zeros((2, 3))).data[1]
    assert marks.x.tolist() == [0, 1, 2, 0, 1, 2]
    assert marks.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_clickable_heatmap_does_not_select_by_dragging() -> None:
    assert cells(np.zeros((2, 3))).layout.dragmode == "zoom"


def test_log_ratios_have_the_page_in_the_middle_and_equal_ends() -> None:
    axis = cells(np.zeros((2, 3))).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (-2, 2)
    assert axis.colorscale[3] == (0.5, LIGHT.diverging[3])
    assert list(axis.colorbar.ticktext) == ["≤ ¼×", "½×", "1×", "2×", "≥ 4×"]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_every_domain_has_one_colour_of_its_own(palette: theme.Palette) -> None:
    colors = domain_colors([*DOMAINS, "law", "unlabelled"], palette)
    assert len({colors[name] for name in (*DOMAINS, "law", "none")}) == len(DOMAINS) + 2
    assert colors["math"] == theme.DOMAIN_COLORS["math"]


def test_text_in_a_figure_is_literal() -> None:
    assert literal(MARKUP) == '&lt;b&gt;x&lt;/b&gt; &lt;a href="javascript:alert(1)"&gt;c&lt;/a&gt;'


def test_blanks_of_a_token_are_visible() -> None:
    assert [visible(text) for text in ("  ", "\n", "a\tb", " a")] == ["␣␣", "⏎", "a⇥b", " a"]


def test_experts_per_domain_shows_counts_beside_the_article() -> None:
    table = pd.DataFrame({"domain": ["math", "none"], "experts": [3, 1], "share": [0.75, 0.25]})
    table = table.assign(
        significant=pd.array([4, None], "Int64"), not_enough=pd.array([2, None], "Int64")
    )
    figure = domains.experts_per_domain_bars(table, LIGHT)
    assert list(figure.data[0].x) == [0.75, 0.25]
    written = [annotation.text for annotation in figure.layout.annotations]
    assert written[:5] == ["<b>3</b>", "75.0%", "4", "2", "14.8%"]
    assert written[7:10] == ["", "", ""]  # no domain: not tested, not in the article
    assert list(figure.data[0].text) == ["3 experts, math", "1 experts, none"]


def test_the_counts_of_experts_carry_their_interval_and_null() -> None:
    table = pd.DataFrame({"domain": ["math"], "experts": [3], "share": [0.75], "layer_id": 0})
    table = table.assign(significant=4, not_enough=0, low=2.0, high=5.0, null=0.25, p=0.01, q=0.02)
    told = "3 experts, math<br>95 % interval: 2 to 5<br>with labels shuffled over texts: 0.2<br>"
    figure = domains.experts_per_domain_bars(table, LIGHT)
    assert figure.data[0].text[0] == f"{told}p 0.01, q 0.02"
    by_layer = domains.domains_by_layer(table.assign(note="why"), LIGHT)
    assert by_layer.data[0].customdata[0] == f"{told}p 0.01, q 0.02<br>why"


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
    return table.assign(layer_id=0, n_documents=40, n_tokens=1234, smallest_detectable=detectable)


def test_the_lift_heatmap_frames_the_chosen_expert_and_hatches_what_it_cannot_say() -> None:
    figure = specialization.lift_heatmap(
        lifts(), LIGHT, domains=["math", "code"], order_E=np.array([1, 0, 2]), marked=0
    )
    heatmap, _, hatched, dots = figure.data
    assert np.isnan(heatmap.z[:, 2]).all()  # dead
    assert np.isnan(heatmap.z[0, 0])  # not enough prompts to say: no colour
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
    assert "p < 0.0001, q < 0.0001<br>40 texts, 1,234 choices" in significant
    assert "<a" not in significant
    assert undecided.endswith("can detect: 1.87×<br><i>not enough prompts to say</i>")
    assert dead == "expert 2, math<br>40 texts, 1,234 choices<br><i>never chosen</i>"


def test_bars_of_an_expert_have_intervals_and_pale_where_not_sure() -> None:
    figure = specialization.lift_bars(lifts().head(2), LIGHT)
    bars = figure.data[0]
    assert list(bars.error_x.array) == [1.5, 0.5]
    assert list(bars.error_x.arrayminus) == [1.0, 0.5]
    assert list(bars.marker.opacity) == [0.45, 1.0]
    assert [text.text for text in figure.layout.annotations] == ["0.50×", "2.00× •"]


def metrics() -> pd.DataFrame:
    """Two layers: one with an interval, one without tokens."""
    names = ["estimate", "corrected", "low", "high", "null", "p", "q"]
    rows = [[0.2, 0.19, 0.15, 0.25, 0.01, 0.02, 0.04], [None] * 7]
    table = pd.DataFrame(rows, columns=names).astype("Float64")
    note = ["", "no tokens"]
    return table.assign(
        layer_id=[0, 1], metric="information_share", n_documents=9, n_tokens=[100, 0], note=note
    )


def test_a_metric_of_every_layer_has_its_interval_and_its_null() -> None:
    bars, nulls, dots = intervals.layer_intervals(
        metrics(), LIGHT, metric="information_share", null="shuffled labels"
    ).data
    assert list(bars.y) == [0.15, 0.25, None, None, None, None]
    assert nulls.y[0] == 0.01
    assert dots.y[0] == 0.2
    assert "19.0% (15.0\N{EN DASH}25.0%) corrected for small-sample bias" in dots.text[0]
    assert "p 0.02, q 0.04 (over layers)" in dots.text[0]
    assert dots.text[1] == "layer 1<br>9 texts, 0 tokens<br>no tokens"


def test_a_number_without_an_interval_is_written_without_one() -> None:
    measure = intervals.MEASURES["load_imbalance"]
    row = pd.Series({"low": pd.NA, "high": pd.NA, "null": 1.0})
    assert intervals.reference(row, measure, "balanced") == "balanced 1×"
    assert measure.text(float("nan")) == ""
    assert [intervals.probability(p) for p in (0.0, 0.0219, 1.0)] == ["< 0.0001", "0.022", "1"]


def loads(tokens_LE: np.ndarray, documents: int = 9) -> pd.DataFrame:
    """Of so many documents that are all alike but for a choice of experts 0 and 1."""
    tokens_NLE = np.tile(tokens_LE, (documents, 1, 1))
    tokens_NLE[::2, :, 0] += tokens_LE[:, 0] > 1
    return expert_load_table(tokens_NLE, np.zeros(documents, int))


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
    assert re.search(r"<b>2\.07×</b> \(\d\.\d\d\N{EN DASH}\d\.\d\d×\), balanced 1×", text.text[0])
    assert re.search(r"p [^,]+, q .*9 texts, 77 choices", text.text[0])
    assert dots.x.tolist() == [0, 1, 2]
    few = loads(tokens_LE, documents=3)
    cells, _, hatched, dots, _ = load.load_heatmap(
        tokens_LE, few, LIGHT, order_LE=order_LE, by_load=False
    ).data
    assert hatched.x.tolist() == [0, 1, 2]  # the fourth is dead: a cross says so
    assert np.isnan(cells.z[0, :3]).all()
    assert "not enough prompts to say" in load.load_text(next(few.itertuples()))


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


def test_the_token_heatmap_prints_the_strongest_expert_of_each_cell() -> None:
    first = pd.DataFrame(
        {
            "position": [0, 0, 1, 1],
            "layer_id": [0, 1, 0, 1],
            "expert_id": [5, 6, 7, 8],
            "weight": [0.1, 0.2, 0.3, 0.4],
            "dropped": [False, False, False, True],
        }
    )
    figure = tokens.token_heatmap(
        first, LIGHT, tokens=[MARKUP, "\n"], categories_TL=None, colors=["#000000"], marked=1
    )
    assert figure.data[0].text.tolist() == [[5, 7], [6, "(8)"]]  # the last one was dropped
    assert list(figure.layout.xaxis.ticktext) == ["&lt;b&gt;x&lt;/b&gt; …", "⏎"]
    assert "<a" not in figure.to_json()


def test_categories_have_bands_and_no_transitions() -> None:
    first = pd.DataFrame({"position": [0], "layer_id": [0], "expert_id": [1], "weight": [1.0]})
    first["dropped"] = False
    figure = tokens.token_heatmap(
        first,
        LIGHT,
        tokens=["a"],
        categories_TL=np.array([[1]]),
        colors=["#111111", "#222222"],
        marked=0,
    )
    stops = [tuple(stop) for stop in figure.layout.coloraxis.colorscale]
    assert stops == [(0.0, "#111111"), (0.5, "#111111"), (0.5, "#222222"), (1.0, "#222222")]


def means_by_k() -> pd.DataFrame:
    """Two domains, two layers; code runs 4 and 5 experts, math 2 and 3."""
    rows = [
        (layer, domain, k + max(layer, 0), k - 0.5, k + 0.5, 3.0, q, 9, 90, "")
        for layer in (ALL_LAYERS, 0, 1)
        for domain, k, q in (("math", 2.0, 0.2), ("code", 4.0, 0.01))
    ]
    names = ["layer_id", "domain", "estimate", "low", "high", "null", "q"]
    table = pd.DataFrame(rows, columns=[*names, "n_documents", "n_tokens", "note"])
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
        *("<b>2.0</b>", f"1.5{intervals.DASH}2.5"),
        *("<b>4.0</b>", f"3.5{intervals.DASH}4.5"),
    ]


def test_mean_k_is_a_row_a_domain_and_a_dot_where_sure() -> None:
    figure = experts_figures.mean_k_heatmap(means_by_k(), LIGHT)
    assert figure.data[0].text.tolist() == [["2.0", "3.0"], ["4.0", "5.0"]]
    assert figure.data[-1].x.tolist() == [0, 1]
    assert figure.data[-1].y.tolist() == [1.3, 1.3]  # code, below its number
    assert "q 0.01" in figure.data[1].text[2]
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (2, 5)


def test_k_of_a_text_stands_over_its_tokens() -> None:
    figure = cells(np.zeros((2, 3)))
    k_TL = np.array([[1, 3], [2, 2], [4, 0]])
    experts_figures.add_k(figure, k_TL, LIGHT, tokens=["a", "b", "c"], layer_id=0)
    bars, line = figure.data[-2:]
    assert bars.y.tolist() == [1, 2, 4]
    assert line.y.tolist() == [2, 2, 2]
    assert figure.layout.yaxis.domain[1] < figure.layout.yaxis2.domain[0]


def test_a_path_has_a_bar_for_every_choice() -> None:
    routes = pd.DataFrame(
        {"layer_id": [0, 0], "rank": [0, 1], "expert_id": [3, 4], "weight": [0.6, 0.01]}
    )
    figure = tokens.token_path(routes, LIGHT, colors=["#111111", "#222222"])
    assert [trace.x[0] for trace in figure.data] == [0.6, 0.01]
    assert [trace.text[0] for trace in figure.data] == ["3", ""]  # too narrow for a number


POINTS = pd.DataFrame(
    {
        "x": [0.0, 1.0, 2.0],
        "y": [0.0, 1.0, 2.0],
        "domain": ["math", "code", "math"],
        "cluster": [0, 1, -1],
    }
)


def test_a_box_and_a_lasso_select_what_lies_inside() -> None:
    box = {"box": [{"x": [1.5, 0.5], "y": [0.5, 1.5]}]}
    triangle = {"lasso": [{"x": [-1, 3, -1], "y": [-1, -1, 3]}]}
    assert clusters.inside_selection(POINTS, box).tolist() == [False, True, False]
    assert clusters.inside_selection(POINTS, triangle).tolist() == [True, False, False]
    assert not clusters.inside_selection(POINTS, {}).any()


def test_clusters_are_numbered_on_the_map_and_noise_is_not() -> None:
    figure = clusters.cluster_map(POINTS, ["a", "b", "c"], LIGHT)
    assert [annotation.text for annotation in figure.layout.annotations] == ["<b>0</b>", "<b>1</b>"]
    assert not figure.layout.showlegend


def test_the_domain_map_has_a_trace_a_domain_in_its_colour() -> None:
    figure = clusters.domain_map(POINTS, ["a", "b", "c"], LIGHT)
    assert [(trace.name, len(trace.x)) for trace in figure.data] == [("math", 2), ("code", 1)]


def test_the_largest_values_lie_on_top() -> None:
    figure = clusters.value_map(
        POINTS, np.array([0.5, 1.0, 0.0]), ["a", "b", "c"], LIGHT, title="e"
    )
    assert list(figure.data[0].marker.color) == [0.0, 0.5, 1.0]


STEPS = training.Axis(by="step")


def step_lines(lines: list[training.Line], axis: training.Axis = STEPS) -> go.Figure:
    return training.step_lines(lines, LIGHT, axis=axis, title="v")


def test_layers_get_stronger_with_depth_and_only_the_ends_a_legend() -> None:
    table = pd.DataFrame({"step": [1, 2] * 3, "layer_id": [0, 0, 1, 1, 2, 2], "v": [0.1] * 6})
    table = table.assign(tokens=table.step * 9, null=[0.25, 0.5] * 3)
    figure = step_lines(training.layer_lines(table, LIGHT, value="v", null="chance"))
    assert [trace.showlegend for trace in figure.data] == [True, False, True, True]
    assert (figure.data[3].name, list(figure.data[3].y)) == ("chance", [0.25, 0.5])
    assert figure.data[2].line.color == LIGHT.sequential[-1]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_domains_are_drawn_in_their_colours_and_none_dashed(palette: theme.Palette) -> None:
    table = pd.DataFrame({"step": [1, 1], "tokens": [9, 9], "domain": ["math", "none"]})
    table = table.assign(experts=[3, 5], null=[2.0, 6.0])
    lines = training.domain_lines(table, palette, value="experts", null="by chance")
    assert [(line.color, line.dash) for line in lines] == [
        (theme.DOMAIN_COLORS["math"], "solid"),
        (palette.muted, "dash"),
        (palette.muted, "dot"),
    ]
    assert lines[2].table.null.tolist() == [2.0]  # of domains, not of none


def test_trainings_have_colours_of_their_own_and_the_first_is_solid() -> None:
    table = pd.DataFrame({"step": [1], "tokens": [9], "v": [1.0], "null": [0.5]})
    names = [f"runs/{name}" for name in "abcde"]
    lines = training.training_lines(dict.fromkeys(names, table), LIGHT, value="v")
    assert len({line.color for line in lines}) == 5
    assert [line.dash for line in lines[:4]] == ["solid", "dot", training.LAID_OVER, "dot"]
    assert [line.hover for line in lines[:2]] == ["runs/a", "runs/a by chance"]
    assert training.training_lines({"old": table.iloc[:0]}, LIGHT, value="v") == []


def test_stages_make_the_axis_linear_and_have_a_line_where_they_begin() -> None:
    table = pd.DataFrame({"step": [1, 100], "tokens": [9, 900], "v": [1.0, 2.0]})
    lines = [training.Line(table=table, value="v", color="#000", name=MARKUP)]
    assert step_lines(lines).layout.xaxis.type == "log"
    stages = (("begin", 0.0, 40.0), ("<b>x</b>", 40.0, 99.0), ("short", 99.0, 100.0))
    figure = step_lines(lines, training.Axis(by="step", stages=stages))
    assert figure.layout.xaxis.type is None
    assert [shape.x0 for shape in figure.layout.shapes] == [40, 99]
    names = [note.text for note in figure.layout.annotations]
    assert names == ["begin", "&lt;b&gt;x&lt;/b&gt;"]  # the last has no room
    assert "<b>" not in figure.data[0].name + figure.data[0].hovertemplate
    along = step_lines(lines, training.Axis(by="tokens"))
    assert list(along.data[0].x) == [9, 900]
    assert list(along.data[0].customdata) == [1, 100]


def test_bits_show_both_models() -> None:
    bits = {"dense": pd.Series({"math": 1.2, "all": 1.3}), "MoE": pd.Series({"math": 1.0})}
    figure = training.bits_dots(bits, LIGHT, {"dense": "#888888", "MoE": ["#4477aa", "#000000"]})
    assert [trace.name for trace in figure.data] == ["dense", "MoE"]
    assert list(figure.data[0].x) == [1.2, 1.3]
    assert figure.data[1].x[0] == 1.0
    assert list(figure.layout.yaxis.ticktext) == ["math", "all"]


def test_losses_of_both_models_are_drawn() -> None:
    log = pd.DataFrame({"step": [1, 2], "tokens": [9, 18], "loss": [5.0, 4.0]})
    both = step_lines(training.loss_lines(log, log, LIGHT))
    assert [trace.name for trace in both.data] == ["dense", "MoE"]
    assert len(step_lines(training.loss_lines(log, None, LIGHT)).data) == 1


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_a_training_plays_a_frame_a_snapshot_and_opens_at_the_last(palette: theme.Palette) -> None:
    lifts = [np.array([[1.0, 1.0], [np.nan, np.nan]]), np.array([[0.0, 2.0], [4.0, 0.5]])]
    figure = play.lift_play(
        lifts,
        [np.array([-1, -1]), np.array([1, 0])],
        palette,
        labels=["step 1", "step 9"],
        domains=["math", "code"],
        order_E=np.array([1, 0]),
    )
    assert [frame.name for frame in figure.frames] == ["step 1", "step 9"]
    assert figure.data[0].z.tolist() == [[2, -3], [-1, 1]]  # log2, 0 drawn at the end of the scale
    assert np.isnan(figure.frames[0].data[0].z[:, 0]).all()
    assert list(figure.data[0].x) == ["1", "0"]
    assert figure.data[1].z.tolist() == [[0, 1]]
    assert figure.data[1].text[0] == ["math", "code"]
    slider = figure.layout.sliders[0]
    assert (slider.active, len(slider.steps)) == (1, 2)
    assert figure.layout.updatemenus[0].buttons[0].args[0] is None  # all frames


def test_experts_chosen_together_stand_side_by_side() -> None:
    log_EE = np.full((4, 4), -2.0)
    log_EE[[0, 2], [2, 0]] = log_EE[[1, 3], [3, 1]] = 3.0
    places = coactivation.cluster_order(log_EE).tolist()
    assert abs(places.index(0) - places.index(2)) == 1
    assert abs(places.index(1) - places.index(3)) == 1


def test_pairs_are_marked_where_sure_and_hatched_without_a_colour_where_unknown() -> None:
    tests = pd.DataFrame({"expert_a": [0, 0, 1], "expert_b": [1, 2, 2], "tokens": [9, 8, 0]})
    for null in ("load", "uniform"):
        known = {"expected": [3.0, 8.0, 1.0], "lift": [3.0, 1.0, 0.0], "low": [2.0, 0.5, None]}
        known |= {"high": [4.0, 1.5, None], "z": [6.0, 0.0, None], "q": [0.01, 0.9, None]}
        tests = tests.assign(**{f"{column}_{null}": values for column, values in known.items()})
    tests = tests.assign(reason=["", "", "fewer than 5 tokens expected"]).convert_dtypes()
    log_EE = coactivation.log_lift(tests, 3, null="load")
    figure = coactivation.pair_heatmap(
        tests, LIGHT, log_EE=log_EE, order_S=np.array([0, 1, 2]), null="load"
    )
    cells, unknown, sure = figure.data
    assert list(zip(sure.x, sure.y, strict=True)) == [(1, 0), (0, 1)]
    assert list(zip(unknown.x, unknown.base + 0.5, strict=True)) == [(2, 1), (1, 2)]
    assert np.isnan([cells.z[1, 2], cells.z[2, 1]]).all()
    assert cells.z[0, 1] == np.log2(3)
    assert (
        "9</b> tokens<br>fixed loads: 3 expected, 3.00× [2.00, 4.00], z 6.0, q 0.01"
        in (cells.text[0, 1])
    )
    assert "not enough prompts to say: fewer than 5 tokens expected" in cells.text[1, 2]
    assert log_EE[1, 2] == -coactivation.LIMIT - 1  # never, but expected


def test_vocabulary_lines_leave_gaps_where_nothing_is_known() -> None:
    columns = ("plain", "share", "expected", "corrected", "null", "p", "q")
    table = pd.DataFrame({"layer_id": [0, 1], **{name: [0.5, None] for name in columns}})
    table = table.assign(low=[0.25, None], high=[0.625, None], n_documents=9, n_tokens=1234)
    figure = vocabulary.vocabulary_lines(table.convert_dtypes(), LIGHT, marked=0)
    assert [line.y for line in figure.data] == [(0.5, None)] * 4
    assert figure.data[3].error_y.array == (0.125, 0)
    assert figure.data[3].error_y.arrayminus == (0.25, 0)
    told = "<br>95 % interval: 25.0% to 62.5%<br>50.0% with words permuted within texts"
    assert figure.data[3].customdata[0] == (
        f"{told}<br>p 0.500, q 0.500 (over layers)<br>9 texts, 1,234 tokens"
    )


def test_information_below_its_null_is_no_bar() -> None:
    table = pd.DataFrame(
        {"layer_id": [0], "information": [0.3], "information_null": [0.1], "information_p": [0.02]}
    ).assign(beyond=-0.1, p=0.9, low=-0.2, high=0.05, null=0.15, n_documents=9, n_tokens=1234)
    table = table.assign(q=0.95, information_q=0.04)
    alone, beyond = vocabulary.information_bars(table, LIGHT).data
    assert alone.y == pytest.approx((0.2,))
    assert beyond.y == (0.0,)
    assert (beyond.error_y.array, beyond.error_y.arrayminus) == ((0.05,), (0.0,))
    assert alone.customdata[0].startswith("0.1000 by chance<br>p 0.020, q 0.040 (over layers)")
    assert beyond.customdata[0] == (
        "95 % interval: -0.2000 to 0.0500<br>0.1500 by chance<br>"
        "p 0.900, q 0.950 (over layers)<br>9 texts, 1,234 tokens"
    )


def test_a_transition_carries_its_interval_and_its_test_or_the_reason() -> None:
    here_T = np.repeat([0, 1], 60)
    joined_T = np.where(np.arange(120) % 6 < 5, here_T, 1 - here_T)
    eye = np.eye(3, dtype=bool)
    tests = transition_significance(eye[here_T], eye[joined_T], np.arange(120) % 12)
    order = np.arange(3)
    figure = coactivation.transition_heatmap(tests, LIGHT, rows=order, columns=order, layer_id=0)
    hover = np.array(figure.data[0].text, dtype=object)
    assert "<b>50</b> times, 30 expected from the loads alone, 1.67×" in hover[0, 0]
    assert re.search(r"\[1\.\d\d, 1\.\d\d\], z \S+, p \S+, q \S+$", hover[0, 0])
    assert hover[0, 2].endswith("no test: a dead expert")
    dots = figure.data[-1]
    assert list(zip(dots.x, dots.y, strict=True)) == [(0, 0), (1, 0), (0, 1), (1, 1)]
