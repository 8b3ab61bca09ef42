"""The page Domain clusters: maps of texts, and how well clusters agree with domains."""

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd

from analysis.agreement import agreement
from app.jobs import beside
from app.sidecars import PROMPTS, TOKENS
from app.trace import open_trace
from app.views.domain_clusters import figures as clusters
from app.views.domain_clusters import points
from app.views.domain_clusters.first_look import first_look
from app.views.domain_clusters.map_points import all_points
from app.views.domain_clusters.panels import of_all_points, panels
from app.views.shared.theme import LIGHT
from app.workspace import trace_file
from data.sidecar import sidecar_path, write_sidecar
from tests.sidecars import write_earlier


def test_agreement_has_its_null_and_the_reason_why_there_is_no_interval() -> None:
    found = agreement(["a", "a", "b", "b"], [0, 0, 0, -1], range(4), seed=0)
    table = points.agreement_table({"agreement": asdict(found), "groups": 4})
    assert table.measure.tolist() == ["NMI", "ARI", "purity"]
    assert table.clusters[2] == 0.75  # 2 of 3, and the one that is noise
    assert table.domains_shuffled[2] == found.shuffled_purity
    assert table[["low", "high", "p", "q"]].isna().all(axis=None)
    assert set(table.note) == {points.UNTESTED}
    assert set(table.shuffled_over) == {4}


def test_maps_are_made_again_unless_they_are_damaged(tmp_path: Path, tiny_trace: Path) -> None:
    trace = open_trace(trace_file(Path(shutil.copy(tiny_trace, tmp_path))))
    assert beside._to_make(trace, [PROMPTS])
    write_earlier(trace.path, PROMPTS, POINTS, method="umap", groups=3)
    assert beside._to_make(trace, [PROMPTS])
    write_sidecar(trace.path, PROMPTS, PROMPT_POINTS, PARAMETERS, of=trace.info)
    assert not beside._to_make(trace, [PROMPTS])
    assert beside._to_make(trace, [PROMPTS, TOKENS])
    sidecar_path(trace.path, PROMPTS).write_bytes(b"damaged")
    assert not beside._to_make(trace, [PROMPTS, TOKENS])


def test_what_a_map_shows_stands_beside_shuffled_domains() -> None:
    assert points.clusters_answer("prompts", PARAMETERS).endswith(
        "90% share their cluster's most frequent domain, against 20% with domains shuffled over "
        "the 3 groups of texts (NMI 0.70 against 0.10)."
    )
    assert points.clusters_answer("prompts", PARAMETERS | {"agreement": None}) == (
        "3 prompts fall into 2 clusters by their routing alone."
    )


def test_a_map_of_more_points_than_are_shown_says_where_all_of_them_are() -> None:
    parameters = {"method": "umap", "seed": 0, "points": 30, "points_in_trace": 40}
    note = points.map_note("tokens", parameters, shown=10, file="a.tokens.parquet")
    assert note.startswith("Showing 10 of 40 tokens, ")
    assert "The map has 30, all of them in a.tokens.parquet." in note


def test_a_first_look_says_what_it_is_and_what_it_read(tiny_trace: Path) -> None:
    trace = open_trace(trace_file(tiny_trace))
    look = first_look(trace, "tokens")
    (shown,) = of_all_points(trace, all_points(trace, "tokens", look), by="domain")
    assert points.clusters_answer("tokens", look.parameters).startswith("A first look at 8 tokens")
    assert shown.note.startswith("Showing 8 of 8 tokens. Components 2 and 3 of a truncated SVD")
    assert "Random texts would show some structure too." in shown.note
    some = {**look.parameters, "points_in_trace": 100}
    note = points.map_note("tokens", some, shown=8, file="")
    assert "8 of 100 tokens: those with which 3 texts begin" in note
    assert panels(trace, LIGHT, what="tokens") == []  # no map was made


def test_distance_has_a_sentence() -> None:
    assert "nearest other point shown" in points.distance_note({"method": "umap"})
    assert points.distance_note({"method": "svd"}) == "Distances come with a map of neighbourhoods."


def test_the_map_of_experts_says_which_texts_gave_the_domains() -> None:
    parameters = {"method": "umap", "seed": 0, "points": 8, "points_in_trace": 8}
    of_all = partial(points.map_note, "experts", shown=8, file="a.experts.parquet")
    halves = of_all(parameters | {"groups": 8})
    assert halves.endswith("one half of the texts, places and clusters from the other.")
    same = of_all(parameters | {"groups": None})
    assert same.endswith("come from the same texts and their agreement is not computed.")


POINTS = pd.DataFrame(
    {
        "x": [0.0, 1.0, 2.0],
        "y": [0.0, 1.0, 2.0],
        "domain": ["math", "code", "math"],
        "cluster": [0, 1, -1],
        "distance": [0.1, 0.2, 0.7],
    }
)
PROMPT_POINTS = POINTS.head(2).assign(doc_id=[0, 1], group=None, unit=[0, 1], origin="", tokens=3)
PROMPT_POINTS["text"] = "a"
PARAMETERS = {
    "method": "umap",
    "seed": 0,
    "points": 3,
    "points_in_trace": 3,
    "groups": 3,
    "clusters": 2,
    "noise_share": 0.3,
    "agreement": {
        "points": 3,
        "purity": 0.9,
        "shuffled_purity": 0.2,
        "nmi": 0.7,
        "shuffled_nmi": 0.1,
        "ari": 0.5,
        "shuffled_ari": 0.0,
    },
}


def test_the_figure_to_compare_has_a_trace_a_domain_in_its_colour() -> None:
    figure = clusters.domain_map(POINTS, ["a", "b", "c"], LIGHT)
    assert [(trace.name, len(trace.x)) for trace in figure.data] == [("math", 2), ("code", 1)]
