"""The figures of the page Training."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from app.views.shared import theme
from app.views.shared.theme import DARK, LIGHT
from app.views.training import figures as training
from app.views.training import play
from tests.app.markup import MARKUP

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
    assert [line.dash for line in lines[:4]] == ["solid", "dot", training.DASHES[1], "dot"]
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
