"""What the heatmaps of all pages have in common."""

import numpy as np
import plotly.graph_objects as go
import pytest

from app.views.shared.heatmap import (
    cell_heatmap,
    crowded,
    dot_sure_cells,
    hatch_cells,
    hover_on_cells,
    ratio_axis,
)
from app.views.shared.theme import LIGHT
from tests.app.views.shared.heatmaps import cells


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


def wide(rows: int = 58, columns: int = 256) -> go.Figure:
    shape = (rows, columns)
    return cell_heatmap(
        np.zeros(shape),
        LIGHT,
        rows=[f"layer {row}" for row in range(rows)],
        columns=[str(column) for column in range(columns)],
        hover_RC=np.full(shape, "cell"),
        coloraxis=ratio_axis(LIGHT, limit=2, title="lift"),
        height=38 * rows,
    )


def test_cells_are_crowded_above_2500_or_in_more_than_128_columns() -> None:
    assert not crowded(24, 64)  # 1,536
    assert not crowded(50, 50)
    assert crowded(58, 256)
    assert crowded(6, 256)


def test_a_heatmap_of_58_layers_and_256_experts_fits_the_window_and_can_be_zoomed() -> None:
    figure = wide()
    assert figure.layout.height == 540  # and not 38 * 58
    assert not figure.layout.xaxis.fixedrange
    assert not figure.layout.yaxis.fixedrange
    assert figure.layout.yaxis.labelalias["57"] == "layer 57"
    assert cells(np.zeros((2, 3))).layout.xaxis.fixedrange


def test_the_marks_of_a_crowded_heatmap_are_empty_texts_in_the_middle_of_their_cells() -> None:
    marks = wide().data[1]
    assert marks.mode == "text"
    assert marks.text is None
    assert (marks.y[300], marks.x[300], marks.hovertext[300]) == (1, 44, "cell")  # 300 = 256 + 44


@pytest.mark.parametrize("figure", [wide(), cells(np.zeros((2, 3)))])
def test_cells_that_are_not_clicked_carry_their_own_text(figure: go.Figure) -> None:
    hover_on_cells(figure)
    (shown,) = figure.data
    assert np.shape(shown.text) == np.shape(shown.z)
    assert shown.text[1][2] == "cell"


def test_crowded_cells_get_no_dots_and_no_hatching() -> None:
    figure = wide()
    dot_sure_cells(figure, np.ones((58, 256), bool), LIGHT)
    assert len(figure.data) == 2
    hatch_cells(figure, np.eye(58, 256, dtype=bool), LIGHT)
    assert figure.data[2].type == "heatmap"
    assert np.nansum(figure.data[2].z) == 58


def test_dots_of_a_small_heatmap_stay() -> None:
    figure = cells(np.zeros((2, 3)))
    dot_sure_cells(figure, np.array([[True, False, False], [False, False, True]]), LIGHT)
    assert figure.data[2].x.tolist() == [0, 2]
    assert figure.data[2].y.tolist() == [0, 1]
