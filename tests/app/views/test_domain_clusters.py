"""The page Domain clusters: maps of texts, and how well clusters agree with domains."""

from dataclasses import asdict

import numpy as np
import pandas as pd

from analysis import projection
from app.views.domain_clusters import figures as clusters
from app.views.domain_clusters import points
from app.views.shared.theme import LIGHT


def test_agreement_has_its_null_and_the_reason_why_there_is_no_interval() -> None:
    found = projection.agreement(["a", "a", "b", "b"], [0, 0, 0, -1], seed=0)
    table = points.agreement_table({"agreement": asdict(found), "points": 4})
    assert table.measure.tolist() == ["NMI", "ARI", "purity"]
    assert table.clusters[2] == 0.75  # 2 of 3, and the one that is noise
    assert table.domains_shuffled[2] == found.shuffled_purity
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(table.note) == {points.UNTESTED}


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
