"""What the heatmaps of all pages have in common."""

import numpy as np

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
